"""Check that models are built from references with overrides."""

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.model import BaseModel

from mmtst.models.build import (
    build_model,
    model_from_config,
    resolve_model_cfg,
)
from mmtst.utils.errors import ConfigError

RETINA = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'
SMALL = dict(backbone=dict(init_cfg=None), bbox_head=dict(num_classes=3))


def test_overrides_are_merged_before_building():
    cfg = resolve_model_cfg(dict(cfg_path=RETINA, cfg_options=SMALL), 'here')
    assert cfg.bbox_head.num_classes == 3
    assert cfg.bbox_head.type == 'RetinaHead'
    assert cfg._scope_ == 'mmdet'
    model = build_model(dict(cfg_path=RETINA, cfg_options=SMALL), 'here')
    assert isinstance(model, BaseModel)
    assert model.bbox_head.num_classes == 3


def test_delete_replaces_a_part():
    options = dict(backbone=dict(_delete_=True, type='Other', a=1))
    cfg = resolve_model_cfg(dict(cfg_path=RETINA, cfg_options=options), 'x')
    assert dict(cfg.backbone) == dict(type='Other', a=1)


def test_a_reference_stands_for_the_same_each_time():
    options = dict(backbone=dict(_delete_=True, type='Other', a=1))
    reference = ConfigDict(cfg_path=RETINA, cfg_options=options)
    first, second = (resolve_model_cfg(reference, 'x') for _ in range(2))
    assert first == second
    assert reference.cfg_options == options
    assert '_delete_' in reference.cfg_options.backbone


def test_local_files_work(tmp_path):
    path = tmp_path / 'model.py'
    path.write_text(
        "default_scope = 'mmdet'\nmodel = dict(type='A', b=dict(c=1))\n"
    )
    cfg = resolve_model_cfg(
        dict(cfg_path=str(path), cfg_options=dict(b=dict(d=2))), 'here'
    )
    assert cfg.to_dict() == dict(type='A', b=dict(c=1, d=2), _scope_='mmdet')


@pytest.mark.parametrize(
    ('top', 'own', 'used'),
    [
        ("dict(type='A')", None, 'A'),
        # As for mmengine's runner.
        ("dict(type='A')", "dict(type='B')", 'B'),
        ('None', "dict(type='B')", 'B'),
    ],
)
def test_preprocessor_is_the_models_own_or_that_at_the_top(
    top, own, used, tmp_path
):
    path = tmp_path / 'model.py'
    path.write_text(
        "default_scope = 'mmpretrain'\n"
        f'data_preprocessor = {top}\n'
        f"model = dict(type='M', data_preprocessor={own})\n"
    )
    cfg = resolve_model_cfg(dict(cfg_path=str(path)), 'here')
    assert cfg.data_preprocessor.type == used


def test_built_models_come_back():
    class Model(BaseModel):
        def forward(self, inputs, data_samples=None, mode='tensor'):
            return inputs

    model = Model()
    assert build_model(model, 'here') is model


@pytest.mark.parametrize(
    ('reference', 'message'),
    [
        (dict(cfg_path='mmdet::none/none.py'), 'cannot be read'),
        (dict(cfg_path='nowhere.py'), 'cannot be read'),
        (dict(cfg_path=RETINA, depth=18), 'unknown keys'),
        (dict(cfg_path=RETINA, pretrained=True), 'download'),
    ],
)
def test_bad_references(reference, message):
    with pytest.raises(ConfigError, match=message) as error:
        resolve_model_cfg(reference, 'model.teacher')
    assert 'model.teacher' in str(error.value)


def test_a_file_without_model(tmp_path):
    path = tmp_path / 'empty.py'
    path.write_text('a = 1\n')
    with pytest.raises(ConfigError, match='has no model'):
        resolve_model_cfg(dict(cfg_path=str(path)), 'here')


@pytest.mark.parametrize(
    'cfg', ['RetinaNet', None, {}, dict(type='RetinaNt'), dict(type='L1Loss')]
)
def test_what_is_no_model_is_refused(cfg):
    with pytest.raises(ConfigError, match='model.teacher'):
        build_model(cfg, 'model.teacher')


def test_model_from_config_loads_exactly(tmp_path):
    source = model_from_config(RETINA, SMALL)
    path = tmp_path / 'teacher.pth'
    torch.save(dict(state_dict=source.state_dict()), path)
    loaded = model_from_config(RETINA, SMALL, checkpoint=str(path))
    for name, value in source.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
    loaded.init_weights()
    assert torch.equal(
        loaded.backbone.conv1.weight, source.backbone.conv1.weight
    )
    other = dict(backbone=dict(init_cfg=None), bbox_head=dict(num_classes=4))
    with pytest.raises(ConfigError, match='other shape: bbox_head.retina_cls'):
        model_from_config(RETINA, other, checkpoint=str(path))
