"""ResNet-50 -> MobileNetV1 on ImageNet, a pair of the paper's Table 2."""

_base_ = [
    '../../distillers/classification_imagenet.py',
    '../../schedules/imagenet_100e.py',
]

model = dict(
    _scope_='mmrazor',
    type='mmtst.TeacherStudentDistill',
    architecture=dict(
        # All but the backbone, as in every mmpretrain config of a CNN.
        cfg_path='mmpretrain::resnet/resnet18_8xb32_in1k.py',
        cfg_options=dict(
            backbone=dict(_delete_=True, type='mmtst.MobileNetV1'),
            head=dict(in_channels=1024),
        ),
    ),
    teacher=dict(cfg_path='mmpretrain::resnet/resnet50_8xb32_in1k.py'),
    teacher_ckpt='https://download.openmmlab.com/mmclassification/v0/resnet/'
    'resnet50_8xb32_in1k_20210831-ea4938fc.pth',
)
