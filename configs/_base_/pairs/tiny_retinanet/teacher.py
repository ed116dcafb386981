"""The teacher of the tiny RetinaNet pair, alone."""

_base_ = ['mmdet::_base_/models/retinanet_r50_fpn.py', './options.py']

model = {{_base_.teacher_options}}
