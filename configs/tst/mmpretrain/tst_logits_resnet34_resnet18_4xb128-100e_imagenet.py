"""TST on ImageNet: ResNet-34 -> ResNet-18.

Table 2 of the paper, top-1 / top-5: 72.22 / 90.68, KD 70.66 / 89.88; 69.76 /
89.08 of the student alone, and the teacher has 73.31 / 91.42.
"""

_base_ = [
    '../../_base_/pairs/imagenet/resnet34_resnet18.py',
    '../../_base_/methods/tst_imagenet.py',
]

model = dict(
    type='mmtst.TSTDistill',
    distiller={{_base_.kd_distiller}},
    augmentation={{_base_.augmentation}},
    objective={{_base_.objective}},
)
