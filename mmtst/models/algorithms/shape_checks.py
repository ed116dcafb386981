"""Refuse pairs whose features or predictions cannot be compared."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.structures import BaseDataElement
from mmpretrain.models import ImageClassifier
from torch import Tensor, nn

from mmtst.models.algorithms.teacher_pass import TeacherPass
from mmtst.models.head_classes import head_classes
from mmtst.utils.errors import ConfigError

_STAGES = {True: 'two-stage', False: 'one-stage'}
_HEADS = ('bbox_head', 'roi_head', 'rpn_head')
_DISTILLER = 'model.distiller'
# Pixels: five strides up to 128 differ there; CIFAR's networks take 32.
_SIDE, _SIDE_OF_CLASSIFIERS = 128, 32

Shapes = list[tuple[int, ...]]


def check_stages(
    student: nn.Module, teacher: nn.Module, distiller: Mapping[str, Any]
) -> None:
    """Check that heads of a one-stage and a two-stage model are not compared.

    Args:
        student: Any model; only pairs of detectors are looked at.
        teacher: Its teacher.
        distiller: The distiller's config.

    Raises:
        ConfigError: A recorder listens to a head that the other side has no
            counterpart of.
    """
    models = {'student': student, 'teacher': teacher}
    two_stage = {side: _is_two_stage(m) for side, m in models.items()}
    kinds = set(two_stage.values())
    if None in kinds or len(kinds) == 1:
        return
    for side, model in models.items():
        for name, recorder in (
            distiller.get(f'{side}_recorders') or {}
        ).items():
            root = str(recorder.get('source')).split('.')[0]
            if root not in _HEADS:
                continue
            if root == 'roi_head' or not hasattr(model, root):
                raise ConfigError(
                    'the heads of a one-stage and a two-stage detector '
                    f'cannot be compared: {_told(models)}',
                    where=f'{_DISTILLER}.{side}_recorders.{name}.source',
                    got=recorder.get('source'),
                    allowed='neck (or backbone) on both sides, of the same '
                    'strides; heads of a pair of the same kind',
                    fix="set source='neck' in both recorders and a loss on "
                    'features, such as PKDLoss, or take another teacher',
                )


def _told(models: Mapping[str, nn.Module]) -> str:
    return ', '.join(
        f'the {side} ({type(model).__name__}) is '
        f'{_STAGES[bool(_is_two_stage(model))]}'
        for side, model in models.items()
    )


def _is_two_stage(model: nn.Module) -> bool | None:
    """Return ``None`` for what is no detector."""
    if hasattr(model, 'roi_head'):
        return True
    return False if hasattr(model, 'bbox_head') else None


def check_shapes(distiller: Any, student: Any, teacher: Any) -> None:
    """Compute the distillation losses once, where shapes differ.

    Both models see one image of noise, without gradients and in evaluation
    mode, so that nothing of them moves. A loss is computed, on a copy, only
    where its records differ in shape, and refused only if it then fails:
    some resize, or compare what has no shape. RoI heads, which need
    proposals, and functions are left to the first step.

    Args:
        distiller: Its recorders are attached to the models.
        student: The student.
        teacher: The teacher.

    Raises:
        ConfigError: A loss cannot be computed on this pair.
    """
    models = {'student': student, 'teacher': teacher}
    sources = {
        side: _sources(getattr(distiller, f'{side}_recorders').recorders)
        for side in models
    }
    names = [
        name
        for name, mappings in distiller.loss_forward_mappings.items()
        if all(
            record['recorder'] in sources[_side(record)]
            for record in mappings.values()
        )
    ]
    if not names:
        return
    with (
        _evaluating(distiller, student, teacher),
        torch.no_grad(),
        torch.random.fork_rng(devices=[]),
    ):
        try:
            size = _record(distiller, models, sources)
        except Exception as error:  # of any model's own code
            distiller.clear_records()
            print_log(
                'The shapes of what is distilled were not compared before '
                f'the first step: {type(error).__name__}: {error}',
                'current',
            )
            return
        try:
            for name in names:
                _check_loss(distiller, name, sources, models, size)
        finally:
            distiller.clear_records()


def _sources(recorders: Mapping[str, Any]) -> dict[str, str]:
    """Return the modules that can be run, by their recorder's name."""
    return {
        name: recorder.source
        for name, recorder in recorders.items()
        if type(recorder).__name__.startswith('Module')
        and recorder.source.split('.')[0] != 'roi_head'
    }


def _side(record: Mapping[str, Any]) -> str:
    return 'student' if record['from_student'] else 'teacher'


@contextmanager
def _evaluating(*modules: nn.Module) -> Iterator[None]:
    """Set all to evaluation mode, and each part back after."""
    modes = [(m, m.training) for each in modules for m in each.modules()]
    for module, _ in modes:
        module.training = False
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _record(
    distiller: Any,
    models: Mapping[str, Any],
    sources: Mapping[str, Mapping[str, str]],
) -> int:
    """Run both models on noise; return the side of the image."""
    student = models['student']
    size = _SIDE
    if isinstance(student, ImageClassifier):
        own = getattr(student.backbone, 'img_size', _SIDE_OF_CLASSIFIERS)
        size = own if isinstance(own, int) else own[0]
    device = next(student.parameters()).device
    inputs = torch.rand(1, 3, size, size, device=device)
    samples = [BaseDataElement(metainfo=dict(img_shape=(size, size)))]
    for side, model in models.items():
        run = TeacherPass(
            model, model.data_preprocessor, list(sources[side].values())
        )
        distiller.set_deliveries_override(side == 'teacher')
        with distiller.recording(side):
            run.run(inputs, samples)
    return size


