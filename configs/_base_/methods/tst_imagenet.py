"""TST on ImageNet: what it adds to each of the paper's pairs.

The student sees each image twice a step. Searches of 5 epochs before the
epochs 10 and 20.
"""

# ========================= Frequently modified =============================
search_epochs = [10, 20]  # Stage II runs before these (counted from 0)

# ========================= Possibly modified ===============================
num_operators = 4  # N_A
alpha, beta = 1.0, 1.0  # weights of the teacher's and the student's part
search_lr = 0.01
search_clip = 5.0  # global norm

# ========================= Best left alone =================================
augmentation = dict(
    type='mmtst.AugmentationEncoder',
    preset='default',
    num_operators=num_operators,
    composition='image_sum',  # Eq. 5
    # The reference code's side of 224: 56 % of an image go on average.
    cutout_fraction=1.0,
)
objective = dict(type='mmtst.GapObjective', alpha=alpha, beta=beta)
custom_hooks = [
    dict(
        type='mmtst.PolicySearchHook',
        at=search_epochs,
        epochs=5,
        lr=search_lr,
        momentum=0.9,
        clip_grad=search_clip,
    )
]
