"""Carry a record over to the ground truth."""

from mmtst.augmentation.appliers.data_samples import apply_to_samples
from mmtst.augmentation.appliers.instances import warp_instances, warp_masks

__all__ = ['apply_to_samples', 'warp_instances', 'warp_masks']