def _check_loss(
    distiller: Any,
    name: str,
    sources: Mapping[str, Mapping[str, str]],
    models: Mapping[str, nn.Module],
    size: int,
) -> None:
    """Compute one loss, if the shapes of its records differ."""
    mappings = distiller.loss_forward_mappings[name]
    found: dict[str, Shapes] = {}
    roots: dict[str, str] = {}
    arguments = {}
    failure: Exception | None = None
    for argument, record in mappings.items():
        side = _side(record)
        try:
            value = distiller.get_record(**record)
        except Exception as error:  # a connector made for other channels
            failure = error
            plain = {k: v for k, v in record.items() if 'connector' not in k}
            try:
                value = distiller.get_record(**plain)
            except Exception:
                return  # no such record: not a matter of shapes
        arguments[argument] = value
        found.setdefault(side, _shapes(value))
        roots.setdefault(side, sources[side][record['recorder']])
    if len(found) < len(models) or not all(found.values()):
        return
    if failure is None:
        if found['student'] == found['teacher']:
            return
        loss = copy.deepcopy(distiller.distill_losses[name])
        try:
            loss(**arguments)
        except Exception as error:
            failure = error
        else:
            return
        if isinstance(failure, TypeError):  # it needs samples
            return
    raise _misfit(name, found, roots, models, size, failure)


def _shapes(value: Any) -> Shapes:
    values = value if isinstance(value, (list, tuple)) else [value]
    if not all(isinstance(each, Tensor) for each in values):
        return []
    return [tuple(each.shape) for each in values]


def _misfit(
    name: str,
    found: Mapping[str, Shapes],
    roots: Mapping[str, str],
    models: Mapping[str, nn.Module],
    size: int,
    failure: Exception,
) -> ConfigError:
    """Say what differs: classes, strides or channels."""
    where = f'{_DISTILLER}.distill_losses.{name}'
    classes = {side: head_classes(model) for side, model in models.items()}
    numbers = {side: set(heads.values()) for side, heads in classes.items()}
    of_heads = all('head' in source for source in roots.values())
    channels = {s: [x[1] for x in v if len(x) > 1] for s, v in found.items()}
    if (
        of_heads
        and numbers['student'] != numbers['teacher']
        and channels['student'] != channels['teacher']
    ):
        return ConfigError(
            'class predictions of student and teacher are compared, but they '
            'tell different numbers of classes apart',
            where=f'{where}; num_classes of model.architecture and '
            'model.teacher',
            got={
                side: {f'{k}.num_classes': v for k, v in heads.items()}
                for side, heads in classes.items()
            },
            allowed='the same num_classes on both sides',
            fix='give a teacher that was trained on the same classes, or '
            "distil features: source='neck' and a loss such as PKDLoss",
        )
    strides = {s: [_stride(x, size) for x in v] for s, v in found.items()}
    if strides['student'] != strides['teacher']:
        return ConfigError(
            'the levels of student and teacher that are compared differ in '
            f'number or stride ({failure})',
            where=where,
            got={f'{side} strides': value for side, value in strides.items()},
            allowed='the same strides, level by level',
            fix=_pairing(strides),
        )
    if (
        isinstance(failure, ValueError)
        or channels['student'] != (channels['teacher'])
    ):
        return ConfigError(
            'student and teacher give features of different channels '
            f'({failure})',
            where=where,
            got={f'{side} channels': v for side, v in channels.items()},
            allowed="a connector from the student's channels to the "
            "teacher's, or the same channels",
            fix='add (or correct in_channels and out_channels of) a '
            'connector in model.distiller.connectors, such as '
            "dict(type='mmtst.PyramidConnector', "
            f'in_channels={_first(channels["student"])}, '
            f'out_channels={_first(channels["teacher"])}, '
            f'num_levels={len(found["student"])}), and name it in '
            f'loss_forward_mappings.{name}: connector=...',
        )
    return ConfigError(
        f'the loss cannot be computed on this pair: {failure}',
        where=where,
        got={f'{side} shapes': value for side, value in found.items()},
        fix='choose recorders and connectors whose shapes agree',
    )


def _stride(shape: tuple[int, ...], size: int) -> int:
    """Return the stride of a map (B, C, H, W); 0 for what is none."""
    return round(size / shape[-1]) if len(shape) == 4 else 0


def _first(values: list[int]) -> int | None:
    return values[0] if values else None


def _pairing(strides: Mapping[str, list[int]]) -> str:
    """Say which levels have the same stride."""
    mine, other = strides['student'], strides['teacher']
    pairs = [
        f"student's data_idx={mine.index(stride)} with teacher's "
        f'data_idx={other.index(stride)} (stride {stride})'
        for stride in mine
        if stride in other and len(mine) > 1 and len(other) > 1
    ]
    if pairs:
        return (
            'compare single levels of the same stride, one loss each, by '
            'data_idx in loss_forward_mappings: ' + '; '.join(pairs)
        )
    return (
        'take modules of the same stride; or resize=True of LevelwiseLoss, '
        "which brings the teacher's maps to the student's size"
    )
