"""Collect what is distilled from student and teacher."""

from .data_augmentation_distiller import DataAugmentationDistiller

__all__ = ['DataAugmentationDistiller']
