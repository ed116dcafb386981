"""Plug the methods into mmrazor as algorithms."""

from .tst import TSTDistill

__all__ = ['TSTDistill']
