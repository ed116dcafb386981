"""Draw training images before and after the augmentation.

Boxes, ignored boxes (dashed), masks and label maps are drawn on both, so that
one sees whether the ground truth moves with the image. Neither student nor
teacher is built.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from _arguments import number, output_folder, seed, whole
from _common import (
    add_config_arguments,
    add_trust_argument,
    read_config,
    read_weights,
    run,
    student_model_cfg,
)
from _config_checks import check_parts
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS, init_default_scope
from mmengine.runner import set_random_seed
from torch import Tensor

from mmtst.augmentation import AugmentationEncoder
from mmtst.augmentation.appliers import apply_to_samples
from mmtst.augmentation.base import OPERATORS, Policy
from mmtst.augmentation.controls import read_policy
from mmtst.augmentation.object_guard import draw_keeping_objects
from mmtst.datasets import check_data
from mmtst.models.algorithms.samples import box_tensors, valid_sizes
from mmtst.utils.checks import check_number
from mmtst.utils.errors import ConfigError
from mmtst.visualization import View, describe_record, draw_grid, to_picture

_BATCH = 4
_PAIRS_PER_FILE = 6


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_config_arguments(parser)
    add_trust_argument(parser)
    parser.add_argument(
        '--num', type=whole(), default=6, help='how many images'
    )
    parser.add_argument(
        '--output-dir',
        type=output_folder,
        default='.',
        help='folder for augmentation_*.png',
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        '--policy', help='policy.jsonl of a search, or an exported policy'
    )
    source.add_argument(
        '--checkpoint', help='checkpoint of a distillation, for its policy'
    )
    parser.add_argument(
        '--probability',
        type=number(0, 1),
        help='in [0, 1], for all operators in place of the policy; 1 opens '
        'every gate',
    )
    parser.add_argument(
        '--strength',
        type=number(0, 1),
        help='magnitude in [0, 1], for all operators in place of the policy',
    )
    parser.add_argument(
        '--operators',
        nargs='+',
        choices=OPERATORS,
        metavar='NAME',
        help=f'draw among these alone, of {", ".join(OPERATORS)}',
    )
    parser.add_argument('--seed', type=seed, default=0)
    return parser.parse_args(argv)


def build_encoder(cfg: Config) -> tuple[AugmentationEncoder, Any]:
    """Build the augmentation of a config and the preprocessor it works on.

    Args:
        cfg: A distillation config; a plain one gets the default
            augmentation.

    Returns:
        The encoder, bound, and the student's data preprocessor.

    Raises:
        ConfigError: The student has no data preprocessor.
    """
    options = dict(cfg.model.get('augmentation') or {})
    options.setdefault('type', 'mmtst.AugmentationEncoder')
    encoder: AugmentationEncoder = MODELS.build(options)
    found = student_model_cfg(cfg).get('data_preprocessor')
    found = found or cfg.get('data_preprocessor')
    if found is None:
        raise ConfigError(
            'the student has no data preprocessor',
            where='model.architecture.data_preprocessor',
            fix='set it, so that images can be normalized',
        )
    preprocessor = MODELS.build(found)
    encoder.bind(preprocessor)
    return encoder, preprocessor


def choose_policy(
    encoder: AugmentationEncoder, args: argparse.Namespace
) -> Policy:
    """Return the policy to show.

    Raises:
        ConfigError: A file is missing or has no policy, or a number lies
            outside [0, 1].
    """
    policy = encoder.policy
    if args.policy is not None:
        policy = read_policy(args.policy, where='--policy')
    elif args.checkpoint is not None:
        policy = _checkpoint_policy(args.checkpoint)
    th_p, th_m = policy.detach()
    for name, target in (('probability', th_p), ('strength', th_m)):
        value = getattr(args, name)
        if value is None:
            continue
        check_number(f'--{name}', value, least=0, most=1)
        # As near to 0 or 1 as float32 allows a gate to be told from it.
        target.fill_(torch.logit(torch.tensor(value), eps=1e-7).item())
    return Policy(th_p, th_m)


def views(
    cfg: Config, args: argparse.Namespace
) -> Iterator[tuple[View, View]]:
    """Yield the pictures before and after, one image at a time."""
    encoder, preprocessor = build_encoder(cfg)
    policy = choose_policy(encoder, args)
    space = encoder.image_space
    # The pipeline's own randomness is global.
    set_random_seed(args.seed)
    generator = torch.Generator().manual_seed(args.seed)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    order = torch.randperm(len(dataset), generator=generator)[: args.num]
    for start in range(0, len(order), _BATCH):
        chosen = order[start : start + _BATCH].tolist()
        items = [dataset[index] for index in chosen]
        data = preprocessor(pseudo_collate(items), True)
        inputs, samples = data['inputs'], data['data_samples']
        sizes = valid_sizes(inputs, samples)
        draw = _draw(encoder, policy, sizes, samples, generator, cfg, args)
        record = encoder.resolve(draw, policy)
        after = encoder.augment(inputs, record)
        visible = cfg.model.get('min_visible', 0.1)
        moved = apply_to_samples(record, samples, min_visible=visible)
        raw_before, raw_after = space.to_raw(inputs), space.to_raw(after)
        for i, size in enumerate(sizes.tolist()):
            yield (
                View(to_picture(raw_before[i], size), samples[i], 'original'),
                View(
                    to_picture(raw_after[i], size),
                    moved[i],
                    describe_record(record, i),
                ),
            )


def _draw(
    encoder: AugmentationEncoder,
    policy: Policy,
    sizes: Tensor,
    samples: list[Any],
    generator: torch.Generator,
    cfg: Config,
    args: argparse.Namespace,
) -> Any:
    """Draw as training does, objects kept in view."""
    guard = dict(cfg.model.get('guard') or {})
    draw, _ = draw_keeping_objects(
        encoder,
        policy,
        sizes,
        box_tensors(sizes, samples),
        generator,
        operators=args.operators,
        **guard,
    )
    return draw


def _checkpoint_policy(path: str) -> Policy:
    weights, _ = read_weights(path, '--checkpoint', student=False)
    names = ('augmentation.th_p', 'augmentation.th_m')
    lost = [name for name in names if name not in weights]
    if lost:
        raise ConfigError(
            f'the checkpoint has no {" and no ".join(lost)}',
            where='--checkpoint',
            got=path,
            fix='give a checkpoint that a TST distillation saved',
        )
    return Policy(*(weights[name] for name in names))


def main(argv: list[str] | None = None) -> None:
    """Draw, and say where the files lie."""
    args = parse_args(argv)
    cfg = read_config(args)
    check_parts(cfg, ('train_dataloader',))
    check_data(cfg, ('train',))
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    pairs = list(views(cfg, args))
    meta = _metainfo(cfg)
    folder = Path(args.output_dir)
    for index, start in enumerate(range(0, len(pairs), _PAIRS_PER_FILE)):
        path = folder / f'augmentation_{index}.png'
        draw_grid(
            pairs[start : start + _PAIRS_PER_FILE],
            path,
            classes=meta.get('classes') or (),
            palette=meta.get('palette'),
        )
        print(f'augmentation: {path}')


def _metainfo(cfg: Config) -> dict[str, Any]:
    dataset = cfg.train_dataloader.dataset
    while isinstance(dataset, dict) and 'dataset' in dataset:
        dataset = dataset['dataset']
    scope = dataset.get('_scope_')
    # Looked up as it is built; by itself the root knows no package's types.
    with DATASETS.switch_scope_and_registry(scope) as registry:
        kind = registry.get(dataset.type)
    found = dict(getattr(kind, 'METAINFO', {}))
    found.update(dataset.get('metainfo') or {})
    return found


if __name__ == '__main__':
    run(main)
