"""Declare the registries of mmtst.

Every registry is a child of mmengine's root registry with scope ``mmtst`` (a
child of mmrazor's could not be found from mmdet's or mmengine's scope), and
imports its modules by itself on first look-up.
"""

from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import FUNCTIONS as MMENGINE_FUNCTIONS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import Registry

MODELS = Registry(
    'model',
    parent=MMENGINE_MODELS,
    scope='mmtst',
    locations=['mmtst.augmentation', 'mmtst.models'],
)
HOOKS = Registry(
    'hook',
    parent=MMENGINE_HOOKS,
    scope='mmtst',
    locations=['mmtst.engine.hooks'],
)
DATASETS = Registry(
    'dataset',
    parent=MMENGINE_DATASETS,
    scope='mmtst',
    locations=['mmtst.datasets'],
)
# Collations, as loaders look them up.
FUNCTIONS = Registry(
    'function',
    parent=MMENGINE_FUNCTIONS,
    scope='mmtst',
    locations=['mmtst.datasets'],
)
