"""A tiny study of searches: all rows are there, and the table says them."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmtst.models.build import build_model
from mmtst.testing.cifar import write_cifar100

ROOT = Path(__file__).parents[2]
CONFIG = (
    ROOT / 'configs/tst/mmpretrain/'
    'tst_logits_resnet56_resnet20_1xb128-240e_cifar100.py'
)


@pytest.fixture(scope='module')
def quality():
    spec = importlib.util.spec_from_file_location(
        'search_quality', ROOT / 'benchmarks' / 'search_quality.py'
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_study_from_its_command_line(quality, tmp_path, monkeypatch, capsys):
    data = write_cifar100(tmp_path / 'data', num_classes=4, per_class=4)
    cfg = Config.fromfile(CONFIG)
    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)
    files = {}
    for role in ('teacher', 'architecture'):
        cfg.model[role].head.num_classes = 4
        model = build_model(cfg.model[role], role)
        files[role] = tmp_path / f'{role}.pth'
        torch.save(dict(state_dict=model.state_dict()), files[role])
    loaders = [f'{name}_dataloader' for name in ('train', 'val')]
    monkeypatch.setattr(quality, 'RESULTS', tmp_path / 'results')
    monkeypatch.setattr(
        'sys.argv',
        ['search_quality', str(CONFIG), '--student']
        + [str(files['architecture']), '--out', 'tiny', '--seeds', '2']
        + ['--steps', '2', '--lr', '1', '--batches', '2']
        + ['--permutations', '2', '--cfg-options']
        + [f'model.teacher_ckpt={files["teacher"]}']
        + ['model.teacher.head.num_classes=4']
        + ['model.architecture.head.num_classes=4']
        + ['train_dataloader.batch_size=8']
        + [f'{loader}.dataset.data_root={data}' for loader in loaders],
    )
    quality.main()
    result = json.loads((tmp_path / 'results' / 'tiny.json').read_text())
    runs = result['runs']
    assert [(r['budget'], r['seed']) for r in runs] == [
        (budget, seed) for budget in ('free', 'held') for seed in (0, 1)
    ]
    for run in runs:
        rows = run['rows']
        assert list(rows) == list(quality.ROWS)
        assert rows['originals']['operators'] == 0
        # The start, of all rates 1/2, does not hang on the search.
        assert rows['start'] == runs[0]['rows']['start']
        assert rows['start']['operators'] == pytest.approx(2)
        same = [rows[n]['operators'] for n in ('permuted', 'same mean')]
        assert same == pytest.approx([rows['searched']['operators']] * 2)
        if run['budget'] == 'held':
            assert rows['searched']['operators'] == pytest.approx(2, abs=1e-3)
    found = [run['policy'] for run in runs]
    assert all(a != b for a, b in zip(found, found[1:], strict=False))
    lines = capsys.readouterr().out.splitlines()
    table = [line for line in lines if line.startswith('|')]
    assert len(table) == 2 + 2 * len(quality.ROWS)
