"""AdamW from scratch, for small segmentors on small data in batches of 8.

The config that takes it says for how long: ``train_cfg.max_iters``.
"""

_base_ = '../seg_runtime.py'

train_cfg = dict(type='IterBasedTrainLoop', max_iters=2000, val_interval=500)

# Without an end each goes on until the last iteration, whichever that is.
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', by_epoch=False),
]
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1.5e-3, weight_decay=0.05),
    clip_grad=dict(max_norm=10.0),
)
default_hooks = dict(
    logger=dict(interval=10),
    checkpoint=dict(interval=500, max_keep_ckpts=1),
)
auto_scale_lr = dict(enable=False, base_batch_size=8)
