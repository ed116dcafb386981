"""PSPNet-R101 -> PSPNet-R18 on Cityscapes, the pair of the paper."""

_base_ = [
    '../schedules/cityscapes_80k.py',
    '../distillers/segmentation.py',
]

model = dict(
    _scope_='mmrazor',
    type='mmtst.TeacherStudentDistill',
    architecture=dict(
        cfg_path='mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py'
    ),
    teacher=dict(
        cfg_path='mmseg::pspnet/'
        'pspnet_r101-d8_4xb2-80k_cityscapes-512x1024.py',
        cfg_options=dict(pretrained=None),
    ),
    teacher_ckpt='https://download.openmmlab.com/mmsegmentation/v0.5/pspnet/'
    'pspnet_r101-d8_512x1024_80k_cityscapes/'
    'pspnet_r101-d8_512x1024_80k_cityscapes_20200606_112211-e1e1100f.pth',
)
