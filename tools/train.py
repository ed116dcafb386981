"""Train a model, or distil a student, from a config."""

from __future__ import annotations

import argparse

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

from mmtst.datasets import check_data, check_files
from mmtst.engine.resume import (
    TEMPLATES,
    checkpoint_folder,
    find_checkpoint,
    no_whole_checkpoint,
)
from mmtst.engine.run_lock import check_free, lock_early
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
    parser.add_argument(
        '--check-data',
        action='store_true',
        help='look into all images and label maps before the training, not '
        'into a sample',
    )
    return parser.parse_args(argv)


def prepare(
    args: argparse.Namespace, notes: list[str] | None = None
) -> Config:
    """Return the config to run, checked as far as it can be without running.

    Args:
        args: The command line.
        notes: What is to be logged of the data is added here.

    Raises:
        ConfigError: A file is missing, or an option cannot be used.
    """
    cfg = read_config(args)
    check_training(cfg)
    check_free(cfg.work_dir)
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
    found = check_files(cfg, ('train', 'val'), every=args.check_data)
    if notes is not None:
        notes += found
    return cfg


def _use_newest_checkpoint(cfg: Config) -> None:
    """Resume from the newest whole checkpoint, and say which it is.

    Raises:
        ConfigError: There are checkpoints, but none that can be read.
    """
    hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    folder = checkpoint_folder(cfg.work_dir, hook.get('out_dir'))
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
        raise no_whole_checkpoint(found, folder, '--resume')
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
    notes: list[str] = []
    cfg = prepare(parse_args(argv), notes)
    lock_early(cfg.work_dir)
    if 'runner_type' in cfg:
        runner = RUNNERS.build(cfg)
    else:
        runner = Runner.from_cfg(cfg)
    for note in notes:
        runner.logger.warning('Data: %s', note)
    build_training_data(runner)
    runner.train()


def build_training_data(runner: Runner) -> None:
    """Build the training loop with its data set, as the training would.

    Raises:
        ConfigError: The data set cannot be built.
    """
    try:
        runner.train_loop  # noqa: B018 (built where it is first asked for)
    except ConfigError:
        raise
    except Exception as error:
        said = str(error).strip().splitlines() or ['no reason given']
        raise ConfigError(
            'the training data cannot be built: '
            f'{type(error).__name__}: {said[0]}',
            where='train_dataloader',
            got=runner.cfg.train_dataloader.get('dataset', {}).get('type'),
            fix='look at ann_file, data_prefix, metainfo.classes, filter_cfg '
            'and pipeline: a data set from which everything is dropped '
            'cannot be built either; tools/check_data.py CONFIG says more',
        ) from error


if __name__ == '__main__':
    run(main)
