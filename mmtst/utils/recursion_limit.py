"""Keep Python's recursion limit where mmrazor would raise it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

_RAISERS = (
    'mmrazor.models.task_modules.tracer.fx_tracer',
    'mmrazor.structures.graph.channel_flow',
)


def keep_recursion_limit() -> None:
    """Undo what two modules of mmrazor do to the process as they are imported.

    For: mmrazor up to 1.0.0, of which two modules set the limit to 2**20 for
    the graphs that it prunes. Up to Python 3.11 the limit is all that holds
    functions in C: with it gone, JSON that is nested without end, or showing
    a deep list in a message, is no ``RecursionError`` but the end of the
    process. Whoever prunes with mmrazor in the same process sets it again.
    Can go when mmrazor leaves the limit alone.

    Calling it again changes nothing. What was imported before keeps what it
    has set.
    """
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Find the modules as usual, and let them set no limit."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Find one of the modules."""
        if fullname not in _RAISERS:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                limit = sys.getrecursionlimit()
                try:
                    execute(module)
                finally:
                    sys.setrecursionlimit(limit)

            # Of this instance; it loads this one module.
            vars(spec.loader)['exec_module'] = exec_module
        return spec
