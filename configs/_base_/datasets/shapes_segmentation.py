"""The shapes set: background and 5 classes, in Cityscapes layout.

``tools/make_shapes.py`` draws it. Say where the data lies with the environment
variable ``SHAPES_ROOT``, or draw it into ``data/shapes``.
"""

_base_ = './seg_folders.py'

data_root = '{{$SHAPES_ROOT:data/shapes}}'
metainfo = dict(
    classes=('background', 'circle', 'square', 'triangle', 'star', 'cross'),
    palette=[
        [0, 0, 0],
        [220, 20, 60],
        [0, 120, 220],
        [250, 170, 30],
        [30, 160, 90],
        [150, 60, 200],
    ],
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]

source = dict(
    data_root=data_root,
    metainfo=metainfo,
    img_suffix='_leftImg8bit.png',
    seg_map_suffix='_gtFine_labelTrainIds.png',
)
train_dataloader = dict(
    dataset=dict(
        data_prefix=dict(
            img_path='leftImg8bit/train', seg_map_path='gtFine/train'
        ),
        pipeline=train_pipeline,
        **source,
    )
)
val_dataloader = dict(
    dataset=dict(
        data_prefix=dict(
            img_path='leftImg8bit/val', seg_map_path='gtFine/val'
        ),
        pipeline=test_pipeline,
        **source,
    )
)
test_dataloader = val_dataloader
