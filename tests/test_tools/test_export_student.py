"""Test that an exported student stands on its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from mmtst.utils.errors import ConfigError

pytestmark = pytest.mark.usefixtures('checkpoints_as_before')

INFER = """
import sys
import numpy as np
from mmdet.apis import inference_detector, init_detector
model = init_detector('student.py', 'student.pth', device='cpu')
result = inference_detector(model, np.zeros((64, 64, 3), np.uint8))
assert 'mmtst' not in sys.modules and 'mmrazor' not in sys.modules
print(model.dataset_meta['classes'], list(result.pred_instances.keys()))
"""


@pytest.fixture(scope='module')
def exported(load_tool, distill_config, distill_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp('exported')
    load_tool('export_student').main(
        [
            str(distill_config),
            str(distill_run / 'epoch_1.pth'),
            str(folder / 'student.pth'),
        ]
    )
    return folder


@pytest.mark.slow
def test_checkpoint_holds_the_student_alone(exported, distill_run):
    content = torch.load(exported / 'student.pth', weights_only=True)
    source = torch.load(distill_run / 'epoch_1.pth', weights_only=False)
    want = {
        name.removeprefix('architecture.'): value
        for name, value in source['state_dict'].items()
        if name.startswith('architecture.')
    }
    assert content['state_dict'].keys() == want.keys()
    for name, value in content['state_dict'].items():
        assert torch.equal(value, want[name])
    classes = content['meta']['dataset_meta']['classes']
    assert tuple(classes) == ('circle', 'square', 'triangle', 'star', 'cross')
    assert sorted(os.listdir(exported)) == ['student.pth', 'student.py']


@pytest.mark.slow
def test_config_is_free_of_the_distillation(exported):
    text = (exported / 'student.py').read_text()
    for word in ('mmtst', 'mmrazor', 'teacher', 'distill', 'augmentation'):
        assert word not in text
    cfg = Config.fromfile(exported / 'student.py')
    assert cfg.model.type == 'RetinaNet'
    assert cfg.model.bbox_head.num_classes == 5
    assert cfg.test_dataloader.dataset.type == 'CocoDataset'


@pytest.mark.slow
def test_inference_without_this_package(exported):
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(
        [sys.executable, '-c', INFER],
        cwd=exported,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "('circle', 'square'" in done.stdout
    assert "'bboxes'" in done.stdout


@pytest.mark.slow
def test_strict_load_into_the_students_own_model(exported):
    from mmengine.registry import MODELS, DefaultScope

    cfg = Config.fromfile(exported / 'student.py')
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
    content = torch.load(exported / 'student.pth', weights_only=True)
    result = model.load_state_dict(content['state_dict'], strict=True)
    assert (result.missing_keys, result.unexpected_keys) == ([], [])


def test_checkpoint_that_does_not_fit_leaves_nothing(
    load_tool, distill_config, teacher_checkpoint, tmp_path
):
    export = load_tool('export_student')
    out = tmp_path / 'out' / 'student.pth'
    with pytest.raises(ConfigError, match='does not fit'):
        export.main([str(distill_config), str(teacher_checkpoint), str(out)])
    assert list(out.parent.iterdir()) == []


@pytest.fixture(scope='module')
def student_state(load_tool, distill_config):
    """Return a state dict that fits the student."""
    export = load_tool('export_student')
    cfg = export.student_config(Config.fromfile(distill_config))
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(cfg.model).state_dict()


@pytest.mark.parametrize('value', ['nan', 'inf', '-inf'])
@pytest.mark.parametrize('kind', ['weight', 'running_var'])
def test_weights_that_are_not_finite_are_refused(
    load_tool, distill_config, student_state, tmp_path, value, kind
):
    state = {name: tensor.clone() for name, tensor in student_state.items()}
    name = next(name for name in state if name.endswith(kind))
    state[name].view(-1)[-1] = float(value)
    path, out = tmp_path / 'x.pth', tmp_path / 'out' / 'student.pth'
    torch.save(
        dict(state_dict={f'architecture.{k}': v for k, v in state.items()}),
        path,
    )
    with pytest.raises(ConfigError, match='not finite') as caught:
        load_tool('export_student').main(
            [str(distill_config), str(path), str(out)]
        )
    assert name in str(caught.value) and 'x.pth' in str(caught.value)
    assert list(out.parent.iterdir()) == []


LOOP: list = []
LOOP.append(LOOP)
WIDE = ['x']
for _ in range(60):
    WIDE = [WIDE, WIDE]


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (dict(state_dict=None), 'no state dict: it is a NoneType'),
        (dict(state_dict=[1]), 'no state dict: it is a list'),
        (dict(state_dict={1: torch.ones(1)}), 'name 1 is no text'),
        (dict(state_dict={'a': {'b': torch.ones(1)}}), 'a is a dict'),
        (dict(model={'a': torch.ones(1)}, epoch=1), 'model is a dict'),
        (dict(state_dict={}, meta=LOOP), 'contains itself'),
        (dict(state_dict=LOOP), 'contains itself'),
        (dict(state_dict={}, meta=dict(dataset_meta=WIDE)), 'over and over'),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)
def test_what_is_no_state_dict_is_refused_by_name(
    load_tool, distill_config, tmp_path, content, message
):
    path = tmp_path / 'x.pth'
    torch.save(content, path)
    with pytest.raises(ConfigError, match=message) as caught:
        load_tool('export_student').main(
            [str(distill_config), str(path), str(tmp_path / 'o' / 'x.pth')]
        )
    assert 'where:   checkpoint' in str(caught.value)


@pytest.mark.parametrize('data', [LOOP, WIDE], ids=['loop', 'wide'])
def test_meta_that_does_not_end_is_refused_where_files_are_trusted(
    load_tool, distill_config, student_state, tmp_path, data
):
    path = tmp_path / 'x.pth'
    meta = dict(dataset_meta=dict(classes=data))
    torch.save(dict(state_dict=student_state, meta=meta), path)
    with pytest.raises(ConfigError, match='cannot be exported'):
        load_tool('export_student').main(
            [
                str(distill_config),
                str(path),
                str(tmp_path / 'out' / 'x.pth'),
                '--trust-checkpoint',
            ]
        )


def test_meta_is_reduced_to_plain_values(
    load_tool, distill_config, student_state, tmp_path
):
    path, out = tmp_path / 'x.pth', tmp_path / 'out.pth'
    for meta, wanted in (
        (None, {}),
        ('text', {}),
        ([1], {}),
        (
            dict(
                epoch=np.int64(3),
                iter=[1],
                seed=None,
                dataset_meta=dict(
                    classes=('a', np.str_('b')),
                    palette=np.ones((1, 3)),
                    kind={torch.float32},
                ),
            ),
            dict(
                epoch=3,
                dataset_meta=dict(
                    classes=('a', 'b'),
                    palette=[[1, 1, 1]],
                    kind=['torch.float32'],
                ),
            ),
        ),
    ):
        torch.save(dict(state_dict=student_state, meta=meta), path)
        load_tool('export_student').main(
            [str(distill_config), str(path), str(out)]
        )
        got = torch.load(out, weights_only=True)['meta']
        assert got.pop('mmtst_version')
        assert got == wanted


def test_out_must_be_a_checkpoint_name(
    load_tool, distill_config, teacher_checkpoint, tmp_path
):
    with pytest.raises(ConfigError, match='student.pth'):
        load_tool('export_student').main(
            [
                str(distill_config),
                str(teacher_checkpoint),
                str(tmp_path / 'student'),
            ]
        )


def test_other_imports_and_hooks_stay(load_tool, distill_config):
    cfg = Config.fromfile(distill_config)
    cfg.custom_imports.imports = ['mmtst', 'my_project']
    cfg.custom_hooks.append(dict(type='EMAHook'))
    cfg.default_hooks.checkpoint = dict(type='mmtst.SafeCheckpointHook')
    plain = load_tool('export_student').student_config(cfg)
    assert plain.custom_imports.imports == ['my_project']
    assert [hook.type for hook in plain.custom_hooks] == ['EMAHook']
    assert 'checkpoint' not in plain.default_hooks
    assert 'logger' in plain.default_hooks
    assert len(cfg.custom_hooks) == 2
    # Something of this package is still named: the import has to stay.
    cfg.train_dataloader.dataset.type = 'mmtst.SomeDataset'
    plain = load_tool('export_student').student_config(cfg)
    assert 'mmtst' in plain.custom_imports.imports


def test_preprocessor_of_the_algorithm_is_the_one_kept(
    load_tool, distill_config
):
    cfg = Config.fromfile(distill_config)
    cfg.model.data_preprocessor = dict(
        type='mmdet.DetDataPreprocessor', mean=[1.0, 2.0, 3.0]
    )
    plain = load_tool('export_student').student_config(cfg)
    assert plain.model.data_preprocessor.mean == [1.0, 2.0, 3.0]


SEGMENTOR = Path(__file__).parents[2] / 'configs' / 'demo' / 'seg' / 'tst.py'
INFER_MAP = """
import sys
import numpy as np
import torch
from mmseg.apis import inference_model, init_model
model = init_model('student.py', 'student.pth', device='cpu')
images = torch.load('images.pth')
with torch.no_grad():
    torch.save(model(images, mode='tensor'), 'logits.pth')
