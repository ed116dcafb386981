"""TST on CIFAR as the reference code has it, where that is not the paper.

Augmentation and objective in its forms, searches of 30 epochs. Each pair's
config adds what is its own: the optimizer, the weight of KD, other searches.
It trains in mixed precision: ``--amp`` of ``tools/train.py``.
"""

_base_ = './tst_cifar.py'

augmentation = dict(preset='official')
objective = dict(mode='official')
custom_hooks = [
    dict(
        type='mmtst.PolicySearchHook',
        at=[30, 90],
        epochs=30,
        lr=0.01,
        momentum=0.9,
        clip_grad=None,
    )
]
