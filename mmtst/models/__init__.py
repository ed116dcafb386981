"""Define what is trained: algorithms, distillers, objectives, losses."""

from mmtst.models.objectives import (
    GapObjective,
    GapResult,
    register_inversion,
    resolve_losses,
)
from mmtst.models.utils import frozen_parameters, frozen_statistics

__all__ = [
    'GapObjective',
    'GapResult',
    'frozen_parameters',
    'frozen_statistics',
    'register_inversion',
    'resolve_losses',
]
