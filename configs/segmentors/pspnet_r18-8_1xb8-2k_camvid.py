"""The student of the CamVid pair alone: PSPNet from scratch at 240 x 180."""

_base_ = [
    '../_base_/pairs/small_pspnet/student.py',
    '../_base_/datasets/camvid.py',
    '../_base_/schedules/scratch_adamw_iters.py',
]

model = dict(
    cfg_options=dict(
        decode_head=dict(num_classes=11), auxiliary_head=dict(num_classes=11)
    )
)
