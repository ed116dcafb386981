"""What ``speed.py`` measures."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from _plain_augmentation import augment_plainly
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import init_default_scope
from torch import Tensor

from mmtst.augmentation import AugmentationEncoder
from mmtst.models import build_model
from mmtst.registry import MODELS
from mmtst.structures import LabelBatch
from mmtst.testing.detection import detection_batch

ROOT = Path(__file__).parents[1]
BASE = 'KD step, doubled batch'
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
    # Every round takes the next draw; all ways of a round take the same.
    draws = [
        encoder.draw(sizes, torch.Generator().manual_seed(seed))
        for seed in range(64)
    ]
    _check_plain(encoder, images, draws[0])
    ways = {
        'folded': encoder.augment,
        'one by one': partial(augment_plainly, encoder),
    }

    def forward(way: Callable[..., Tensor], turn: Iterator[Any]) -> None:
        with torch.no_grad():
            way(images, encoder.resolve(next(turn)))

    def backward(way: Callable[..., Tensor], turn: Iterator[Any]) -> None:
        policy = encoder.policy.leaf()
        augmented = way(images, encoder.resolve(next(turn), policy))
        torch.autograd.grad(augmented.square().mean(), list(policy))

    tasks: dict[str, Callable[[], Any]] = {}
    for name, way in ways.items():
        for kind, run in (('augment', forward), ('gradient', backward)):
            turn = itertools.cycle(draws)
            tasks[f'{kind}, {name}'] = partial(run, way, turn)
    open_ones = partial(augment_plainly, encoder, only_open=True)
    tasks['augment, one by one, shut ones left out'] = partial(
        forward, open_ones, itertools.cycle(draws)
    )
    raw = encoder.image_space.to_raw(images)
    kornias = kornia_augmentation(encoder.num_operators)
    if kornias is not None:
        tasks['augment, kornia'] = lambda: kornias(raw)
    return tasks


def _check_plain(
    encoder: AugmentationEncoder, images: Tensor, draw: Any
) -> None:
    """Raise unless both ways give the same images."""
    record = encoder.resolve(draw)
    torch.testing.assert_close(
        encoder.augment(images, record),
        augment_plainly(encoder, images, record),
        rtol=1e-3,
        atol=1e-3,
    )


def kornia_augmentation(num_operators: int) -> Callable[[Tensor], Any] | None:
    """Return as many of kornia's augmentations of the same names.

    Of raw images (B, 3, H, W) in [0, 1]; ``None`` where kornia is missing.
    """
    try:
        import kornia.augmentation as K
    except ImportError:
        print('kornia is not installed, and is left out')
        return None
    always = dict(p=1.0)
    return K.AugmentationSequential(
        K.RandomAffine(30.0, **always),
        K.RandomShear((-17.0, 17.0, 0.0, 0.0), **always),
        K.RandomShear((0.0, 0.0, -17.0, 17.0), **always),
        K.RandomAffine(0.0, translate=(0.45, 0.0), **always),
        K.RandomAffine(0.0, translate=(0.0, 0.45), **always),
        K.RandomBrightness((0.1, 1.9), **always),
        K.RandomSaturation((0.1, 1.9), **always),
        K.RandomContrast((0.1, 1.9), **always),
        K.RandomSharpness(0.9, **always),
        K.RandomPosterize((4, 8), **always),
        K.RandomSolarize(0.5, **always),
        K.RandomEqualize(**always),
        K.RandomInvert(**always),
        K.RandomErasing((0.1, 0.2), **always),
        random_apply=num_operators,
        data_keys=['input'],
    )


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
    """Make tasks that take a step: of mmrazor's KD, of TST's two stages.

    On a GPU those of TST also under autocast, with channels last, and with
    the teacher compiled.
    """
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
    doubled = torch.cat([inputs, inputs])
    tst = models['tst']
    tasks = {
        BASE: partial(_step, models['kd'], doubled, [*samples, *samples]),
        'Stage III step': partial(_step, tst, inputs, samples),
        'Stage II step': partial(_search_step, tst, inputs, samples),
    }
    if not device.startswith('cuda'):
        return tasks
    last = copy.deepcopy(tst).to(memory_format=torch.channels_last)
    compiled = copy.deepcopy(tst)
    compiled.teacher.backbone.compile()
    variants = {
        'bf16': (tst, inputs, torch.bfloat16),
        'channels last': (
            last,
            inputs.contiguous(memory_format=torch.channels_last),
            None,
        ),
        'teacher compiled': (compiled, inputs, None),
    }
    for name, (model, images, dtype) in variants.items():
        for stage, run in (('II', _search_step), ('III', _step)):
            tasks[f'Stage {stage} step, {name}'] = partial(
                _autocast, device, dtype, run, model, images, samples
            )
    return tasks


def _step(model: Any, images: Tensor, targets: list[Any]) -> None:
    loss, _ = model.parse_losses(model.loss(images, targets))
    model.zero_grad(set_to_none=True)
    loss.backward()


def _search_step(model: Any, images: Tensor, targets: list[Any]) -> None:
    with model.search_mode():
        policy = model.augmentation.policy.leaf()
        draw, _ = model.draw_views(
            images, targets, policy.detach(), model.generator
        )
        result = model.search_objective(images, targets, policy, draw)
        torch.autograd.grad(result.total, list(policy))


def _autocast(
    device: str,
    dtype: torch.dtype | None,
    run: Callable[..., None],
    *arguments: Any,
) -> None:
    enabled = dtype is not None
    with torch.autocast(device.split(':')[0], dtype, enabled=enabled):
        run(*arguments)
