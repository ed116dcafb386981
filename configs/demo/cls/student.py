"""The student of the demo alone, on a tenth of the digits."""

_base_ = [
    '../../_base_/models/digits.py',
    '../../_base_/schedules/digits_sgd.py',
]

train_dataloader = dict(dataset=dict(fraction=0.1))
train_cfg = dict(max_epochs=120, val_interval=20)
model = {{_base_.resnet8}}
