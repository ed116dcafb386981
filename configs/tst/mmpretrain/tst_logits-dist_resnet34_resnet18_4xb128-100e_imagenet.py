"""TST with DIST in the place of KD on ImageNet: ResNet-34 -> ResNet-18."""

_base_ = [
    '../../_base_/pairs/imagenet/resnet34_resnet18.py',
    '../../_base_/methods/tst_imagenet.py',
]

model = dict(
    type='mmtst.TSTDistill',
    distiller={{_base_.dist_distiller}},
    augmentation={{_base_.augmentation}},
    objective={{_base_.objective}},
)
