"""The small PSPNet pair under TST."""

_base_ = './pair.py'

model = dict(
    type='mmtst.TSTDistill',
    distiller={{_base_.kd_distiller}},
    augmentation=dict(type='mmtst.AugmentationEncoder', num_operators=4),
    objective=dict(type='mmtst.GapObjective'),
)
