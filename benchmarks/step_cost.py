r"""Measure what augmenting a batch and a Stage III step cost.

All of one run's figures come from the same process and thread count, so the
ratios mean something where absolute times do not. Each is the median over
rounds that take turns (a slow spell of the machine hits all alike); the
spread is the interquartile range. The device is synchronised inside the
timed region.

    python benchmarks/step_cost.py --out benchmarks/results/step_cost.json
    python benchmarks/step_cost.py --task cls --batch 128 --side 32 \
        --out benchmarks/results/step_cost_cls.json
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import init_default_scope
from torch import Tensor

from mmtst.augmentation import AugmentationEncoder
from mmtst.models import build_model
from mmtst.registry import MODELS
from mmtst.structures import LabelBatch
from mmtst.testing.detection import detection_batch
from mmtst.version import __version__

ROOT = Path(__file__).parents[1]
_CIFAR = 'logits_wrn40-2_wrn16-2_1xb128-240e_cifar100.py'
PAIRS = {
    'det': {
        'tst': 'configs/demo/det/tst.py',
        'kd': 'configs/demo/det/kd.py',
    },
    'cls': {
        'tst': f'configs/tst/mmpretrain/tst_{_CIFAR}',
        'kd': f'configs/kd/mmpretrain/kd_{_CIFAR}',
    },
}
# What is augmented: batch, padded size, valid size.
Shape = tuple[int, tuple[int, int], tuple[int, int]]
BATCHES: dict[str, dict[str, Shape]] = {
    'det': {
        '2x3x800x1333': (2, (800, 1344), (800, 1333)),
        '8x3x320x320': (8, (320, 320), (320, 320)),
    },
    'cls': {'128x3x32x32': (128, (32, 32), (32, 32))},
}


def measure(
    tasks: dict[str, Callable[[], Any]], rounds: int, device: str
) -> dict[str, dict[str, float]]:
    """Time tasks in turn.

    Args:
        tasks: What to run, by name.
        rounds: Timed rounds, after one round of warm-up.
        device: What to wait for.

    Returns:
        ``median`` and ``iqr`` in seconds, by name.
    """
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for index in range(rounds + 1):
        for name, task in tasks.items():
            began = time.perf_counter()
            task()
            if device.startswith('cuda'):
                torch.cuda.synchronize()
            if index:
                times[name].append(time.perf_counter() - began)
    results = {}
    for name, values in times.items():
        low, middle, high = statistics.quantiles(values, n=4)
        results[name] = dict(median=middle, iqr=high - low)
    return results


def augment_tasks(
    task: str, shape: Shape, device: str
) -> dict[str, Callable[[], Any]]:
    """Make tasks that augment one batch, without and with gradient."""
    batch, size, valid = shape
    cfg = Config.fromfile(ROOT / PAIRS[task]['tst'])
    init_default_scope(cfg.default_scope)
    encoder: AugmentationEncoder = MODELS.build(cfg.model.augmentation)
    encoder = encoder.to(device)
    preprocessor = dict(
        type='mmdet.DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    )
    encoder.bind(MMENGINE_MODELS.build(preprocessor))
    images, _ = detection_batch(batch, size, valid)
    images = images.to(device)
    sizes = images.new_tensor([valid] * batch)
    generator = torch.Generator().manual_seed(0)

    def forward() -> None:
        with torch.no_grad():
            record = encoder.resolve(encoder.draw(sizes, generator))
            encoder.augment(images, record)

    def backward() -> None:
        policy = encoder.policy.leaf()
        draw = encoder.draw(sizes, generator)
        augmented = encoder.augment(images, encoder.resolve(draw, policy))
        torch.autograd.grad(augmented.square().mean(), list(policy))

    return {'augment': forward, 'augment_with_gradient': backward}


def _as_mmrazors(model: ConfigDict, name: str) -> dict[str, Any]:
    """Return what is built: for KD mmrazor's own algorithm."""
    if name == 'tst':
        return model
    return dict(
        type='mmrazor.SingleTeacherDistill',
        _scope_='mmrazor',
        architecture=build_model(model.architecture, 'model.architecture'),
        teacher=build_model(model.teacher, 'model.teacher'),
        distiller=model.distiller,
    )


def _batch(task: str, batch: int, side: int) -> tuple[Tensor, list[Any]]:
    """Make images and what is to be learned from them."""
    if task == 'det':
        return detection_batch(batch, (side, side))
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, 3, side, side, generator=generator)
    labels = torch.randint(0, 100, (batch,), generator=generator)
    return images, [LabelBatch().set_gt_label(labels)]


def step_tasks(
    task: str, batch: int, side: int, device: str
) -> dict[str, Callable[[], Any]]:
    """Make tasks that take one training step: TST's, and mmrazor's KD."""
    models = {}
    for name, path in PAIRS[task].items():
        cfg = Config.fromfile(ROOT / path)
        init_default_scope(cfg.default_scope)
        cfg.model.update(teacher_ckpt=None, untrained_teacher=True)
        torch.manual_seed(0)
        models[name] = MODELS.build(_as_mmrazors(cfg.model, name)).to(device)
        # mmrazor's own returns nothing.
        models[name].train()
    inputs, samples = _batch(task, batch, side)
    inputs, samples = inputs.to(device), [s.to(device) for s in samples]

    def step(name: str, images: Tensor, targets: list[Any]) -> None:
        model = models[name]
        loss, _ = model.parse_losses(model.loss(images, targets))
        model.zero_grad(set_to_none=True)
        loss.backward()

    doubled = torch.cat([inputs, inputs])
    return {
        'kd_step_on_doubled_batch': lambda: step(
            'kd', doubled, [*samples, *samples]
        ),
        'tst_step': lambda: step('tst', inputs, samples),
    }


def main() -> None:
    """Measure and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--task', choices=PAIRS, default='det')
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--batch', type=int, default=4, help='originals')
    parser.add_argument('--side', type=int, default=320, help='pixels')
    parser.add_argument('--out', type=Path)
    args = parser.parse_args()
    device = str(get_device())
    results: dict[str, Any] = dict(
        machine=dict(
            device=torch.cuda.get_device_name() if 'cuda' in device else 'cpu',
            processor=platform.machine(),
            threads=torch.get_num_threads(),
            torch=torch.__version__,
            mmtst=__version__,
        ),
        rounds=args.rounds,
        step=dict(
            batch=args.batch, side=args.side, pair=PAIRS[args.task]['tst']
        ),
        seconds={},
        ratios={},
    )
    tasks = step_tasks(args.task, args.batch, args.side, device)
    for name, shape in BATCHES[args.task].items():
        for task, run in augment_tasks(args.task, shape, device).items():
            tasks[f'{task}_{name}'] = run
    results['seconds'] = measure(tasks, args.rounds, device)
    medians = {k: v['median'] for k, v in results['seconds'].items()}
    base = medians['kd_step_on_doubled_batch']
    results['ratios'] = {
        f'{name} / kd_step_on_doubled_batch': value / base
        for name, value in medians.items()
        if name != 'kd_step_on_doubled_batch'
    }
    # Originals: either step sees each of them twice.
    results['images_per_second'] = {
        name: args.batch / value
        for name, value in medians.items()
        if name.endswith(('_step', '_doubled_batch'))
    }
    text = json.dumps(results, indent=2)
    print(text)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text + '\n')


if __name__ == '__main__':
    main()
