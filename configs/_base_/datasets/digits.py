"""Digits: 1,297 / 500 handwritten ones, 32 x 32, in CIFAR-100's layout.

``tools/make_digits.py`` writes them. Say where they lie with the environment
variable ``DIGITS_ROOT``, or write them into ``data/digits``.
"""

_base_ = './cifar_layout.py'

data_root = '{{$DIGITS_ROOT:data/digits}}'
# Roughly those of the training images.
data_preprocessor = dict(
    type='mmpretrain.ClsDataPreprocessor',
    num_classes=10,
    mean=[85.0, 85.0, 85.0],
    std=[60.0, 60.0, 60.0],
    to_rgb=False,
)

# A digit seen in a mirror is another thing.
train_dataloader = dict(
    batch_size=32, dataset=dict(data_root=data_root, flip=0)
)
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
val_evaluator = dict(topk=(1,))
test_evaluator = val_evaluator
