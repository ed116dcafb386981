"""WRN-40-2 -> ShuffleNetV1 on CIFAR-100, a pair of the paper's Table 1."""

_base_ = [
    '../../models/cifar.py',
    '../../distillers/classification.py',
    '../../schedules/cifar_240e.py',
]

model = dict(
    _scope_='mmrazor',
    type='mmtst.TeacherStudentDistill',
    architecture={{_base_.shufflenet_v1}},
    teacher={{_base_.wrn40_2}},
    teacher_ckpt='work_dirs/wrn40-2_1xb128-240e_cifar100/epoch_240.pth',
)

# What the feature-based baselines have to know of the pair.
fitnet_distiller = dict(
    connectors=dict(
        stage=dict(
            in_channel=480,
            out_channel=64,
            kernel_size=4,
            stride=2,
            padding=1,
            conv_cfg=dict(type='deconv'),
        )
    )
)
at_distiller = dict(distill_losses=dict(loss_at=dict(num_levels=3)))
crd_distiller = dict(
    connectors=dict(student=dict(dim_in=960), teacher=dict(dim_in=128))
)
reviewkd_distiller = dict(
    connectors=dict(
        stages=dict(
            in_channels=[240, 480, 960, 960],
            out_channels=[32, 64, 128, 128],
            out_sizes=[32, 16, 8, None],
        )
    ),
    distill_losses=dict(
        loss_reviewkd=dict(loss=dict(num_levels=3, loss_weight=5.0))
    ),
)
# By the teacher.
dkd_distiller = dict(distill_losses=dict(loss_dkd=dict(loss=dict(beta=6.0))))
