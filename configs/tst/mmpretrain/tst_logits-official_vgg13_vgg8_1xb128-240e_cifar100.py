"""TST as its reference code has it: VGG-13 -> VGG-8, CIFAR-100."""

_base_ = [
    '../../_base_/pairs/cifar/vgg13_vgg8.py',
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
        at=[32, 62, 92, 122, 152, 182, 212],
        epochs=5,
        lr=0.01,
        momentum=0.9,
        clip_grad=None,
    )
]
optim_wrapper = dict(optimizer=dict(weight_decay=0.0001, nesterov=True))
