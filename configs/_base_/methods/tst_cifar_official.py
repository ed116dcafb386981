"""TST on CIFAR as the reference code has it, where that is not the paper.

Augmentation and objective in its forms. Each pair's config adds what is its
own: the optimizer, when and how long is searched, the weight of KD. It trains
in mixed precision: ``--amp`` of ``tools/train.py``.
"""

_base_ = './tst_cifar.py'

augmentation = dict(preset='official')
objective = dict(mode='official')
