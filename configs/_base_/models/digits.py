"""The networks of the demo's pair, as classifiers of the digits.

They come with their data, whose normalization they have.
"""

_base_ = '../datasets/digits.py'

_classifier = dict(
    type='mmpretrain.ImageClassifier',
    _scope_='mmpretrain',
    data_preprocessor={{_base_.data_preprocessor}},
    neck=dict(type='mmpretrain.GlobalAveragePooling'),
    head=dict(
        type='mmpretrain.LinearClsHead',
        num_classes=10,
        in_channels=64,
        loss=dict(type='mmpretrain.CrossEntropyLoss'),
        topk=(1,),
    ),
)
# Each has its own: one at the top would take the place of the student's in a
# distillation, and of what the student's mixes with it.
data_preprocessor = None

resnet20 = dict(
    backbone=dict(type='mmtst.CIFARResNet', depth=20), **_classifier
)
resnet8 = dict(backbone=dict(type='mmtst.CIFARResNet', depth=8), **_classifier)
