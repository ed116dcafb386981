"""Distil with images that the teacher gets right and the student wrong."""

from mmtst.utils.compat import apply_import_fixes
from mmtst.version import __version__

apply_import_fixes()

__all__ = ['__version__']
