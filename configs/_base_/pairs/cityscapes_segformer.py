"""SegFormer-B2 -> SegFormer-B0 on Cityscapes.

Crops and schedule are mmseg's own of these models. They have no auxiliary
head: the ``*_decode`` distillers are theirs.
"""

_base_ = [
    './segformer_b2.py',
    '../schedules/cityscapes_160k_adamw.py',
    '../distillers/segmentation.py',
]

model = dict(
    _scope_='mmrazor',
    type='mmtst.TeacherStudentDistill',
    architecture=dict(
        cfg_path='mmseg::segformer/'
        'segformer_mit-b0_8xb1-160k_cityscapes-1024x1024.py'
    ),
)
