"""CIFAR-100: 50,000 / 10,000 images of 32 x 32, 100 classes.

Say where the data lies with the environment variable ``CIFAR100_ROOT``, or
move it to ``data/cifar100``: ``cifar-100-python`` with ``train``, ``test`` and
``meta``. ``dataset.fraction`` keeps a share of each class (few-shot).
"""

_base_ = './cifar_layout.py'

data_root = '{{$CIFAR100_ROOT:data/cifar100}}'
# Mean and spread of the training images, RGB, as in the literature.
data_preprocessor = dict(
    type='mmpretrain.ClsDataPreprocessor',
    num_classes=100,
    mean=[0.5071 * 255, 0.4867 * 255, 0.4408 * 255],
    std=[0.2675 * 255, 0.2565 * 255, 0.2761 * 255],
    to_rgb=False,
)

train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
val_evaluator = dict(topk=(1, 5))
test_evaluator = val_evaluator
