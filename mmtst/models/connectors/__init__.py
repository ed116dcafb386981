"""Translate student features into the teacher's space."""

from .levelwise_connector import LevelwiseConnector
from .pyramid_connector import PyramidConnector
from .reviewkd_connector import ReviewKDConnector

__all__ = ['LevelwiseConnector', 'PyramidConnector', 'ReviewKDConnector']
