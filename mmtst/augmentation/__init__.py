"""Say how a batch is altered: operators, gates, composition, prior."""

from mmtst.augmentation.affine_encoder import AffineEncoder
from mmtst.augmentation.base import (
    AFFINE_OPERATORS,
    COLOR_OPERATORS,
    FIXED_OPERATORS,
    MAGNITUDE_OPERATORS,
    OPERATORS,
    AugmentDraw,
    AugmentRecord,
    Policy,
)
from mmtst.augmentation.color_encoder import ColorEncoder
from mmtst.augmentation.encoder import AugmentationEncoder
from mmtst.augmentation.gates import logistic_noise, relaxed_bernoulli
from mmtst.augmentation.image_space import ImageSpace
from mmtst.augmentation.meta_encoders import (
    load_prior,
    save_prior,
    shipped_prior,
)

__all__ = [
    'AFFINE_OPERATORS',
    'COLOR_OPERATORS',
    'FIXED_OPERATORS',
    'MAGNITUDE_OPERATORS',
    'OPERATORS',
    'AffineEncoder',
    'AugmentDraw',
    'AugmentRecord',
    'AugmentationEncoder',
    'ColorEncoder',
    'ImageSpace',
    'Policy',
    'load_prior',
    'logistic_noise',
    'relaxed_bernoulli',
    'save_prior',
    'shipped_prior',
]
