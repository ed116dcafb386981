"""4 epochs from scratch with AdamW, in batches of 4: the demo's students."""

_base_ = './scratch_24e.py'

max_epochs = 4
train_cfg = dict(max_epochs=max_epochs, val_interval=2)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(
        type='CosineAnnealingLR',
        T_max=max_epochs,
        eta_min=0.0,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
optim_wrapper = dict(optimizer=dict(lr=1.5e-3))
default_hooks = dict(checkpoint=dict(interval=1))
auto_scale_lr = dict(base_batch_size=4)
