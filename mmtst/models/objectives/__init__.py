"""Define what Stage II minimizes, and how task losses are inverted."""

from mmtst.models.objectives.box_losses import invert_box_loss
from mmtst.models.objectives.classification_losses import (
    invert_cross_entropy,
    invert_focal_loss,
)
from mmtst.models.objectives.gap import GapObjective
from mmtst.models.objectives.gap_result import GapResult
from mmtst.models.objectives.image_label_losses import (
    invert_image_cross_entropy,
    invert_image_focal_loss,
    inverted_soft_labels,
)
from mmtst.models.objectives.interception import LossInterceptor
from mmtst.models.objectives.inversion import (
    INVERSIONS,
    InversionOptions,
    InvertedLoss,
    bounded_negative,
    find_inversion,
    refuse_inversion,
    register_inversion,
    resolve_losses,
)
from mmtst.models.objectives.region_losses import invert_region_loss
from mmtst.models.objectives.segmentation_losses import (
    invert_ohem_cross_entropy,
    invert_pixel_cross_entropy,
    invert_pixel_focal_loss,
)
from mmtst.models.objectives.task_losses import task_losses

__all__ = [
    'INVERSIONS',
    'GapObjective',
    'GapResult',
    'InversionOptions',
    'InvertedLoss',
    'LossInterceptor',
    'bounded_negative',
    'find_inversion',
    'invert_box_loss',
    'invert_cross_entropy',
    'invert_focal_loss',
    'invert_image_cross_entropy',
    'invert_image_focal_loss',
    'invert_ohem_cross_entropy',
    'invert_pixel_cross_entropy',
    'invert_pixel_focal_loss',
    'invert_region_loss',
    'inverted_soft_labels',
    'refuse_inversion',
    'register_inversion',
    'resolve_losses',
    'task_losses',
]
