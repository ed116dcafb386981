"""TST with KD on a tenth of the digits, with two searches."""

_base_ = '../../_base_/pairs/small_digits.py'

model = dict(
    type='mmtst.TSTDistill',
    distiller={{_base_.kd_distiller}},
    augmentation=dict(
        type='mmtst.AugmentationEncoder',
        num_operators=4,
        composition='image_sum',  # Eq. 5
        cutout_fraction=0.5,
        channel_order='rgb',
    ),
    objective=dict(type='mmtst.GapObjective'),
)
# After 1/4 and 1/2 of the epochs.
custom_hooks = [
    dict(type='mmtst.PolicySearchHook', at=[30, 60], iterations=100)
]
