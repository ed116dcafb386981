"""ResNet-56 -> ResNet-20 on CIFAR-100, the pair of the paper's Table 9."""

_base_ = [
    '../../models/cifar.py',
    '../../distillers/classification.py',
    '../../schedules/cifar_240e.py',
]

model = dict(
    _scope_='mmrazor',
    type='mmtst.TeacherStudentDistill',
    architecture={{_base_.resnet20}},
    teacher={{_base_.resnet56}},
    teacher_ckpt='work_dirs/resnet56_1xb128-240e_cifar100/epoch_240.pth',
)

# What the feature-based baseline of that table has to know of the pair.
crd_distiller = dict(
    connectors=dict(student=dict(dim_in=64), teacher=dict(dim_in=64))
)
