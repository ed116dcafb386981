"""CamVid: road scenes, 367 / 101 / 233 images of 480 x 360, 11 classes.

Say where the data lies with the environment variable ``CAMVID_ROOT``, or move
it to ``data/camvid``: ``img_dir`` and ``ann_dir``, each with ``train``,
``val`` and ``test``; label maps with class indices, 255 for void.
"""

_base_ = './seg_folders.py'

data_root = '{{$CAMVID_ROOT:data/camvid}}'
metainfo = dict(
    classes=(
        'Sky',
        'Building',
        'Pole',
        'Road',
        'Pavement',
        'Tree',
        'SignSymbol',
        'Fence',
        'Car',
        'Pedestrian',
        'Bicyclist',
    ),
    palette=[
        [128, 128, 128],
        [128, 0, 0],
        [192, 192, 128],
        [128, 64, 128],
        [60, 40, 222],
        [128, 128, 0],
        [192, 128, 128],
        [64, 64, 128],
        [64, 0, 128],
        [64, 64, 0],
        [0, 128, 192],
    ],
)
# Half the size of the pictures; width, height.
scale = (240, 180)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(
        type='RandomResize',
        scale=scale,
        ratio_range=(0.75, 1.5),
        keep_ratio=True,
    ),
    # Height, width.
    dict(type='RandomCrop', crop_size=(160, 224), cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=scale, keep_ratio=True),
    # After Resize: predictions are compared in the size of the file.
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]

source = dict(
    data_root=data_root,
    metainfo=metainfo,
    img_suffix='.jpg',
    seg_map_suffix='.png',
)
train_dataloader = dict(
    dataset=dict(
        data_prefix=dict(
            img_path='img_dir/train', seg_map_path='ann_dir/train'
        ),
        pipeline=train_pipeline,
        **source,
    )
)
val_dataloader = dict(
    dataset=dict(
        data_prefix=dict(img_path='img_dir/val', seg_map_path='ann_dir/val'),
        pipeline=test_pipeline,
        **source,
    )
)
test_dataloader = val_dataloader
