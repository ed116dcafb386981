"""Write a distilled student as a checkpoint of its own package.

Beside OUT.pth lies OUT.py, the student's whole config: the two are what
``init_detector``, ``init_model`` and their like take, without this package.
"""

from __future__ import annotations

import argparse
import copy
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from _arguments import (
    check_files_to_write,
    check_inputs_stay,
    output_file,
)
from _common import (
    add_config_arguments,
    add_trust_argument,
    read_config,
    read_weights,
    run,
    student_model_cfg,
    without_distillation,
)
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from mmtst.utils.bounded_tree import BoundError, check_tree
from mmtst.utils.checkpoint import load_exactly, non_finite_names
from mmtst.utils.errors import ConfigError
from mmtst.utils.writing import writing
from mmtst.version import __version__

# What a runner or an inference function reads of a config.
_KEYS = (
    'default_scope',
    'custom_imports',
    'model',
    'data_preprocessor',
    'train_dataloader',
    'val_dataloader',
    'test_dataloader',
    'train_cfg',
    'val_cfg',
    'test_cfg',
    'val_evaluator',
    'test_evaluator',
    'tta_model',
    'tta_pipeline',
    'optim_wrapper',
    'param_scheduler',
    'auto_scale_lr',
    'default_hooks',
    'custom_hooks',
    'env_cfg',
    'visualizer',
    'log_processor',
    'log_level',
    'randomness',
)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_config_arguments(parser)
    add_trust_argument(parser)
    parser.add_argument('checkpoint', help='checkpoint of the distillation')
    parser.add_argument(
        'out', type=output_file(), help='checkpoint to write, a .pth file'
    )
    return parser.parse_args(argv)


def student_config(cfg: Config) -> Config:
    """Return the config of the student alone, fit for its own package.

    Data, schedule and evaluation stay; teacher, distiller, policy and their
    hooks go, and so does the import of this package unless something else
    of it is still named.
    """
    plain = without_distillation(cfg, student_model_cfg(cfg))
    kept = {key: plain[key] for key in _KEYS if key in plain}
    imports = kept.pop('custom_imports', None)
    if imports is not None:
        names = list(imports.get('imports') or [])
        if 'mmtst.' not in Config(kept).pretty_text:
            names = [name for name in names if name.split('.')[0] != 'mmtst']
        if names:
            kept['custom_imports'] = {**imports, 'imports': names}
    if kept.get('default_scope') == 'mmseg':
        # mmseg's inference functions look for it at the top.
        dataset = (kept.get('test_dataloader') or {}).get('dataset') or {}
        while 'dataset' in dataset:
            dataset = dataset['dataset']
        if 'pipeline' in dataset:
            kept['test_pipeline'] = copy.deepcopy(dataset['pipeline'])
    return Config(kept)


def export(cfg: Config, checkpoint: str, out: str | Path) -> tuple[Path, Path]:
    """Write the student's checkpoint and config.

    Both are read back from disk and loaded strictly before they get their
    names.

    Args:
        cfg: The config of the distillation.
        checkpoint: One of its checkpoints.
        out: The .pth file to write.

    Returns:
        The paths of checkpoint and config.

    Raises:
        ConfigError: The checkpoint does not fit the student's config, holds
            weights that are not finite, or ``out`` cannot be used.
    """
    out = Path(out)
    if out.suffix != '.pth':
        raise ConfigError(
            'the exported checkpoint is a .pth file',
            where='out',
            got=str(out),
            fix=f'name it {out.with_suffix(".pth")}',
        )
    weights, meta = read_weights(checkpoint, 'checkpoint')
    plain = student_config(cfg)
    out.parent.mkdir(parents=True, exist_ok=True)
    config_path = out.with_suffix('.py')
    # Beside it, so that both get their names at once, and nothing of others'
    # is in the way.
    with TemporaryDirectory(dir=out.parent, prefix='.export-') as folder:
        part, config_part = Path(folder, out.name), Path(folder, 'config.py')
        plain.dump(config_part)
        with writing(part):
            torch.save(
                {'meta': _plain_meta(meta), 'state_dict': weights},
                part,
            )
        _verify(config_part, part, checkpoint)
        os.replace(config_part, config_path)
        os.replace(part, out)
    return out, config_path


def _verify(config: Path, part: Path, source: str) -> None:
    """Build the model that the config names, and load it strictly."""
    cfg = Config.fromfile(config)
    scope = cfg.get('default_scope')
    with DefaultScope.overwrite_default_scope(scope):
        model = MODELS.build(cfg.model)
    content = torch.load(part, map_location='cpu', weights_only=True)
    weights = content['state_dict']
    broken = non_finite_names(weights, model)
    load_exactly(
        model,
        weights,
        where='checkpoint',
        source=f'the student of {source}',
    )
    if broken:
        more = f' and {len(broken) - 4} more' if broken[4:] else ''
        raise ConfigError(
            'the student holds numbers that are not finite: '
            + ', '.join(broken[:4])
            + more,
            where='checkpoint',
            got=source,
            fix='export a checkpoint from before the training diverged',
        )


def _plain_meta(meta: Any) -> dict[str, Any]:
    """Keep what readers need, in types that any loader accepts."""
    kept: dict[str, Any] = {'mmtst_version': __version__}
    if not isinstance(meta, dict):
        return kept
    for key in ('epoch', 'iter', 'seed'):
        value = _plain_value(meta.get(key))
        if type(value) in (int, float):
            kept[key] = value
    if 'dataset_meta' in meta:
        try:
            # Or what follows would not end, in files that are trusted.
            check_tree(meta['dataset_meta'])
            kept['dataset_meta'] = _plain_value(meta['dataset_meta'])
        except BoundError as error:
            raise ConfigError(
                f'the description of the data cannot be exported: {error}',
                where='checkpoint',
                got="meta['dataset_meta']",
            ) from error
    return kept


def _plain_value(value: Any) -> Any:
    """Return containers, numbers and texts; of all else, its text."""
    if isinstance(value, dict):
        return {str(key): _plain_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        kind = tuple if isinstance(value, tuple) else list
        return kind(_plain_value(item) for item in value)
    # First, since some of numpy's are numbers and texts, too.
    if hasattr(value, 'tolist'):
        return value.tolist()
    if isinstance(value, (bool, int, float, str, bytes, type(None))):
        return value
    return str(value)


def main(argv: list[str] | None = None) -> None:
    """Export, and say where the files lie."""
    args = parse_args(argv)
    written = [args.out, Path(args.out).with_suffix('.py')]
    check_files_to_write('out', written)
    check_inputs_stay(written, [args.config, args.checkpoint])
    checkpoint, config = export(read_config(args), args.checkpoint, args.out)
    print(f'checkpoint: {checkpoint}')
    print(f'config:     {config}')
    print('the config builds the model, and the checkpoint fits it exactly')


if __name__ == '__main__':
    run(main)
