"""Cases: options of configs, policies and priors, and models that misfit."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import torch

from hostile.checkpoints import train
from hostile.files import Call
from hostile.harness import Case, Command, Place
from mmtst.augmentation.base import MAGNITUDE_OPERATORS, OPERATORS
from mmtst.augmentation.meta_encoders import shipped_prior

_HOOK = 'custom_hooks.0.'
_SAVE = 'default_hooks.checkpoint.'
_CHECK = 'default_hooks.teacher_check.'
_AUGMENT = 'model.augmentation.'
_LOSS = 'model.distiller.distill_losses.kl.'
# Of the tiny distillation: what the message names is the last part.
_DISTILL: list[str] = [
    *(_HOOK + option for option in (
        'iterations=0', 'iterations=1.5', 'iterations=many', 'epochs=-1',
        'lr=0', 'lr=nan', 'momentum=1', 'clip_grad=tight',
        'search_temperature=0', 'budget=2', 'budget=all', 'batch_size=0',
        'report_batches=-1', 'max_nonfinite=x', 'log_interval=0', 'at=soon',
        'at=[-1]', 'at=[1,1]', 'at=[99]', 'by_epoch=maybe',
        'seed=-1', 'probe=maybe', 'alrs=3', 'alrs.treshold=0.1',
        'iteration=5',
    )),
    *(_SAVE + option for option in (
        'interval=x', 'max_keep_ckpts=x', 'intervall=1', 'save_best=3',
        'out_dir=s3://bucket/x', 'filename_tmpl=epoch.pth',
    )),
    *(_CHECK + option for option in (
        'batches=-1', 'min_found=2', 'min_over_chance=x', 'enabled=maybe',
        'min_fuond=0.1',
    )),
    'default_hooks.exact_resume.enabled=maybe',
    'default_hooks.validate_on_resume.enable=False',
    *(_AUGMENT + option for option in (
        'preset=best', 'num_operators=0', 'num_operators=15',
        'num_operators=2.5', 'composition=product', 'temperature=x',
        'gate=wide', 'per_sample=maybe', 'apply_prob=2',
        'encoder_noise_std=-1', 'network=deep', 'aspect=wide',
        'mirror=maybe', 'cutout_fraction=x', 'fill=pink', 'clamp_theta=0',
        'channel_order=rbg', 'num_operator=3',
    )),
    'model.policy=best', 'model.policy=3', 'model.min_visible=2',
    'model.seed=x', 'model.guard.tries=-1', 'model.guard=3',
    'model.objective.alpha=nan', 'model.objective.weights.cls=x',
    'model.objective.mode=worst', 'model.objective.alfa=1',
    'model.teacher_ckpt=3', 'model.untrained_teacher=maybe',
    'model.teacher_chkpt=x.pth', _LOSS + 'tau=0', _LOSS + 'loss_weight=x',
    _LOSS + 'form=square', _LOSS + 'resize=maybe', _LOSS + 'temp=3',
    _LOSS + 'type=mmtst.DenseKLos',
]  # fmt: skip
_CLASSIFY: list[str] = [
    *('train_dataloader.dataset.' + option for option in (
        'split=dev', 'crop_padding=-1', 'crop_padding=9999', 'flip=2',
        'flip=x', 'fraction=0', 'classes=0', 'classes=99', 'classes=[cat]',
        'device=tpu9', 'batched=maybe', 'fraction_seed=-1', 'frction=0.5',
    )),
    *('model.backbone.' + option for option in (
        'depth=9', 'depth=x', 'width=3', 'out_indices=[9]', 'preact=maybe',
        'dept=8',
    )),
]  # fmt: skip


def _option(
    config: str, option: str, words: tuple[str, ...] = ()
) -> tuple[Callable[[Place], Command], tuple[str, ...]]:
    name = option.partition('=')[0].split('.')[-1]

    def prepare(place: Place) -> Command:
        return train(place, getattr(place.toys, config), option)

    return prepare, words or (name,)


def _policy(
    content: Any, *, missing: bool = False, raw: bytes | None = None
) -> Callable[[Place], Command]:
    def prepare(place: Place) -> Command:
        path = place.home / 'replayed.json'
        if raw is not None:
            path.write_bytes(raw)
        elif content is _FOLDER:
            path.mkdir()
        elif not missing:
            path.write_text(json.dumps(content))
        return train(place, place.toys.distill, f'model.policy=replay:{path}')

    return prepare


_FOLDER = object()


def _values(**more: Any) -> dict[str, Any]:
    return {
        'probabilities': dict.fromkeys(OPERATORS, 0.5),
        'magnitudes': dict.fromkeys(MAGNITUDE_OPERATORS, 0.5),
        **more,
    }


_ONE = OPERATORS[0]
_POLICIES: dict[str, Callable[[Place], Command]] = {
    'missing': _policy(None, missing=True),
    'a folder': _policy(_FOLDER),
    'empty': _policy(None, raw=b''),
    'bytes at random': _policy(None, raw=bytes(range(256)) * 4),
    'a web page': _policy(None, raw=b'<html></html>'),
    'null': _policy(None),
    'a list': _policy([1]),
    'a number': _policy(3),
    'nothing': _policy({}),
    'no magnitudes': _policy({'probabilities': _values()['probabilities']}),
    'an unknown operator': _policy(
        _values(probabilities={'melt': 0.5, **dict.fromkeys(OPERATORS, 0.5)})
    ),
    'an operator too few': _policy(
        _values(probabilities=dict.fromkeys(OPERATORS[1:], 0.5))
    ),
    'a text for a number': _policy(
        _values(probabilities={**dict.fromkeys(OPERATORS, 0.5), _ONE: 'x'})
    ),
    'a number as a text': _policy(
        _values(probabilities={**dict.fromkeys(OPERATORS, 0.5), _ONE: '.5'})
    ),
    'null for a number': _policy(
        _values(probabilities={**dict.fromkeys(OPERATORS, 0.5), _ONE: None})
    ),
    'a list for a number': _policy(
        _values(probabilities={**dict.fromkeys(OPERATORS, 0.5), _ONE: [1]})
    ),
    'NaN': _policy(
        _values(probabilities=dict.fromkeys(OPERATORS, float('nan')))
    ),
    'over 1': _policy(_values(magnitudes=dict.fromkeys(
        MAGNITUDE_OPERATORS, 7))),
    'nested without end': _policy(None, raw=b'[' * 200_000),
    'a number of 5000 digits': _policy(
        None, raw=b'{"probabilities": ' + b'9' * 5000 + b'}'
    ),
    'a rate of 5000 digits': _policy(
        None,
        raw=json.dumps(_values()).replace('0.5', '9' * 5000, 1).encode(),
    ),
}  # fmt: skip


def _prior(
    make: Callable[[dict[str, Any], Place], Any],
) -> Callable[[Place], Command]:
    def prepare(place: Place) -> Command:
        path = place.home / 'prior.pth'
        content = torch.load(shipped_prior('quadratic'), weights_only=True)
        result = make(content, place)
        if isinstance(result, bytes):
            path.write_bytes(result)
        elif result is _FOLDER:
            path.mkdir()
        elif result is not None:
            torch.save(result, path)
        return train(
            place, place.toys.distill, f'model.augmentation.prior={path}'
        )

    return prepare


def _first_tensor(content: dict[str, Any], value: Any) -> dict[str, Any]:
    encoder = next(iter(content['encoders'].values()))
    name = next(iter(encoder))
    encoder[name] = value(encoder[name]) if callable(value) else value
    return content


def _laughs() -> Any:
    content: Any = 'lol'
    for _ in range(60):
        content = [content, content]
    return content


_PRIORS: dict[str, Callable[[dict[str, Any], Place], Any]] = {
    'missing': lambda c, p: None,
    'a folder': lambda c, p: _FOLDER,
    'empty': lambda c, p: b'',
    'text': lambda c, p: b'Not found',
    'runs os.system': lambda c, p: {
        **c, 'x': Call(os.system, f'touch {p.marker}')
    },
    'cut short': lambda c, p: shipped_prior('quadratic').read_bytes()[:3000],
    'a list': lambda c, p: [1],
    'of another network': lambda c, p: {**c, 'network': 'paper'},
    'of another format': lambda c, p: {**c, 'format': 99},
    'without encoders': lambda c, p: {'format': 1, 'network': 'quadratic'},
    'encoders are a list': lambda c, p: {**c, 'encoders': [1, 2]},
    'an encoder is a text': lambda c, p: {
        **c, 'encoders': {**c['encoders'], 'rotate': 'x'}
    },
    'a tensor is a text': lambda c, p: _first_tensor(c, 'x'),
    'a tensor is of another shape': lambda c, p: _first_tensor(
        c, lambda t: t[:1]
    ),
    'a tensor is NaN': lambda c, p: _first_tensor(c, lambda t: t * _NAN),
    'a tensor is complex': lambda c, p: _first_tensor(
        c, lambda t: t.to(torch.complex64)
    ),
    'billion laughs': lambda c, p: {**c, 'encoders': _laughs()},
}  # fmt: skip
_NAN = float('nan')
# Teachers and students that do not go together, by what is changed.
_HEAD = 'model.teacher.cfg_options.bbox_head'
_MODELS: dict[str, tuple[list[str], tuple[str, ...]]] = {
    'teacher of 80 classes, maps compared': (
        [f'{_HEAD}.num_classes=80', 'model.untrained_teacher=True',
         'model.teacher_ckpt=None'],
        ('num_classes|classes',),
    ),
    'teacher of 80 classes, checkpoint of 5': (
        [f'{_HEAD}.num_classes=80'], ('num_classes|classes|fit',),
    ),
    'student of 3 classes, data of 5': (
        ['model.architecture.cfg_options.bbox_head.num_classes=3',
         'model.teacher.cfg_options.bbox_head.num_classes=3',
         'model.untrained_teacher=True', 'model.teacher_ckpt=None'],
        ('num_classes|classes',),
    ),
    'teacher of other strides': (
        ['model.teacher.cfg_options.neck.start_level=0',
         'model.untrained_teacher=True', 'model.teacher_ckpt=None'],
        ('stride|level|shape|size',),
    ),
    'a source that is not there': (
        ['model.distiller.student_recorders.cls.source=bbox_head.nothing'],
        ('nothing',),
    ),
    'a recorder that is not there': (
        ['model.distiller.loss_forward_mappings.kl.preds_S.recorder=none_'],
        ('none_|recorder',),
    ),
    'a config of the teacher that is not there': (
        ['model.teacher.cfg_path=mmdet::retinanet/nothing.py'],
        ('nothing',),
    ),
    'a config of a package that is not there': (
        ['model.teacher.cfg_path=mmnothing::a/b.py'], ('mmnothing',),
    ),
    'options of the teacher that fit nothing': (
        ['model.teacher.cfg_options.neck.in_channels=[1,2,3,4]'],
        ('in_channels|fit|channels',),
    ),
    'no type of the model': (['model.type=mmtst.Distil'], ('Distil',)),
    'no distiller': (['model.distiller=None'], ('distiller',)),
    'no teacher': (['model.teacher=None'], ('teacher',)),
    'no student': (['model.architecture=None'], ('architecture|student',)),
}  # fmt: skip


def cases() -> list[Case]:
    """Return them."""
    found = []
    for config, options in (('distill', _DISTILL), ('cls', _CLASSIFY)):
        for option in options:
            prepare, words = _option(config, option)
            found.append(Case(option, 'options', prepare, 'clear', words))
    found += [
        Case(f'replayed policy: {name}', 'policies and priors', prepare,
             'clear', (r'replayed\.json',))
        for name, prepare in _POLICIES.items()
    ]  # fmt: skip
    found += [
        Case(f'prior: {name}', 'policies and priors', _prior(make), 'clear',
             (r'prior',))
        for name, make in _PRIORS.items()
    ]  # fmt: skip
    for name, (options, words) in _MODELS.items():

        def build(place: Place, options: Any = options) -> Command:
            return train(place, place.toys.distill, *options)

        found.append(Case(name, 'models', build, 'clear', words))
    return found
