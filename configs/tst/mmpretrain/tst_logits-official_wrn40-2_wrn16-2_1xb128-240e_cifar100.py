"""TST as its reference code has it: WRN-40-2 -> WRN-16-2, CIFAR-100."""

_base_ = [
    '../../_base_/pairs/cifar/wrn40-2_wrn16-2.py',
    '../../_base_/methods/tst_cifar_official.py',
]

model = dict(
    type='mmtst.TSTDistill',
    distiller={{_base_.kd_distiller}},
    augmentation={{_base_.augmentation}},
    objective={{_base_.objective}},
)
optim_wrapper = dict(optimizer=dict(weight_decay=0.0001, nesterov=True))
