"""TST on Cityscapes: what it adds to a pair.

The student sees each crop twice a step. A search before the iterations 7,500
and 15,000 of 80,000.
"""

# ========================= Frequently modified =============================
search_at = [7500, 15000]  # Stage II runs before these (counted from 0)
search_iterations = 1250

# ========================= Possibly modified ===============================
num_operators = 4  # N_A
alpha, beta = 1.0, 1.0  # weights of the teacher's and the student's part
search_lr = 0.01
search_clip = 20.0  # global norm

# ========================= Best left alone =================================
augmentation = dict(
    type='mmtst.AugmentationEncoder',
    preset='default',
    num_operators=num_operators,
    composition='matrix_sum',  # one warp, that label maps can follow
)
objective = dict(type='mmtst.GapObjective', alpha=alpha, beta=beta)
custom_hooks = [
    dict(
        type='mmtst.PolicySearchHook',
        at=search_at,
        by_epoch=False,
        iterations=search_iterations,
        lr=search_lr,
        momentum=0.9,
        clip_grad=search_clip,
    )
]
