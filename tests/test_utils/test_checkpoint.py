"""Check that checkpoints are read safely and must fit exactly."""

import os
from collections import OrderedDict

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub

from mmtst.models.build import build_model, load_model
from mmtst.testing.detection import (
    tiny_cascade_mask_rcnn,
    tiny_fcos,
    tiny_retinanet,
)
from mmtst.utils.checkpoint import (
    load_exactly,
    non_finite_names,
    read_checkpoint,
)
from mmtst.utils.errors import ConfigError


class Hostile:
    """Make a pickle that would create a file when read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_reads_what_mmengine_writes(tmp_path):
    hub = MessageHub('test_checkpoint')
    hub.update_scalar('train/loss', 1.5)
    hub.update_info('value', np.float32(3.0))
    path = tmp_path / 'epoch_1.pth'
    torch.save(
        dict(
            meta=dict(epoch=1),
            message_hub=hub.state_dict(),
            state_dict=dict(weight=torch.ones(2)),
        ),
        path,
    )
    content = read_checkpoint(path, where='here')
    history = content['message_hub']['log_scalars']['train/loss']
    assert history.current() == 1.5
    assert torch.equal(content['state_dict']['weight'], torch.ones(2))


def test_a_bare_state_dict_is_wrapped(tmp_path):
    path = tmp_path / 'weights.pth'
    torch.save(dict(weight=torch.ones(2)), path)
    assert list(read_checkpoint(path, where='here')) == ['state_dict']


def test_what_a_module_adds_to_its_tensors_is_let_through(tmp_path):
    path = tmp_path / 'weights.pth'
    torch.save({'a.weight': torch.ones(2), 'a._extra_state': [1]}, path)
    content = read_checkpoint(path, where='here')
    assert content['state_dict']['a._extra_state'] == [1]
    torch.save({'a.weight': torch.ones(2), 'a.b': np.ones(1)}, path)
    with pytest.raises(ConfigError, match='a.b is a ndarray'):
        read_checkpoint(path, where='here')


def test_what_is_infinite_as_built_may_be_so():
    module = torch.nn.BatchNorm1d(2)
    module.register_buffer('mask', torch.tensor([0.0, float('-inf')]))
    state = {k: v.clone() for k, v in module.state_dict().items()}
    assert non_finite_names(state, module) == []
    state['mask'][0] = float('-inf')
    state['weight'][0] = float('nan')
    state['other'] = torch.tensor(float('inf'))
    found = non_finite_names(state, module)
    assert found == ['weight', 'mask', 'other']


def test_hostile_files_are_not_executed(tmp_path):
    path, proof = tmp_path / 'bad.pth', tmp_path / 'executed'
    torch.save(dict(state_dict={}, extra=Hostile(proof)), path)
    with pytest.raises(ConfigError, match='is not read.*mkdir'):
        read_checkpoint(path, where='here')
    assert not proof.exists()


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(ConfigError, match='does not exist'):
        read_checkpoint(tmp_path / 'none.pth', where='model.teacher_ckpt')
    broken = tmp_path / 'broken.pth'
    broken.write_bytes(b'not a checkpoint')
    with pytest.raises(ConfigError, match='model.teacher_ckpt'):
        read_checkpoint(broken, where='model.teacher_ckpt')
    tensor = tmp_path / 'tensor.pth'
    torch.save(torch.ones(1), tensor)
    with pytest.raises(ConfigError, match='no dictionary'):
        read_checkpoint(tensor, where='here')


def test_loading_is_exact():
    module = torch.nn.Linear(2, 3)
    good = {k: torch.ones_like(v) for k, v in module.state_dict().items()}
    before = module.weight.clone()
    for change, message in (
        (dict(weight=torch.ones(3, 4)), r'weight: \(3, 4\) in the file'),
        (dict(extra=torch.ones(1)), 'unexpected: extra'),
    ):
        with pytest.raises(ConfigError, match=message):
            load_exactly(module, good | change, where='w', source='f.pth')
        assert torch.equal(module.weight, before)
    with pytest.raises(ConfigError, match='missing: bias'):
        load_exactly(
            module, dict(weight=good['weight']), where='w', source='f.pth'
        )
    prefixed = {f'module.{k}': v for k, v in good.items()}
    load_exactly(module, prefixed, where='w', source='f.pth')
    assert torch.equal(module.weight, torch.ones(3, 2))


OLD_FCOS = {
    'bbox_head.conv_cls.': 'bbox_head.fcos_cls.',
    'bbox_head.conv_reg.': 'bbox_head.fcos_reg.',
    'bbox_head.conv_centerness.': 'bbox_head.fcos_centerness.',
}


def random_model(reference, seed):
    torch.manual_seed(seed)
    model = build_model(reference, 'model')
    for value in model.state_dict().values():
        if value.is_floating_point():
            value.normal_()
    return model


def old_file(path, model, names, versions=None, wrapper=''):
    """Save a checkpoint in the manner of mmdet 2.x, under other names."""
    state = OrderedDict()
    for name, value in model.state_dict().items():
        if name.endswith('num_batches_tracked'):
            continue
        for new, old in names.items():
            name = name.replace(new, old)
        state[wrapper + name] = value
    if versions is not None:
        state._metadata = versions
    torch.save(
        dict(meta=dict(mmdet_version='2.0.0', epoch=24), state_dict=state),
        path,
    )
    return str(path)


def assert_same(loaded, saved):
    for name, value in saved.state_dict().items():
        if not name.endswith('num_batches_tracked'):
            assert torch.equal(loaded.state_dict()[name], value), name


@pytest.mark.parametrize('wrapper', ['', 'module.'])
def test_old_names_of_fcos_load_exactly(tmp_path, wrapper):
    # Files of early 2020 have them, such as mmdet's fcos_hrnetv2p_w32_gn-head_
    # mstrain_640-800_4x4_2x_coco_20200314-065d37a6.pth for one.
    saved, loaded = random_model(tiny_fcos(), 0), random_model(tiny_fcos(), 1)
    path = old_file(tmp_path / 'a.pth', saved, OLD_FCOS, wrapper=wrapper)
    load_model(loaded, path, 'model.teacher_ckpt')
    assert_same(loaded, saved)


@pytest.mark.parametrize('wrapper', ['', 'module.'])
def test_a_file_that_tells_its_version_has_that_versions_names(
    tmp_path, wrapper
):
    saved, loaded = random_model(tiny_fcos(), 0), random_model(tiny_fcos(), 1)
    before = {k: v.clone() for k, v in loaded.state_dict().items()}
    versions = saved.state_dict()._metadata
    assert versions['bbox_head']['version'] == 1
    if wrapper:
        versions = OrderedDict(
            {'': {}}
            | {f'module.{k}'.rstrip('.'): v for k, v in versions.items()}
        )
    old = old_file(tmp_path / 'a.pth', saved, OLD_FCOS, versions, wrapper)
    with pytest.raises(ConfigError, match=r'missing: bbox_head\.conv_cls'):
        load_model(loaded, old, 'model.teacher_ckpt')
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, before[name]), name
    new = old_file(tmp_path / 'b.pth', saved, {}, versions, wrapper)
    load_model(loaded, new, 'model.teacher_ckpt')
    assert_same(loaded, saved)


@pytest.mark.parametrize(
    'reference',
    [tiny_retinanet(), tiny_cascade_mask_rcnn(), tiny_fcos()],
    ids=['retinanet', 'cascade-mask-rcnn', 'fcos'],
)
def test_files_without_versions_and_counters_load_exactly(tmp_path, reference):
    saved, loaded = random_model(reference, 0), random_model(reference, 1)
    load_model(loaded, old_file(tmp_path / 'a.pth', saved, {}), 'here')
    assert_same(loaded, saved)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'bbox_head.conv_cls.': 'bbox_head.other_cls.'}, None),
        ({'bbox_head.conv_cls.': 'bbox_head.other.'}, 'missing: bbox_head'),
        ({'neck.': 'fpn.'}, 'unexpected: fpn'),
    ],
)
def test_only_names_that_the_model_knows_are_taken(tmp_path, change, message):
    saved, loaded = random_model(tiny_fcos(), 0), random_model(tiny_fcos(), 1)
    before = {k: v.clone() for k, v in loaded.state_dict().items()}
    path = old_file(tmp_path / 'a.pth', saved, change)
    if message is None:  # mmdet looks at how a name ends
        load_model(loaded, path, 'here')
        assert_same(loaded, saved)
        return
    with pytest.raises(ConfigError, match=message):
        load_model(loaded, path, 'here')
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_old_names_do_not_excuse_another_shape_or_more(tmp_path):
    saved = random_model(tiny_fcos(num_classes=4), 0)
    loaded = random_model(tiny_fcos(), 1)
    path = old_file(tmp_path / 'a.pth', saved, OLD_FCOS)
    before = {k: v.clone() for k, v in loaded.state_dict().items()}
    with pytest.raises(ConfigError, match='does not fit FCOS'):
        load_model(loaded, path, 'here')
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, before[name]), name
    more = random_model(tiny_fcos(), 0)
    more.bbox_head.extra = torch.nn.Linear(1, 1)
    path = old_file(tmp_path / 'b.pth', more, OLD_FCOS)
    with pytest.raises(ConfigError, match='unexpected: .*fcos_cls'):
        load_model(loaded, path, 'here')
