"""VGG-13 -> VGG-8 on CIFAR-100, a pair of the paper's Table 1."""

_base_ = [
    '../../models/cifar.py',
    '../../distillers/classification.py',
    '../../schedules/cifar_240e.py',
]

model = dict(
    _scope_='mmrazor',
    type='mmtst.TeacherStudentDistill',
    architecture={{_base_.vgg8}},
    teacher={{_base_.vgg13}},
    teacher_ckpt='work_dirs/vgg13_1xb128-240e_cifar100/epoch_240.pth',
)
