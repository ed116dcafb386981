"""Train a model, or distil a student, from a config."""

from __future__ import annotations

import argparse
from pathlib import Path

from _common import (
    add_config_arguments,
    add_launch_arguments,
    add_trust_argument,
    check_file,
    read_config,
    run,
    teacher_checkpoint,
)
from _config_checks import check_training
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import is_main_process
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from mmtst.datasets import check_annotations, check_data, check_label_maps
from mmtst.engine.resume import TEMPLATES, find_checkpoint
from mmtst.utils.errors import ConfigError


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_config_arguments(parser)
    add_launch_arguments(parser)
    add_trust_argument(parser)
    parser.add_argument(
        '--amp', action='store_true', help='train in mixed precision'
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by the batch size over all processes',
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='go on from this checkpoint; without one, from the latest in '
        'the work dir, if there is any',
    )
    return parser.parse_args(argv)


def prepare(args: argparse.Namespace) -> Config:
    """Return the config to run, checked as far as it can be without running.

    Raises:
        ConfigError: A file is missing, or an option cannot be used.
    """
    cfg = read_config(args)
    check_training(cfg)
    if args.amp:
        _use_amp(cfg)
    if args.auto_scale_lr:
        _use_auto_scale_lr(cfg)
    if args.resume == 'auto':
        _use_newest_checkpoint(cfg)
    elif args.resume is not None:
        check_file(args.resume, '--resume')
        cfg.resume = True
        cfg.load_from = args.resume
    check_file(cfg.get('load_from'), 'load_from')
    check_file(*teacher_checkpoint(cfg))
    check_data(cfg, ('train', 'val'))
    check_annotations(cfg, ('train', 'val'))
    check_label_maps(cfg, ('train', 'val'))
    return cfg


def _use_newest_checkpoint(cfg: Config) -> None:
    """Resume from the newest whole checkpoint, and say which it is.

    Raises:
        ConfigError: There are checkpoints, but none that can be read.
    """
    hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    folder = Path(cfg.work_dir)
    if hook.get('out_dir'):
        # As mmengine puts them there.
        folder = Path(hook['out_dir'], folder.name)
    template = hook.get('filename_tmpl')
    found = find_checkpoint(folder, (template,) if template else TEMPLATES)
    say = print if is_main_process() else (lambda text: None)
    for path, reason in found.skipped:
        say(f'--resume: left out {path}: {reason}')
    if found.path is not None:
        cfg.resume = True
        cfg.load_from = str(found.path)
        say(f'--resume: goes on from {found.path}')
        return
    if found.skipped:
        raise ConfigError(
            'there are checkpoints to resume from, but none can be read: '
            + '; '.join(f'{p}: {reason}' for p, reason in found.skipped),
            where='--resume',
            got=str(folder),
            fix='mend them, or move them away to start anew: without '
            '--resume the training would overwrite them',
        )
    cfg.resume = False
    start = cfg.get('load_from')
    say(
        f'--resume: {folder} has no checkpoint to go on from; the training '
        'starts at its beginning'
        + (f', with the weights of {start}' if start else '')
    )


def _use_amp(cfg: Config) -> None:
    kind = cfg.optim_wrapper.get('type', 'OptimWrapper')
    if kind not in ('OptimWrapper', 'AmpOptimWrapper'):
        raise ConfigError(
            'mixed precision cannot be switched on for this optimizer wrapper',
            where='optim_wrapper.type',
            got=kind,
            allowed='OptimWrapper, AmpOptimWrapper',
            fix='leave out --amp, or set the type in the config',
        )
    device = get_device()
    if device in ('cpu', 'mps'):
        raise ConfigError(
            "mmengine's mixed precision needs an accelerator",
            where='--amp',
            got=device,
            fix='leave out --amp on this machine',
        )
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')


def _use_auto_scale_lr(cfg: Config) -> None:
    scaling = cfg.get('auto_scale_lr') or {}
    if 'base_batch_size' not in scaling:
        raise ConfigError(
            'the config does not say what batch size its learning rate is for',
            where='auto_scale_lr.base_batch_size',
            fix='add auto_scale_lr=dict(enable=False, base_batch_size=16) '
            'with your number, or leave out --auto-scale-lr',
        )
    cfg.auto_scale_lr.enable = True


def main(argv: list[str] | None = None) -> None:
    """Train."""
    cfg = prepare(parse_args(argv))
    if 'runner_type' in cfg:
        runner = RUNNERS.build(cfg)
    else:
        runner = Runner.from_cfg(cfg)
    runner.train()


if __name__ == '__main__':
    run(main)
