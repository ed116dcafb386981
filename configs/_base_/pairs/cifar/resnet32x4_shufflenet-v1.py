"""ResNet-32x4 -> ShuffleNetV1 on CIFAR-100, a pair of the paper's Table 1."""

_base_ = [
    '../../models/cifar.py',
    '../../distillers/classification.py',
    '../../schedules/cifar_240e.py',
]

model = dict(
    _scope_='mmrazor',
    type='mmtst.TeacherStudentDistill',
    architecture={{_base_.shufflenet_v1}},
    teacher={{_base_.resnet32x4}},
    teacher_ckpt='work_dirs/resnet32x4_1xb128-240e_cifar100/epoch_240.pth',
)
