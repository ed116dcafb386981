"""The small PSPNet pair on CamVid, 2,000 iterations from scratch at 240 x 180.

Train the teacher first, with
``configs/segmentors/pspnet_r18-32_1xb8-2k_camvid.py``.
"""

_base_ = [
    './pair.py',
    '../../datasets/camvid.py',
    '../../schedules/scratch_adamw_iters.py',
]

classes = dict(
    decode_head=dict(num_classes=11), auxiliary_head=dict(num_classes=11)
)
model = dict(
    architecture=dict(cfg_options=classes),
    teacher=dict(cfg_options=classes),
    teacher_ckpt='work_dirs/pspnet_r18-32_1xb8-2k_camvid/iter_2000.pth',
)
