"""WRN-40-4 -> WRN-16-2 on CIFAR-100, a pair of the paper's Table 8."""

_base_ = [
    '../../models/cifar.py',
    '../../distillers/classification.py',
    '../../schedules/cifar_240e.py',
]

model = dict(
    _scope_='mmrazor',
    type='mmtst.TeacherStudentDistill',
    architecture={{_base_.wrn16_2}},
    teacher={{_base_.wrn40_4}},
    teacher_ckpt='work_dirs/wrn40-4_1xb128-240e_cifar100/epoch_240.pth',
)
