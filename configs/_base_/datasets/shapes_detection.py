"""The shapes set: 5 classes, drawn by ``tools/make_shapes.py``, COCO layout.

Say where the data lies with the environment variable ``SHAPES_ROOT``, or draw
it into ``data/shapes``.
"""

_base_ = './coco_layout.py'

data_root = '{{$SHAPES_ROOT:data/shapes}}'
metainfo = dict(classes=('circle', 'square', 'triangle', 'star', 'cross'))

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    # Sets the scale factor that the metric wants; the size stays.
    dict(type='Resize', scale_factor=1.0),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs'),
]

source = dict(data_root=data_root, metainfo=metainfo)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline, **source))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline, **source))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=f'{data_root}/annotations/instances_val.json')
test_evaluator = val_evaluator
