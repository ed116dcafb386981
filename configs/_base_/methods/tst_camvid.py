"""TST on CamVid: when it searches, and for how long.

A search before the iterations 500 and 1,000 of 2,000. Longer steps make up
for some of what they are shorter than on Cityscapes.
"""

custom_hooks = [
    dict(
        type='mmtst.PolicySearchHook',
        at=[500, 1000],
        by_epoch=False,
        iterations=150,
        lr=0.1,
    )
]
