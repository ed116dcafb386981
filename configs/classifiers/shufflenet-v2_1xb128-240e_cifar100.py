"""ShuffleNetV2 on CIFAR-100, alone."""

_base_ = [
    '../_base_/models/cifar.py',
    '../_base_/schedules/cifar_240e.py',
]

model = {{_base_.shufflenet_v2}}
