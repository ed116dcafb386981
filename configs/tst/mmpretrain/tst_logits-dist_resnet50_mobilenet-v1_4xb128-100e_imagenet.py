"""TST with DIST in the place of KD on ImageNet: ResNet-50 -> MobileNetV1.

Appendix D.4 of the paper: top-1 73.55; DIST alone 73.24, TST with KD 72.31.
"""

_base_ = [
    '../../_base_/pairs/imagenet/resnet50_mobilenet-v1.py',
    '../../_base_/methods/tst_imagenet.py',
]

model = dict(
    type='mmtst.TSTDistill',
    distiller={{_base_.dist_distiller}},
    augmentation={{_base_.augmentation}},
    objective={{_base_.objective}},
)