result = inference_model(model, np.zeros((40, 64, 3), np.uint8))
assert tuple(result.pred_sem_seg.shape) == (40, 64)
assert 'mmtst' not in sys.modules and 'mmrazor' not in sys.modules
print(model.dataset_meta['classes'])
"""


def test_an_exported_segmentor_gives_the_same_logits(
    load_tool, tmp_path, shapes_of_cities
):
    from mmengine.registry import MODELS, init_default_scope

    cfg = Config.fromfile(SEGMENTOR)
    cfg.model.update(teacher_ckpt=None, untrained_teacher=True)
    init_default_scope('mmseg')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).eval()
    images = torch.randn(2, 3, 64, 96)
    # Statistics of their own, so that they count too.
    model.student.train()
    with torch.no_grad():
        model.student.extract_feat(images)
    model.eval()
    classes = cfg.train_dataloader.dataset.metainfo.classes
    meta = dict(iter=7, dataset_meta=dict(classes=classes))
    torch.save(
        dict(state_dict=model.state_dict(), meta=meta), tmp_path / 'run.pth'
    )
    torch.save(images, tmp_path / 'images.pth')
    out = tmp_path / 'student.pth'
    load_tool('export_student').main(
        [
            str(SEGMENTOR),
            str(tmp_path / 'run.pth'),
            str(out),
            '--data-root',
            str(shapes_of_cities),
        ]
    )
    text = out.with_suffix('.py').read_text()
    for word in ('mmtst', 'mmrazor', 'teacher', 'distill', 'augmentation'):
        assert word not in text
    exported = Config.fromfile(out.with_suffix('.py'))
    assert exported.test_dataloader.dataset.data_root == str(shapes_of_cities)
    done = subprocess.run(
        [sys.executable, '-c', INFER_MAP],
        cwd=tmp_path,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "'background', 'circle'" in done.stdout
    logits = torch.load(tmp_path / 'logits.pth')
    with torch.no_grad():
        expected = model.student(images, mode='tensor')
    assert logits.shape[1] == 6
    assert torch.equal(logits, expected)


def test_preprocessor_at_the_top_is_what_the_student_was_trained_with(
    load_tool, distill_config
):
    cfg = Config.fromfile(distill_config)
    own = dict(cfg.model.architecture).get('data_preprocessor')
    assert cfg.model.get('data_preprocessor') is None
    cfg.data_preprocessor = dict(
        type='DetDataPreprocessor', mean=[1.0] * 3, std=[2.0] * 3
    )
    plain = load_tool('export_student').student_config(cfg)
    assert plain.model.data_preprocessor == cfg.data_preprocessor
    assert plain.model.data_preprocessor != own
