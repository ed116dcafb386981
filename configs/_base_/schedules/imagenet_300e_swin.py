"""ImageNet for the paper's Swin pair: 300 epochs, 8 GPUs x 64 images.

AdamW with a cosine decay from 5e-4, weight decay 0.05. Where the paper is
silent (warm-up of 20 epochs, gradients clipped at 5, RandAugment and random
erasing in the data, mixup, CutMix and smoothing in the student's own config)
this is mmpretrain's recipe, which the reference code has too.
"""

_base_ = [
    'mmpretrain::_base_/datasets/imagenet_bs64_swin_224.py',
    'mmpretrain::_base_/schedules/imagenet_bs1024_adamw_swin.py',
    '../cls_runtime.py',
]

# Student and teacher bring theirs.
data_preprocessor = None

optim_wrapper = dict(optimizer=dict(lr=5e-4), clip_grad=dict(max_norm=5.0))
default_hooks = dict(
    # A step takes long enough, and losses that are not finite show at once.
    runtime_info=dict(type='RuntimeInfoHook'),
    checkpoint=dict(interval=1, max_keep_ckpts=3),
)
auto_scale_lr = dict(enable=False, base_batch_size=512)
