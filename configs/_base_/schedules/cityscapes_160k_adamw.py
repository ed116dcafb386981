"""Cityscapes for SegFormer: data, schedule, runtime.

mmseg's own: 8 GPUs x 1 crop of 1024 x 1024, 160,000 iterations of AdamW, ten
times the learning rate for the head. As many crops as in ``cityscapes_80k``.
"""

_base_ = [
    'mmseg::_base_/datasets/cityscapes_1024x1024.py',
    '../seg_runtime.py',
]

train_dataloader = dict(batch_size=1, num_workers=4)
train_cfg = dict(
    type='IterBasedTrainLoop', max_iters=160000, val_interval=16000
)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1500
    ),
    dict(
        type='PolyLR',
        eta_min=0.0,
        power=1.0,
        begin=1500,
        end=160000,
        by_epoch=False,
    ),
]
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(
        type='AdamW', lr=0.00006, betas=(0.9, 0.999), weight_decay=0.01
    ),
    paramwise_cfg=dict(
        custom_keys={
            'pos_block': dict(decay_mult=0.0),
            'norm': dict(decay_mult=0.0),
            'head': dict(lr_mult=10.0),
        }
    ),
)
default_hooks = dict(checkpoint=dict(interval=16000))
auto_scale_lr = dict(enable=False, base_batch_size=8)
