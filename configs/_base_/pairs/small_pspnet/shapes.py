"""What the small PSPNets share on the shapes set: data, schedule, options.

Shapes are small: scores lie at 1/8 of the pictures in place of 1/16, and many
small steps find the classes sooner than few large ones.
"""

_base_ = [
    '../../datasets/shapes_segmentation.py',
    '../../schedules/scratch_adamw_iters.py',
]

train_dataloader = dict(batch_size=4)
train_cfg = dict(max_iters=1500, val_interval=500)
optim_wrapper = dict(optimizer=dict(lr=4e-3))
auto_scale_lr = dict(base_batch_size=4)

# Merged into the models.
shapes_options = dict(
    backbone=dict(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4)),
    decode_head=dict(num_classes=6),
    auxiliary_head=dict(num_classes=6),
)
