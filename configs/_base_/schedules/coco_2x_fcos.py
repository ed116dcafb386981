"""COCO for FCOS, with the student's head as in the paper's setting.

The paper trains the student with GIoU, boxes in units of the stride and center
sampling. Images, schedule and parameter-wise settings are mmdet's own of these
models.
"""

_base_ = './coco_2x.py'

fcos_r50_options = dict(
    bbox_head=dict(
        norm_on_bbox=True,
        center_sampling=True,
        loss_bbox=dict(type='GIoULoss', loss_weight=1.0),
    )
)
train_pipeline = [
    dict(type='LoadImageFromFile', backend_args={{_base_.backend_args}}),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='RandomChoiceResize',
        scales=[(1333, 640), (1333, 800)],
        keep_ratio=True,
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

param_scheduler = [
    dict(type='ConstantLR', factor=1.0 / 3, by_epoch=False, begin=0, end=500),
    dict(
        type='MultiStepLR',
        begin=0,
        end=24,
        by_epoch=True,
        milestones=[16, 22],
        gamma=0.1,
    ),
]
optim_wrapper = dict(
    optimizer=dict(lr=0.01),
    paramwise_cfg=dict(bias_lr_mult=2.0, bias_decay_mult=0.0),
    clip_grad=dict(max_norm=35, norm_type=2),
)
