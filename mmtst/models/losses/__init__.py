"""Compare students with teachers: distillation losses on plain tensors."""

from .dense_kl_loss import DenseKLLoss
from .fgd_loss import FGDLoss
from .levelwise_loss import LevelwiseLoss
from .mimic_loss import MimicLoss

__all__ = ['DenseKLLoss', 'FGDLoss', 'LevelwiseLoss', 'MimicLoss']
