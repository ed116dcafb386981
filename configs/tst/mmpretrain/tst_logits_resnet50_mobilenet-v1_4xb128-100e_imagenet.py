"""TST on ImageNet: ResNet-50 -> MobileNetV1.

Table 2 of the paper, top-1 / top-5: 72.31 / 90.70, KD 70.68 / 90.30; 70.13 /
89.49 of the student alone, and the teacher has 76.16 / 92.86.
"""

_base_ = [
    '../../_base_/pairs/imagenet/resnet50_mobilenet-v1.py',
    '../../_base_/methods/tst_imagenet.py',
]

model = dict(
    type='mmtst.TSTDistill',
    distiller={{_base_.kd_distiller}},
    augmentation={{_base_.augmentation}},
    objective={{_base_.objective}},
)
