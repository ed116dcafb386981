"""Serve every other room: errors and compatibility.

Only what imports no other package is re-exported here, since ``import
mmtst`` passes through; ``mmtst.utils.checkpoint`` is imported by its name.
"""

from mmtst.utils.compat import apply_import_fixes, disable_inplace
from mmtst.utils.errors import ConfigError

__all__ = ['ConfigError', 'apply_import_fixes', 'disable_inplace']
