"""Swin-L -> Swin-T on ImageNet, a pair of the paper's Table 2.

The teacher was pretrained on ImageNet-22k.
"""

_base_ = [
    '../../distillers/classification_imagenet.py',
    '../../schedules/imagenet_300e_swin.py',
]

model = dict(
    _scope_='mmrazor',
    type='mmtst.TeacherStudentDistill',
    architecture=dict(
        cfg_path='mmpretrain::swin_transformer/swin-tiny_16xb64_in1k.py'
    ),
    teacher=dict(
        cfg_path='mmpretrain::swin_transformer/swin-large_16xb64_in1k.py'
    ),
    teacher_ckpt='https://download.openmmlab.com/mmclassification/v0/'
    'swin-transformer/convert/'
    'swin_large_patch4_window7_224_22kto1k-5f0996db.pth',
)
