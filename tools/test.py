"""Evaluate a trained model: a student, or its teacher."""

from __future__ import annotations

import argparse
import copy
from contextlib import nullcontext
from typing import Any, cast

from _arguments import check_inputs_stay, number, output_file, output_folder
from _common import (
    add_config_arguments,
    add_launch_arguments,
    add_trust_argument,
    check_file,
    read_config,
    read_weights,
    run,
    student_model_cfg,
    teacher_checkpoint,
    teacher_model_cfg,
    without_distillation,
)
from _config_checks import check_parts
from mmengine.config import Config, ConfigDict
from mmengine.evaluator import DumpResults
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from torch import nn

from mmtst.datasets import check_data
from mmtst.utils.checkpoint import check_finite, load_exactly
from mmtst.utils.errors import ConfigError
from mmtst.utils.writing import writing

# What each package's flipped test needs, where a config does not say.
_DEFAULT_TTA = {
    'mmdet': {
        'type': 'DetTTAModel',
        'tta_cfg': {
            'nms': {'type': 'nms', 'iou_threshold': 0.5},
            'max_per_img': 100,
        },
    },
    'mmseg': {'type': 'SegTTAModel'},
    'mmpretrain': {'type': 'AverageClsScoreTTA'},
}
# Flipped boxes have to be flipped back.
_FLIP_KEYS = ('flip', 'flip_direction')
_DET_META_KEYS = (
    'img_id',
    'img_path',
    'ori_shape',
    'img_shape',
    'scale_factor',
)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_config_arguments(parser)
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help='checkpoint file of a distillation or of the plain model; may '
        'be left out with --teacher',
    )
    add_launch_arguments(parser)
    add_trust_argument(parser)
    parser.add_argument(
        '--teacher',
        action='store_true',
        help="evaluate the teacher, by default from the config's teacher_ckpt",
    )
    parser.add_argument(
        '--out', type=output_file(), help='.pkl file for the predictions'
    )
    parser.add_argument(
        '--show', action='store_true', help='show the predictions'
    )
    parser.add_argument(
        '--show-dir',
        type=output_folder,
        help='folder for images with the predictions drawn',
    )
    parser.add_argument(
        '--wait-time',
        type=number(),
        default=2,
        help='seconds that --show shows each image',
    )
    parser.add_argument(
        '--tta', action='store_true', help='test-time augmentation'
    )
    return parser.parse_intermixed_args(argv)


def prepare(args: argparse.Namespace) -> tuple[Config, str]:
    """Return the config of the plain model to test, and its checkpoint.

    Raises:
        ConfigError: A file is missing, or an option cannot be used.
    """
    cfg = read_config(args)
    check_parts(cfg, ('test_dataloader', 'test_cfg'))
    if args.teacher:
        model = teacher_model_cfg(cfg)
        checkpoint = args.checkpoint or teacher_checkpoint(cfg)[0]
    else:
        model = student_model_cfg(cfg)
        checkpoint = args.checkpoint
    if checkpoint is None:
        raise ConfigError(
            'no checkpoint to test',
            where='checkpoint',
            fix='give its path after the config'
            + (', or set model.teacher_ckpt' if args.teacher else ''),
        )
    check_file(checkpoint, 'checkpoint')
    if args.out is not None and not args.out.endswith(('.pkl', '.pickle')):
        raise ConfigError(
            'the predictions are written as a pickle file',
            where='--out',
            got=args.out,
            allowed='a name that ends with .pkl or .pickle',
        )
    if args.out is not None:
        check_inputs_stay([args.out], [args.config, checkpoint])
    check_data(cfg, ('test',))
    cfg = without_distillation(cfg, model)
    # The weights are loaded key by key, not by the runner.
    cfg.load_from = None
    cfg.resume = False
    if args.show or args.show_dir:
        _use_visualization(cfg, args)
    if args.tta:
        use_tta(cfg)
    return cfg, checkpoint


def use_tta(cfg: Config) -> None:
    """Put test-time augmentation into a config, flips where it has none.

    Raises:
        ConfigError: The config has no ``tta_model`` and its task no default.
    """
    scope = cfg.get('default_scope')
    if 'tta_model' not in cfg:
        if scope not in _DEFAULT_TTA:
            raise ConfigError(
                'no test-time augmentation is known for this task',
                where='tta_model',
                got=scope,
                allowed=', '.join(_DEFAULT_TTA),
                fix='set tta_model and tta_pipeline in the config',
            )
        cfg.tta_model = ConfigDict(_DEFAULT_TTA[scope])
    dataset = cfg.test_dataloader.dataset
    while 'dataset' in dataset:
        dataset = dataset.dataset
    if 'tta_pipeline' not in cfg:
        pipeline = copy.deepcopy(dataset.pipeline)
        pack = pipeline[-1]
        if scope == 'mmdet':
            keys = pack.get('meta_keys', _DET_META_KEYS)
            pack.meta_keys = tuple(dict.fromkeys((*keys, *_FLIP_KEYS)))
        flips = [{'type': 'RandomFlip', 'prob': prob} for prob in (1.0, 0.0)]
        pipeline[-1] = ConfigDict(
            type='TestTimeAug', transforms=[flips, [pack]]
        )
        cfg.tta_pipeline = pipeline
    dataset.pipeline = cfg.tta_pipeline
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)


def _use_visualization(cfg: Config, args: argparse.Namespace) -> None:
    hook = (cfg.get('default_hooks') or {}).get('visualization')
    if hook is None:
        raise ConfigError(
            'the config has no hook that draws predictions',
            where='default_hooks.visualization',
            fix="add the task's own, for detection "
            "visualization=dict(type='DetVisualizationHook')",
        )
    scope = cfg.get('default_scope')
    hook['enable' if scope == 'mmpretrain' else 'draw'] = True
    if args.show:
        hook.show = True
        hook.wait_time = args.wait_time
    if args.show_dir is None:
        return
    if scope == 'mmseg':
        cfg.visualizer.save_dir = args.show_dir
    else:
        key = 'out_dir' if scope == 'mmpretrain' else 'test_out_dir'
        hook[key] = args.show_dir


def _dump(scope: str | None, path: str) -> Any:
    if scope == 'mmdet':
        from mmdet.evaluation import DumpDetResults

        return DumpDetResults(out_file_path=path)
    return DumpResults(out_file_path=path)


def _plain_model(model: nn.Module) -> nn.Module:
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = cast(nn.Module, model.module)
    return model


def main(argv: list[str] | None = None) -> dict[str, float]:
    """Evaluate, print the metrics and return them."""
    args = parse_args(argv)
    cfg, checkpoint = prepare(args)
    weights, _ = read_weights(checkpoint, 'checkpoint')
    if 'runner_type' in cfg:
        runner = RUNNERS.build(cfg)
    else:
        runner = Runner.from_cfg(cfg)
    check_finite(
        weights,
        _plain_model(runner.model),
        where='checkpoint',
        source=checkpoint,
    )
    load_exactly(
        _plain_model(runner.model),
        weights,
        where='checkpoint',
        source=checkpoint,
    )
    if args.out is not None:
        dump = _dump(cfg.get('default_scope'), args.out)
        runner.test_evaluator.metrics.append(dump)
    with writing(args.out) if args.out is not None else nullcontext():
        metrics: dict[str, float] = runner.test()
    return metrics


if __name__ == '__main__':
    run(main)
