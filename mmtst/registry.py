"""Declare the registries of mmtst.

Every registry is a child of mmengine's root registry with scope ``mmtst`` (a
child of mmrazor's could not be found from mmdet's or mmengine's scope), and
imports its modules by itself on first look-up. What is registered checks the
arguments that configs give it, whichever registry builds it.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import FUNCTIONS as MMENGINE_FUNCTIONS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import Registry

from mmtst.utils.arguments import check_keys, checked, options_of
from mmtst.utils.errors import ConfigError

# Where configs of what a package registers stand; hooks go by their names.
_PLACES = {
    'mmtst.augmentation': 'model.augmentation',
    'mmtst.datasets': 'train_dataloader.dataset',
    'mmtst.models.algorithms': 'model',
    'mmtst.models.backbones': 'model.backbone',
    'mmtst.models.build': 'model_from_config',
    'mmtst.models.connectors': 'connectors.*',
    'mmtst.models.distillers': 'model.distiller',
    'mmtst.models.losses': 'distill_losses.*',
    'mmtst.models.objectives': 'model.objective',
}


def check_config(cfg: Any, where: str, registry: Registry) -> None:
    """Check a config before a registry builds from it.

    Args:
        cfg: What was given.
        where: Its path in the config.
        registry: What is to build it.

    Raises:
        ConfigError: It is no dictionary, names no type that there is, or has
            keys that its type does not take or lacks some that it needs.
    """
    if not isinstance(cfg, dict) or 'type' not in cfg:
        raise ConfigError(
            'this is no config of something to build',
            where=where,
            got=cfg,
            allowed="dict(type='NAME', ...)",
        )
    kind = cfg['type']
    with registry.switch_scope_and_registry(cfg.get('_scope_')) as scoped:
        found = scoped.get(kind) if isinstance(kind, str) and kind else kind
    if not callable(found):
        root = registry.parent or registry
        families = [root, *root.children.values()]
        names = sorted(
            {name for each in families for name in each.module_dict}
        )
        near = get_close_matches(str(kind).split('.')[-1], names, n=3)
        raise ConfigError(
            f'the {registry.name} registry knows no type {kind!r}',
            where=f'{where}.type',
            got=kind,
            fix=f'did you mean {" or ".join(near)}?'
            if near
            else 'correct the name, put PACKAGE. before it, or name its '
            'module in custom_imports',
        )
    options = options_of(found)
    given = set(cfg) - {'type', '_scope_'}
    name = getattr(found, '__name__', str(kind))
    if not options.is_open:
        check_keys(where, sorted(given, key=str), options.named, name)
    for key, option in options.named.items():
        if option.needed and key not in given:
            raise ConfigError(
                f'{name} needs {key}', where=f'{where}.{key}', fix='add it'
            )


class CheckedRegistry(Registry):  # type: ignore[misc]
    """Register classes and functions that check their arguments."""

    def _register_module(
        self,
        module: Callable[..., Any],
        module_name: str | list[str] | None = None,
        force: bool = False,
    ) -> None:
        where = module.__name__
        for package, place in _PLACES.items():
            if f'{module.__module__}.'.startswith(f'{package}.'):
                where = place
        super()._register_module(checked(module, where), module_name, force)

    def build_checked(self, cfg: Any, where: str) -> Any:
        """Build from a part of a config that stands at ``where``.

        Raises:
            ConfigError: See :func:`check_config`.
        """
        check_config(cfg, where, self)
        return self.build(cfg)


MODELS = CheckedRegistry(
    'model',
    parent=MMENGINE_MODELS,
    scope='mmtst',
    locations=['mmtst.augmentation', 'mmtst.models'],
)
HOOKS = CheckedRegistry(
    'hook',
    parent=MMENGINE_HOOKS,
    scope='mmtst',
    locations=['mmtst.engine.hooks'],
)
DATASETS = CheckedRegistry(
    'dataset',
    parent=MMENGINE_DATASETS,
    scope='mmtst',
    locations=['mmtst.datasets'],
)
# Collations, as loaders look them up; they go to processes of their own, for
# which they have to stay what their names stand for.
FUNCTIONS = Registry(
    'function',
    parent=MMENGINE_FUNCTIONS,
    scope='mmtst',
    locations=['mmtst.datasets'],
)
