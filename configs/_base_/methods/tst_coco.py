"""TST on COCO: what the paper's three pairs of detectors share.

8 GPUs x 2 images, 24 epochs (the student sees each image twice a step), steps
of 1/10 at 16 and 22, a search before epochs 6 and 12. The config that takes it
names student, teacher, its checkpoint and the distiller.
"""

_base_ = [
    'mmdet::_base_/datasets/coco_detection.py',
    'mmdet::_base_/schedules/schedule_2x.py',
    '../det_runtime.py',
]

# ========================= Frequently modified =============================
search_epochs = [6, 12]  # Stage II runs before these (counted from 0)

# ========================= Possibly modified ===============================
num_operators = 4  # N_A
alpha, beta = 1.0, 1.0  # weights of the teacher's and the student's part
search_lr = 0.01
search_clip = 20.0  # global norm

# ========================= Best left alone =================================
model = dict(
    _scope_='mmrazor',
    type='mmtst.TSTDistill',
    augmentation=dict(
        type='mmtst.AugmentationEncoder',
        preset='default',
        num_operators=num_operators,
        composition='matrix_sum',  # Eq. 6-8
    ),
    objective=dict(type='mmtst.GapObjective', alpha=alpha, beta=beta),
)
custom_hooks = [
    dict(
        type='mmtst.PolicySearchHook',
        at=search_epochs,
        epochs=1,
        lr=search_lr,
        momentum=0.9,
        clip_grad=search_clip,
    )
]
# The schedule's linear warm-up over 500 iterations stays, as does no clipping
# of the student's gradients.
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0001)
)
find_unused_parameters = False
