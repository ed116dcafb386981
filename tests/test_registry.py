"""The registries are found from every scope and import their own modules."""

import functools
import subprocess
import sys

import pytest
from mmdet.registry import MODELS as MMDET_MODELS
from mmengine.registry import MODELS, Registry
from mmrazor.registry import MODELS as MMRAZOR_MODELS

from mmtst import registry
from mmtst.utils.errors import ConfigError


@pytest.mark.parametrize('name', ['MODELS', 'HOOKS', 'DATASETS', 'FUNCTIONS'])
def test_is_a_child_of_the_root_registry(name):
    ours = getattr(registry, name)
    assert isinstance(ours, Registry)
    assert ours.scope == 'mmtst'
    assert ours.parent.scope == 'mmengine'
    assert ours.parent.parent is None


@pytest.mark.parametrize('scope', ['mmengine', 'mmrazor'])
def test_first_look_up_imports_the_module(scope):
    """In a process of its own, where nothing is imported yet."""
    code = (
        'import mmtst\n'
        f'from {scope}.registry import MODELS\n'
        "print(MODELS.get('mmtst.TSTDistill').__name__)"
    )
    done = subprocess.run(
        [sys.executable, '-c', code],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout.strip() == 'TSTDistill', done.stderr


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (None, 'no config'),
        (dict(loss_weight=1.0), 'no config'),
        (dict(type='mmtst.MimicLos'), 'did you mean MimicLoss'),
        (dict(type='nowhere.Qqqqq'), 'PACKAGE'),
        (dict(type=1), 'knows no type'),
        (dict(type='mmtst.MimicLoss', weight=1.0), 'no option .weight.'),
        (dict(type='mmrazor.KLDivergence', tua=1.0), 'did you mean tau'),
        (dict(type='mmtst.WarmupLoss'), 'WarmupLoss needs loss'),
    ],
)
def test_parts_of_a_config_are_checked_before_they_are_built(cfg, message):
    with pytest.raises(ConfigError, match=message) as caught:
        registry.MODELS.build_checked(cfg, 'model.part')
    assert 'model.part' in str(caught.value)


@pytest.mark.parametrize(
    'root', [MODELS, MMDET_MODELS, MMRAZOR_MODELS, registry.MODELS]
)
def test_every_registry_builds_what_checks_itself(root):
    with pytest.raises(ConfigError, match='did you mean loss_weight'):
        root.build(dict(type='mmtst.MimicLoss', los_weight=1.0))
    assert root.build(dict(type='mmtst.MimicLoss', loss_weight=2)) is not None


def halved(value, by):
    return value / by


def test_what_has_no_name_of_its_own_is_checked_too():
    """Packages register functions of which some arguments are set."""
    things = Registry('thing', scope='test_partial')
    things.register_module('half', module=functools.partial(halved, by=2))
    registry.check_config(dict(type='half', value=4), 'here', things)
    with pytest.raises(ConfigError, match='here'):
        registry.check_config(dict(type='half', valu=4), 'here', things)
