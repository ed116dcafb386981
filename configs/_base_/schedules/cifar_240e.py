"""CIFAR as in the paper: 240 epochs of SGD in batches of 128.

The learning rate of 0.1 falls to a tenth after 150, 180 and 210 epochs. The
validation set is looked at every 20 epochs, and at the end.
"""

_base_ = '../cls_runtime.py'

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=240, val_interval=20)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(
        type='MultiStepLR',
        by_epoch=True,
        milestones=[150, 180, 210],
        gamma=0.1,
    )
]
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4),
)
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=1))
auto_scale_lr = dict(enable=False, base_batch_size=128)
