"""The networks of the paper's CIFAR tables, as classifiers of CIFAR-100.

Each is a model config of mmpretrain; a config takes the one it wants as
``{{_base_.wrn16_2}}``. They come with their data, whose normalization they
have.
"""

_base_ = '../datasets/cifar100.py'

_data = dict(data_preprocessor={{_base_.data_preprocessor}})
# Each has its own: one at the top would take the place of the student's in a
# distillation, and of what the student's mixes with it.
data_preprocessor = None
_pooled = dict(neck=dict(type='mmpretrain.GlobalAveragePooling'))
_classifier = dict(
    type='mmpretrain.ImageClassifier', _scope_='mmpretrain', **_data, **_pooled
)
# All stages, the last also after its activation: the head reads that, the
# feature-based methods the others.
_outputs = dict(out_indices=(0, 1, 2, 3))
_head = dict(
    type='mmpretrain.LinearClsHead',
    num_classes=100,
    loss=dict(type='mmpretrain.CrossEntropyLoss', loss_weight=1.0),
)

resnet20 = dict(
    backbone=dict(type='mmtst.CIFARResNet', depth=20, **_outputs),
    head=dict(in_channels=64, **_head),
    **_classifier,
)
resnet32 = dict(
    backbone=dict(type='mmtst.CIFARResNet', depth=32, **_outputs),
    head=dict(in_channels=64, **_head),
    **_classifier,
)
resnet56 = dict(
    backbone=dict(type='mmtst.CIFARResNet', depth=56, **_outputs),
    head=dict(in_channels=64, **_head),
    **_classifier,
)
resnet110 = dict(
    backbone=dict(type='mmtst.CIFARResNet', depth=110, **_outputs),
    head=dict(in_channels=64, **_head),
    **_classifier,
)
resnet8x4 = dict(
    backbone=dict(type='mmtst.CIFARResNet', depth=8, width=4, **_outputs),
    head=dict(in_channels=256, **_head),
    **_classifier,
)
resnet32x4 = dict(
    backbone=dict(type='mmtst.CIFARResNet', depth=32, width=4, **_outputs),
    head=dict(in_channels=256, **_head),
    **_classifier,
)
wrn16_2 = dict(
    backbone=dict(type='mmtst.CIFARWideResNet', depth=16, width=2, **_outputs),
    head=dict(in_channels=128, **_head),
    **_classifier,
)
wrn28_10 = dict(
    backbone=dict(
        type='mmtst.CIFARWideResNet', depth=28, width=10, **_outputs
    ),
    head=dict(in_channels=640, **_head),
    **_classifier,
)
wrn40_1 = dict(
    backbone=dict(type='mmtst.CIFARWideResNet', depth=40, width=1, **_outputs),
    head=dict(in_channels=64, **_head),
    **_classifier,
)
wrn40_2 = dict(
    backbone=dict(type='mmtst.CIFARWideResNet', depth=40, width=2, **_outputs),
    head=dict(in_channels=128, **_head),
    **_classifier,
)
wrn40_4 = dict(
    backbone=dict(type='mmtst.CIFARWideResNet', depth=40, width=4, **_outputs),
    head=dict(in_channels=256, **_head),
    **_classifier,
)
vgg8 = dict(
    backbone=dict(type='mmtst.CIFARVGG', depth=8, out_indices=(1, 2, 3, 4, 5)),
    head=dict(in_channels=512, **_head),
    **_classifier,
)
vgg13 = dict(
    backbone=dict(
        type='mmtst.CIFARVGG', depth=13, out_indices=(1, 2, 3, 4, 5)
    ),
    head=dict(in_channels=512, **_head),
    **_classifier,
)
shufflenet_v1 = dict(
    backbone=dict(type='mmtst.CIFARShuffleNetV1', **_outputs),
    head=dict(in_channels=960, **_head),
    **_classifier,
)
shufflenet_v2 = dict(
    backbone=dict(type='mmtst.CIFARShuffleNetV2', **_outputs),
    head=dict(in_channels=1024, **_head),
    **_classifier,
)
mobilenet_v2 = dict(
    backbone=dict(
        type='mmtst.CIFARMobileNetV2', width=0.5, out_indices=(0, 1, 2, 3, 4)
    ),
    head=dict(in_channels=1280, **_head),
    **_classifier,
)
