"""CRD on CIFAR-100: WRN-40-2 -> ShuffleNetV1."""

_base_ = '../../_base_/pairs/cifar/wrn40-2_shufflenet-v1.py'

model = dict(distiller={{_base_.crd_distiller}})
