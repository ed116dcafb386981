"""VGG-13 -> MobileNetV2 on CIFAR-100, a pair of the paper's Table 1."""

_base_ = [
    '../../models/cifar.py',
    '../../distillers/classification.py',
    '../../schedules/cifar_240e.py',
]

model = dict(
    _scope_='mmrazor',
    type='mmtst.TeacherStudentDistill',
    architecture={{_base_.mobilenet_v2}},
    teacher={{_base_.vgg13}},
    teacher_ckpt='work_dirs/vgg13_1xb128-240e_cifar100/epoch_240.pth',
)

# What the feature-based baselines have to know of the pair.
fitnet_distiller = dict(
    connectors=dict(
        stage=dict(
            in_channel=16,
            out_channel=256,
        )
    )
)
at_distiller = dict(distill_losses=dict(loss_at=dict(num_levels=4)))
crd_distiller = dict(
    connectors=dict(student=dict(dim_in=1280), teacher=dict(dim_in=512))
)
reviewkd_distiller = dict(
    connectors=dict(
        stages=dict(
            in_channels=[12, 16, 48, 160, 1280],
            out_channels=[128, 256, 512, 512, 512],
            out_sizes=[16, 8, 4, 4, None],
        )
    ),
    distill_losses=dict(
        loss_reviewkd=dict(loss=dict(num_levels=4, loss_weight=5.0))
    ),
)
