"""Images of 32 x 32 in CIFAR-100's layout: what every such set shares.

The images lie in device memory, so nothing is left for workers to do. The
config that takes it adds ``data_root``, ``data_preprocessor`` and the metric's
``topk``.
"""

collate_fn = dict(type='mmtst.keep_batch')
# The set itself uses none. It is for mmpretrain's inferencers, which read
# pictures as BGR where these images are RGB.
_inference = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(32, 32)),
    dict(type='NumpyToPIL', to_rgb=True),
    dict(type='PILToNumpy'),
    dict(type='PackInputs'),
]

train_dataloader = dict(
    batch_size=128,
    num_workers=0,
    collate_fn=collate_fn,
    sampler=dict(type='DefaultSampler', shuffle=True),
    # Black borders of 4 pixels, a crop of the old size, flips.
    dataset=dict(
        type='mmtst.CIFAR100', split='train', crop_padding=4, flip=0.5
    ),
)
val_dataloader = dict(
    batch_size=500,
    num_workers=0,
    drop_last=False,
    collate_fn=collate_fn,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='mmtst.CIFAR100', split='test', pipeline=_inference),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy')
test_evaluator = val_evaluator
