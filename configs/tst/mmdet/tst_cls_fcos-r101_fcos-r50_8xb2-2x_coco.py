"""TST with KD on COCO: FCOS-R101 -> FCOS-R50.

Table 3 of the paper ("Ours (KD)"): AP 40.1, against 38.5 of the student alone
and 39.9 of KD. Both are caffe-style: BGR, means alone. The student alone is
trained with GIoU, boxes in units of the stride and center sampling.

Classes are distilled, as the paper says. The reference code distils centerness
too: ``model = dict(distiller={{_base_.centerness_kl}})`` in a config based on
this one adds it. Its run was in half precision: ``tools/train.py --amp``.
"""

_base_ = [
    '../../_base_/methods/tst_coco.py',
    '../../_base_/distillers/single_stage.py',
]

model = dict(
    architecture=dict(
        cfg_path='mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
        cfg_options=dict(
            bbox_head=dict(
                norm_on_bbox=True,
                center_sampling=True,
                loss_bbox=dict(type='GIoULoss', loss_weight=1.0),
            )
        ),
    ),
    teacher=dict(
        cfg_path='mmdet::fcos/'
        'fcos_r101-caffe_fpn_gn-head_ms-640-800-2x_coco.py',
        cfg_options=dict(backbone=dict(init_cfg=None)),
    ),
    teacher_ckpt='https://download.openmmlab.com/mmdetection/v2.0/fcos/'
    'fcos_r101_caffe_fpn_gn-head_mstrain_640-800_2x_coco/'
    'fcos_r101_caffe_fpn_gn-head_mstrain_640-800_2x_coco-511424d6.pth',
    distiller={{_base_.kd_distiller}},
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

# mmdet's own schedule of these models, parameter-wise settings included.
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
