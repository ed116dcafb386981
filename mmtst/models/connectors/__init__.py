"""Translate student features into the teacher's space."""

from .levelwise_connector import LevelwiseConnector
from .pyramid_connector import PyramidConnector

__all__ = ['LevelwiseConnector', 'PyramidConnector']
