"""DeepLabV3+-R101 -> DeepLabV3+-R18 on Cityscapes, as the paper's PSPNets."""

_base_ = [
    '../schedules/cityscapes_80k.py',
    '../distillers/segmentation.py',
]

model = dict(
    _scope_='mmrazor',
    type='mmtst.TeacherStudentDistill',
    architecture=dict(
        cfg_path='mmseg::deeplabv3plus/'
        'deeplabv3plus_r18-d8_4xb2-80k_cityscapes-512x1024.py'
    ),
    teacher=dict(
        cfg_path='mmseg::deeplabv3plus/'
        'deeplabv3plus_r101-d8_4xb2-80k_cityscapes-512x1024.py',
        cfg_options=dict(pretrained=None),
    ),
    teacher_ckpt='https://download.openmmlab.com/mmsegmentation/v0.5/'
    'deeplabv3plus/deeplabv3plus_r101-d8_512x1024_80k_cityscapes/'
    'deeplabv3plus_r101-d8_512x1024_80k_cityscapes_20200606_114143-068fcfe9'
    '.pth',
)
