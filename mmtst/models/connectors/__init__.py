"""Translate student features into the teacher's space."""

from .pyramid_connector import PyramidConnector

__all__ = ['PyramidConnector']
