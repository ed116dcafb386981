"""Define what is trained: networks, algorithms, distillers, losses."""

from mmtst.models.algorithms import TeacherStudentDistill, TSTDistill
from mmtst.models.backbones import (
    CIFARVGG,
    CIFARMobileNetV2,
    CIFARResNet,
    CIFARShuffleNetV1,
    CIFARShuffleNetV2,
    CIFARWideResNet,
    MobileNetV1,
)
from mmtst.models.build import build_model, model_from_config
from mmtst.models.connectors import (
    HintConnector,
    LevelwiseConnector,
    PyramidConnector,
    ReviewKDConnector,
)
from mmtst.models.distillers import DataAugmentationDistiller
from mmtst.models.losses import (
    AttentionTransferLoss,
    CRDLoss,
    DenseKLLoss,
    DKDLoss,
    FGDLoss,
    LevelwiseLoss,
    MimicLoss,
    ReviewKDLoss,
    WarmupLoss,
)
from mmtst.models.objectives import (
    GapObjective,
    GapResult,
    register_inversion,
    resolve_losses,
)
from mmtst.models.utils import frozen_parameters, frozen_statistics

__all__ = [
    'AttentionTransferLoss',
    'CRDLoss',
    'CIFARMobileNetV2',
    'CIFARResNet',
    'CIFARShuffleNetV1',
    'CIFARShuffleNetV2',
    'CIFARVGG',
    'CIFARWideResNet',
    'DataAugmentationDistiller',
    'DKDLoss',
    'DenseKLLoss',
    'FGDLoss',
    'GapObjective',
    'GapResult',
    'HintConnector',
    'LevelwiseConnector',
    'LevelwiseLoss',
    'MimicLoss',
    'MobileNetV1',
    'PyramidConnector',
    'ReviewKDConnector',
    'ReviewKDLoss',
    'TSTDistill',
    'TeacherStudentDistill',
    'WarmupLoss',
    'build_model',
    'frozen_parameters',
    'frozen_statistics',
    'model_from_config',
    'register_inversion',
    'resolve_losses',
]
