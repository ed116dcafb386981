"""The teacher of the demo alone, on all of the digits."""

_base_ = [
    '../../_base_/models/digits.py',
    '../../_base_/schedules/digits_sgd.py',
]

model = {{_base_.resnet20}}
