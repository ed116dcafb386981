"""COCO for the paper's three pairs: data, schedule, runtime.

8 GPUs x 2 images, 24 epochs, steps of 1/10 at 16 and 22. The config that takes
it sets the learning rate, on which the pairs differ. The schedule's linear
warm-up over 500 iterations stays, as does no clipping of gradients.
"""

_base_ = [
    'mmdet::_base_/datasets/coco_detection.py',
    'mmdet::_base_/schedules/schedule_2x.py',
    '../det_runtime.py',
]

optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0001)
)
find_unused_parameters = False
