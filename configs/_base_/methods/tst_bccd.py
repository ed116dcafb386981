"""TST on BCCD: when it searches, and for how long.

As in the paper after 1/4 and 1/2 of the epochs. An epoch is 52 steps here,
7,330 on COCO: longer steps make up for some of it.
"""

custom_hooks = [
    dict(type='mmtst.PolicySearchHook', at=[6, 12], iterations=150, lr=0.1)
]
