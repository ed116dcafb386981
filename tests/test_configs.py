"""Check that every config loads, builds and carries the paper's numbers."""

from pathlib import Path

import pytest
import yaml
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmtst.registry import HOOKS, MODELS

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(
    path.relative_to(ROOT)
    for path in (ROOT / 'configs').rglob('*.py')
    if '_base_' not in path.parts
)
NAMES = [str(path) for path in CONFIGS]
COCO = [path for path in CONFIGS if path.stem.endswith('_coco')]


def load(path):
    cfg = Config.fromfile(ROOT / path)
    init_default_scope(cfg.default_scope)
    return cfg


def test_there_are_configs():
    assert len(CONFIGS) >= 10


@pytest.mark.parametrize('path', CONFIGS, ids=NAMES)
def test_loads_and_builds(path):
    cfg = load(path)
    assert cfg.custom_imports.imports == ['mmtst']
    model = cfg.model
    if model.type == 'mmtst.TSTDistill':
        # The checkpoint comes from a training, or from the model zoo.
        assert model.pop('teacher_ckpt')
        model.untrained_teacher = True
    elif model.type == 'SingleTeacherDistill':
        assert model.teacher.pop('checkpoint')
    assert MODELS.build(model) is not None
    for hook in cfg.get('custom_hooks', []):
        assert HOOKS.build(hook) is not None


@pytest.mark.parametrize(
    'path',
    [p for p in CONFIGS if p.parts[1] in ('tst', 'kd', 'detectors')],
    ids=str,
)
def test_names_have_their_fields(path):
    fields = path.stem.split('_')
    method = path.parts[1]
    assert fields[0] == ('retinanet' if method == 'detectors' else method)
    gpus, batch = fields[-2].split('-')[0].split('xb')
    cfg = load(path)
    assert int(gpus) >= 1
    assert cfg.train_dataloader.batch_size == int(batch)
    assert fields[-1] in str(cfg.train_dataloader.dataset.data_root)


@pytest.mark.parametrize('path', COCO, ids=str)
def test_the_papers_numbers_for_coco(path):
    cfg = load(path)
    assert cfg.train_cfg.max_epochs == 24
    assert cfg.optim_wrapper.optimizer.to_dict() == dict(
        type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0001
    )
    warm_up, steps = cfg.param_scheduler
    assert (warm_up.type, warm_up.end) == ('LinearLR', 500)
    assert steps.milestones == [16, 22] and steps.gamma == 0.1
    assert cfg.auto_scale_lr.base_batch_size == 16
    (search,) = cfg.custom_hooks
    assert search['at'] == [6, 12] and search.epochs == 1
    assert (search.lr, search.momentum, search.clip_grad) == (0.01, 0.9, 20.0)
    model = cfg.model
    assert model.augmentation.num_operators == 4
    assert (model.objective.alpha, model.objective.beta) == (1.0, 1.0)
    losses = model.distiller.distill_losses
    assert (losses.loss_kl.tau, losses.loss_kl.loss_weight) == (1.0, 1.0)
    assert ('loss_mimic' in losses) == ('cls-fpn' in path.stem)
    assert 'x101-64x4d' in model.teacher.cfg_path
    assert 'retinanet_r50' in model.architecture.cfg_path


def test_metafiles_name_what_there_is():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    named = []
    for file in index['Import']:
        meta = yaml.safe_load((ROOT / file).read_text())
        collections = {c['Name'] for c in meta['Collections']}
        for collection in meta['Collections']:
            assert (ROOT / collection['README']).is_file()
        for model in meta['Models']:
            assert model['In Collection'] in collections
            assert (ROOT / model['Config']).is_file()
            assert Path(model['Config']).stem == model['Name']
            named.append(model['Config'])
    methods = [n for n in NAMES if n.startswith('configs/tst/')]
    assert sorted(named) == sorted(methods)
