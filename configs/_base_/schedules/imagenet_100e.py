"""ImageNet as in the paper: 100 epochs of SGD, 4 GPUs x 128 images.

The learning rate of 0.1 falls to a tenth after 30, 60 and 90 epochs; weight
decay 1e-4. All but the batch is mmpretrain's own schedule.
"""

_base_ = [
    'mmpretrain::_base_/datasets/imagenet_bs32.py',
    'mmpretrain::_base_/schedules/imagenet_bs256.py',
    '../cls_runtime.py',
]

# Student and teacher bring theirs.
data_preprocessor = None

train_dataloader = dict(batch_size=128)
val_dataloader = dict(batch_size=128)
val_evaluator = dict(topk=(1, 5))
test_dataloader = val_dataloader
test_evaluator = val_evaluator
default_hooks = dict(
    # A step takes long enough, and losses that are not finite show at once.
    runtime_info=dict(type='RuntimeInfoHook'),
    checkpoint=dict(interval=1, max_keep_ckpts=3),
)
auto_scale_lr = dict(enable=False, base_batch_size=512)
