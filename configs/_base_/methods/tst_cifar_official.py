"""TST on CIFAR as the reference code has it, where that is not the paper.

Augmentation and objective in its forms. Each pair's config adds what is its
own: optimizer (Nesterov momentum, mixed precision), when and how long is
searched, the weight of KD.
"""

_base_ = './tst_cifar.py'

augmentation = dict(preset='official')
objective = dict(mode='official')
