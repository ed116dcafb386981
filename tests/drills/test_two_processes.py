"""Test searches and trainings in two processes that talk over gloo."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import two_processes
from trainings import ROOT, Variant, differences

from mmtst.datasets import ShapesSettings, write_shapes


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return str(probe.getsockname()[1])


def run(command: list[str], folder: Path) -> None:
    drills = Path(__file__).parent
    done = subprocess.run(
        command,
        cwd=folder,
        env={
            **os.environ,
            'PORT': free_port(),
            'OMP_NUM_THREADS': '1',
            'PYTHONPATH': f'{ROOT}:{drills}',
            'PYTHONWARNINGS': 'ignore',
            'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}',
        },
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


def loaded(folder: Path) -> list[dict[str, Any]]:
    return [
        torch.load(folder / f'rank_{rank}.pth', weights_only=True)
        for rank in (0, 1)
    ]


@pytest.fixture(scope='module')
def searched(tmp_path_factory) -> list[dict[str, Any]]:
    out = tmp_path_factory.mktemp('searched')
    launcher = [sys.executable, '-m', 'torch.distributed.run']
    launcher += ['--nproc_per_node=2', f'--master_port={free_port()}']
    run([*launcher, two_processes.__file__, str(out)], out)
    return loaded(out)


@pytest.mark.slow
def test_the_gradient_is_the_mean_of_both_batches(searched) -> None:
    search = two_processes.build_search()
    alone = [two_processes.gradient_of(search, rank) for rank in (0, 1)]
    expected = sum(alone) / 2
    assert not torch.allclose(alone[0], alone[1])
    assert expected.abs().max() > 1e-4
    for found in searched:
        torch.testing.assert_close(
            found['gradient'], expected, rtol=0, atol=1e-6
        )
    assert torch.equal(searched[0]['gradient'], searched[1]['gradient'])


@pytest.mark.slow
def test_one_ranks_nan_skips_the_step_on_all(searched) -> None:
    for found in searched:
        assert found['nonfinite'] == 1
        assert not found['broken moved']
        assert found['after moved']
    assert differences(searched[0], searched[1]) == []


@pytest.mark.slow
def test_all_ranks_hold_the_same_after_a_training(tmp_path: Path) -> None:
    """Two epochs and a search between, by the launcher's own script."""
    data = tmp_path / 'shapes'
    write_shapes(data, ShapesSettings(24, 6, 64, seed=5))
    config = tmp_path / 'config.py'
    config.write_text(
        Variant(by_epoch=True).config().replace('max_epochs=4', 'max_epochs=2')
        + "custom_imports = dict(imports=['mmtst', 'rank_states'])\n"
        "custom_hooks += [dict(type='RankStatesHook')]\n"
    )
    work = tmp_path / 'work'
    script = ROOT / 'tools' / 'dist_train.sh'
    options = ['--data-root', str(data), '--work-dir', str(work)]
    options += ['--cfg-options', 'custom_hooks.0.at=[1]']
    # Three steps to the epoch.
    options += ['optim_wrapper.accumulative_counts=1']
    run([str(script), str(config), '2', *options], tmp_path)
    first, second = loaded(work)
    # Running statistics too: they are averaged where a checkpoint is due.
    assert differences(first, second) == []
    assert any(name.startswith('architecture.') for name in first)
    assert first['augmentation.th_p'].abs().max() > 0.05
    saved = torch.load(work / 'epoch_2.pth', weights_only=False)
    # EMAHook saves the averages, and the weights themselves beside them.
    weights = {
        name.removeprefix('module.'): value
        for name, value in saved['ema_state_dict'].items()
        if name.startswith('module.')
    }
    assert differences(weights, dict(first)) == []
    policy = saved['state_dict']['augmentation.th_p']
    assert torch.equal(policy, first['augmentation.th_p'])
    # Resumed before the search, both processes find the same again.
    again = tmp_path / 'again'
    again.mkdir()
    shutil.copy(work / 'epoch_1.pth', again)
    options[3] = str(again)
    run([str(script), str(config), '2', *options, '--resume'], tmp_path)
    assert differences(loaded(again), [first, second]) == []
    script = script.with_name('dist_test.sh')
    checkpoint = str(work / 'epoch_2.pth')
    options = ['--data-root', str(data), '--work-dir', str(work / 'test')]
    run([str(script), str(config), checkpoint, '2', *options], tmp_path)
    assert list((work / 'test').glob('*/*.json'))
