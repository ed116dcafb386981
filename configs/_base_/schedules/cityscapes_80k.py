"""Cityscapes for the paper's pair: data, schedule, runtime.

8 GPUs x 2 crops of 512 x 1024, 80,000 iterations, SGD with a polynomial decay
of the learning rate down to 1e-4. All but the batch is mmseg's own schedule.
"""

_base_ = ['mmseg::_base_/datasets/cityscapes.py', '../seg_runtime.py']

train_cfg = dict(type='IterBasedTrainLoop', max_iters=80000, val_interval=8000)
param_scheduler = [
    dict(
        type='PolyLR',
        eta_min=1e-4,
        power=0.9,
        begin=0,
        end=80000,
        by_epoch=False,
    )
]
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0005),
    clip_grad=None,
)
default_hooks = dict(checkpoint=dict(interval=8000))
auto_scale_lr = dict(enable=False, base_batch_size=16)
