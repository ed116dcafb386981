"""TST on Cityscapes for schedules of 160,000 iterations.

The searches lie where they lie in 80,000, after as many crops: a batch is half
as large here. They have as many steps, so that the policy may move as far.
"""

_base_ = './tst_cityscapes.py'

search_at = [15000, 30000]
custom_hooks = [dict(_base_.custom_hooks[0], at=search_at)]
