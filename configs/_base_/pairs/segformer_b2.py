"""SegFormer-B2 on Cityscapes as a teacher."""

model = dict(
    teacher=dict(
        cfg_path='mmseg::segformer/'
        'segformer_mit-b2_8xb1-160k_cityscapes-1024x1024.py',
        cfg_options=dict(backbone=dict(init_cfg=None)),
    ),
    teacher_ckpt='https://download.openmmlab.com/mmsegmentation/v0.5/'
    'segformer/segformer_mit-b2_8x1_1024x1024_160k_cityscapes/'
    'segformer_mit-b2_8x1_1024x1024_160k_cityscapes_20211207_134205-6096669a'
    '.pth',
)
