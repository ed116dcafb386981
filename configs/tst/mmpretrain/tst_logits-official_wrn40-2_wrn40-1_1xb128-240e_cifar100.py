"""TST as its reference code has it: WRN-40-2 -> WRN-40-1, CIFAR-100."""

_base_ = [
    '../../_base_/pairs/cifar/wrn40-2_wrn40-1.py',
    '../../_base_/methods/tst_cifar_official.py',
]

model = dict(
    type='mmtst.TSTDistill',
    distiller={{_base_.kd_distiller}},
    augmentation={{_base_.augmentation}},
    objective={{_base_.objective}},
)
custom_hooks = [
    dict(
        type='mmtst.PolicySearchHook',
        at=[30, 90],
        epochs=10,
        lr=0.01,
        momentum=0.9,
        clip_grad=None,
    )
]
optim_wrapper = dict(
    optimizer=dict(lr=0.05, weight_decay=0.0001, nesterov=True)
)
