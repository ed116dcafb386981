"""Compile parts of a model before it is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.hooks import Hook
from torch._dynamo import config as dynamo_config
from torch._functorch import config as functorch_config

from mmtst.engine.run_context import bare_model
from mmtst.registry import HOOKS
from mmtst.utils.arguments import check_keys, options_of
from mmtst.utils.errors import ConfigError

# Modes, sizes and whether gradients are wanted: more than there will be.
_VARIANTS = 32


@HOOKS.register_module()
class CompileHook(Hook):  # type: ignore[misc]
    """Compile parts of student and teacher with ``torch.compile``.

    mmengine compiles a whole training step, which recorders, data samples
    and the drawing of augmentations break into pieces; the networks in it are
    what can be compiled. They are compiled in place: names of parameters,
    checkpoints and hooks stay as they are. A network is compiled anew for
    training, evaluation and the search, each at its first batch, which takes
    up to a minute each time. PyTorch's settings ``donated_buffer`` and
    ``recompile_limit`` are changed for the whole process.

    Small networks on a GPU spend their time launching kernels; there
    ``options=dict(mode='reduce-overhead')`` captures the step in CUDA graphs.

    Args:
        modules: Parts of the model, by name.
        options: Of ``torch.compile``.

    Raises:
        ConfigError: At the start of the training, if the model has no such
            part.
    """

    # Before a search is tried out.
    priority = 'HIGH'

    def __init__(
        self,
        modules: Sequence[str] = ('student.backbone', 'teacher.backbone'),
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.modules = tuple(modules)
        self.options = dict(options or {})
        known = options_of(torch.compile).named
        check_keys(
            'CompileHook.options',
            self.options,
            [name for name in known if name != 'model'],
            'torch.compile',
        )

    def before_train(self, runner: Any) -> None:
        """Compile; nothing is computed before the first batch."""
        for name in self.modules:
            part: Any = bare_model(runner)
            for key in name.split('.'):
                part = getattr(part, key, None)
            if not isinstance(part, torch.nn.Module):
                raise ConfigError(
                    'the model has no such part',
                    where='CompileHook.modules',
                    got=name,
                    allowed='names of modules, such as student.backbone',
                    fix='leave it out or correct it; print the model to see '
                    'its parts',
                )
            part.compile(**self.options)
        # A search takes several gradients of one graph.
        functorch_config.donated_buffer = False
        # Student and teacher of one class count as one function, which is
        # compiled anew for each of them and each mode; beyond the limit it
        # would silently not be compiled any more.
        dynamo_config.recompile_limit = max(
            dynamo_config.recompile_limit, _VARIANTS * len(self.modules)
        )

    def before_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Let CUDA graphs take back the memory of the step before."""
        torch.compiler.cudagraph_mark_step_begin()
