"""Compare students with teachers: distillation losses on plain tensors."""

from .attention_transfer_loss import AttentionTransferLoss
from .crd_loss import CRDLoss
from .dense_kl_loss import DenseKLLoss
from .dkd_loss import DKDLoss
from .fgd_loss import FGDLoss
from .levelwise_loss import LevelwiseLoss
from .mimic_loss import MimicLoss
from .reviewkd_loss import ReviewKDLoss
from .warmup_loss import WarmupLoss

__all__ = [
    'AttentionTransferLoss',
    'CRDLoss',
    'DKDLoss',
    'DenseKLLoss',
    'FGDLoss',
    'LevelwiseLoss',
    'MimicLoss',
    'ReviewKDLoss',
    'WarmupLoss',
]
