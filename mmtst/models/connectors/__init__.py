"""Translate student features into the teacher's space."""

from .hint_connector import HintConnector
from .levelwise_connector import LevelwiseConnector
from .pyramid_connector import PyramidConnector
from .reviewkd_connector import ReviewKDConnector

__all__ = [
    'HintConnector',
    'LevelwiseConnector',
    'PyramidConnector',
    'ReviewKDConnector',
]
