"""Distil on original and augmented views through mmrazor's recorders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from inspect import Parameter, signature
from typing import Any

from mmengine.model import ModuleDict
from mmrazor.models.distillers import ConfigurableDistiller
from mmrazor.registry import MODELS as MMRAZOR_MODELS
from torch import Tensor, nn

from mmtst.registry import MODELS, check_config
from mmtst.utils.arguments import check_keys
from mmtst.utils.checks import check_choice, check_number
from mmtst.utils.errors import ConfigError

_MAPPINGS = 'model.distiller.loss_forward_mappings'
_WHERE = 'model.distiller'
_RECORDERS = (
    'ModuleOutputs',
    'ModuleInputs',
    'MethodOutputs',
    'MethodInputs',
    'FunctionOutputs',
    'FunctionInputs',
    'Parameter',
)
# By the least number of parts of a name.
_SOURCES = {
    1: 'a name, such as bbox_head.retina_cls',
    2: 'PACKAGE.MODULE.FUNCTION',
    3: 'PACKAGE.MODULE.CLASS.METHOD',
}
_RECORD = (
    'recorder',
    'from_student',
    'record_idx',
    'data_idx',
    'connector',
    'connector_idx',
)
_SAMPLES = 'data_samples'


@MODELS.register_module()
class DataAugmentationDistiller(ConfigurableDistiller):  # type: ignore[misc]
    """Add to mmrazor's distiller what a two-view step needs.

    The configuration is ``ConfigurableDistiller``'s own (recorders,
    connectors, losses, mappings), so that a config can change from one to
    the other. What differs: mappings are checked with errors that say where
    they stand; records are dropped once the losses are computed, so that
    no activation outlives its step; and a loss whose ``forward`` has an
    argument ``data_samples`` is handed the samples of the step, those of the
    augmented images included, without a mapping.

    Raises:
        ConfigError: A mapping names an unknown loss, recorder, connector or
            argument, or leaves out an argument that its loss needs.
    """

    def __init__(self, **kwargs: Any) -> None:
        _check_parts(kwargs)
        self._check_mappings(kwargs)
        super().__init__(**kwargs)
        self._samples_arguments = {
            name: signature(loss.forward).parameters.get(_SAMPLES)
            for name, loss in self.distill_losses.items()
        }

    @staticmethod
    def _check_mappings(cfg: dict[str, Any]) -> None:
        names = {
            kind: set(cfg.get(kind) or {})
            for kind in (
                'distill_losses',
                'student_recorders',
                'teacher_recorders',
                'connectors',
            )
        }
        mappings = cfg.get('loss_forward_mappings') or {}

        def check(name: str, kind: str, where: str) -> None:
            if not isinstance(name, str) or name not in names[kind]:
                raise ConfigError(
                    f'{name!r} is not among {kind}',
                    where=where,
                    got=name,
                    allowed=', '.join(sorted(names[kind])) or 'none defined',
                )

        for loss, arguments in mappings.items():
            _check_dict(f'{_MAPPINGS}.{loss}', arguments)
            check(loss, 'distill_losses', f'{_MAPPINGS}.{loss}')
            for argument, record in arguments.items():
                where = f'{_MAPPINGS}.{loss}.{argument}'
                if argument == _SAMPLES:
                    raise ConfigError(
                        'no record is mapped to data_samples: a loss that '
                        'has this argument is handed the samples of the step',
                        where=where,
                        got=record,
                        fix='drop the entry',
                    )
                _check_dict(where, record)
                check_keys(where, record, _RECORD, 'a mapping')
                if 'recorder' not in record or not isinstance(
                    record.get('from_student'), bool
                ):
                    raise ConfigError(
                        'a mapping needs a recorder and from_student',
                        where=where,
                        got=dict(record),
                        allowed="dict(recorder='NAME', from_student=True)",
                    )
                side = 'student' if record['from_student'] else 'teacher'
                check(record['recorder'], f'{side}_recorders', where)
                if record.get('connector') is not None:
                    check(record['connector'], 'connectors', where)
                for index in ('record_idx', 'data_idx', 'connector_idx'):
                    check_number(
                        f'{where}.{index}',
                        record.get(index, 0),
                        whole=True,
                        optional=index != 'record_idx',
                    )
        for loss in names['distill_losses'] - set(mappings):
            raise ConfigError(
                f'{loss!r} has no entry in loss_forward_mappings and would '
                'never be computed',
                where=f'model.distiller.distill_losses.{loss}',
                fix=f'add {_MAPPINGS}.{loss}, or drop the loss',
            )

    def build_connectors(
        self, connectors: dict[str, Any] | None = None
    ) -> ModuleDict:
        """Build connectors that ``init_weights`` reaches.

        mmrazor keeps them in torch's ModuleDict, at which it stops.
        """
        return ModuleDict(super().build_connectors(connectors))

    def _check_loss_forward_mappings(
        self,
        losses: nn.ModuleDict,
        loss_forward_mappings: dict[str, dict[str, Any]],
        student_recorders: Any,
        teacher_recorders: Any,
    ) -> None:
        """Check arguments against the losses, in place of mmrazor's asserts.

        The rest of what mmrazor looks at here is checked before the losses
        are built, see :meth:`_check_mappings`.
        """
        for name, arguments in loss_forward_mappings.items():
            _check_arguments(name, losses[name], set(arguments))

    def prepare_from_student(self, model: Any) -> None:
        """Attach the student's recorders; see :meth:`_prepare`."""
        self._prepare('student', model, super().prepare_from_student)

    def prepare_from_teacher(self, model: Any) -> None:
        """Attach the teacher's recorders; see :meth:`_prepare`."""
        self._prepare('teacher', model, super().prepare_from_teacher)

    def _prepare(self, side: str, model: Any, attach: Any) -> None:
        """Attach recorders, naming near matches of an unknown module."""
        recorders = getattr(self, f'{side}_recorders').recorders
        modules = dict(model.named_modules())
        for name, recorder in recorders.items():
            source = recorder.source
            is_module = type(recorder).__name__.startswith('Module')
            if is_module and source not in modules:
                tail = source.split('.')[-1]
                near = [m for m in modules if m.split('.')[-1] == tail]
                near = near or [m for m in modules if m and '.' not in m]
                raise ConfigError(
                    f'the {side} has no module {source!r}',
                    where=f'model.distiller.{side}_recorders.{name}.source',
                    got=source,
                    allowed='for example ' + ', '.join(near[:5]),
                )
        try:
            attach(model)
        except (AssertionError, AttributeError, ImportError) as error:
            raise ConfigError(
                f'a recorder finds nothing to record: {error}',
                where=f'model.distiller.{side}_recorders',
                got=', '.join(r.source for r in recorders.values()),
                allowed='names of parameters, or of functions and methods '
                'with their modules, such as mmdet.models.FPN.forward',
            ) from error

    @contextmanager
    def recording(self, side: str) -> Iterator[None]:
        """Record on one side, ``'student'`` or ``'teacher'``.

        The student's deliveries override what the teacher's recorded, or the
        reverse: whoever records first fills them. Of a student's module the
        outputs with gradients count, where it has any: hard-example samplers
        (OHEM) look at candidates through the same head without.
        """
        recorders = getattr(self, f'{side}_recorders')
        with recorders, self.deliveries:
            yield
        if side == 'student':
            for recorder in recorders.recorders.values():
                if type(recorder).__name__ == 'ModuleOutputsRecorder':
                    _drop_looks(recorder.data_buffer)

    def compute_distill_losses(
        self, data_samples: Sequence[Any] | None = None
    ) -> dict[str, Tensor]:
        """Compute the distillation losses from what was recorded.

        Args:
            data_samples: Samples of the images that were recorded, for the
                losses that take them.

        Returns:
            Scalars by the names in ``distill_losses``.

        Raises:
            ConfigError: A loss needs samples, and there are none.
        """
        losses = {}
        for name, mappings in self.loss_forward_mappings.items():
            arguments = {
                argument: self.get_record(**record)
                for argument, record in mappings.items()
            }
            samples = self._samples_arguments[name]
            if samples is not None and data_samples is not None:
                arguments[_SAMPLES] = data_samples
            elif samples is not None and samples.default is Parameter.empty:
                raise ConfigError(
                    f'{type(self.distill_losses[name]).__name__} needs the '
                    'samples of the step, which this algorithm does not '
                    'hand to its distiller',
                    where=f'model.distiller.distill_losses.{name}',
                    fix="set model.type='mmtst.TeacherStudentDistill' or "
                    "'mmtst.TSTDistill', or drop the loss",
                )
            losses[name] = self.distill_losses[name](**arguments)
        return losses

    def compute_and_clear(
        self, data_samples: Sequence[Any] | None = None
    ) -> dict[str, Tensor]:
        """Compute the distillation losses and drop all records.

        Args:
            data_samples: Samples of the images that were recorded, one for
                each image of the batch, augmented views included.

        Returns:
            Scalars by the names in ``distill_losses``.
        """
        try:
            return self.compute_distill_losses(data_samples)
        finally:
            self.clear_records()

    def clear_records(self) -> None:
        """Drop what the recorders hold."""
        for manager in (self.student_recorders, self.teacher_recorders):
            for recorder in manager.recorders.values():
                recorder.reset_data_buffer()


def _check_dict(where: str, value: Any) -> None:
    if not isinstance(value, dict):
        raise ConfigError(
            'this is no dictionary', where=where, got=value, allowed='a dict'
        )


def _check_parts(cfg: dict[str, Any]) -> None:
    """Check what the distiller builds, before mmrazor's asserts meet it."""
    for kind in ('distill_losses', 'connectors'):
        for name, part in (cfg.get(kind) or {}).items():
            where = f'{_WHERE}.{kind}.{name}'
            # Connectors in a row.
            for each in part if isinstance(part, list) else [part]:
                check_config(each, where, MMRAZOR_MODELS)
    for kind in ('student_recorders', 'teacher_recorders'):
        for name, part in (cfg.get(kind) or {}).items():
            where = f'{_WHERE}.{kind}.{name}'
            _check_dict(where, part)
            check_choice(f'{where}.type', part.get('type'), _RECORDERS)
            check_keys(where, part, ('type', 'source'), 'a recorder')
            source = part.get('source')
            dotted = {'Function': 2, 'Method': 3}
            parts = next(
                (n for word, n in dotted.items() if word in part['type']), 1
            )
            names = source.split('.') if isinstance(source, str) else []
            if len(names) < parts or not all(names):
                raise ConfigError(
                    'a recorder needs the full name of what it records',
                    where=f'{where}.source',
                    got=source,
                    allowed=_SOURCES[parts],
                )


def _drop_looks(buffer: list[Any]) -> None:
    """Keep the outputs that carry gradients, if any does; in place."""
    trained = [output for output in buffer if _carries_gradient(output)]
    if trained:
        buffer[:] = trained


def _carries_gradient(output: Any) -> bool:
    if isinstance(output, (list, tuple)):
        return any(map(_carries_gradient, output))
    return isinstance(output, Tensor) and output.requires_grad


def _check_arguments(name: str, loss: nn.Module, given: set[str]) -> None:
    """Compare the arguments of a mapping with the signature of a loss."""
    parameters = signature(loss.forward).parameters.values()
    known = [
        p
        for p in parameters
        if p.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    ]
    names = [p.name for p in known]
    if not any(p.kind is Parameter.VAR_KEYWORD for p in parameters):
        for argument in sorted(given.difference(names)):
            raise ConfigError(
                f'the forward of {type(loss).__name__} has no argument '
                f'{argument!r}',
                where=f'{_MAPPINGS}.{name}.{argument}',
                got=argument,
                allowed=', '.join(names),
            )
    for p in known:
        needed = p.default is Parameter.empty and p.name != _SAMPLES
        if needed and p.name not in given:
            raise ConfigError(
                f'the forward of {type(loss).__name__} needs an argument '
                f'{p.name!r}, and no record is mapped to it',
                where=f'{_MAPPINGS}.{name}.{p.name}',
                got=', '.join(sorted(given)),
                fix=f"add {p.name}=dict(recorder='NAME', from_student=...)",
            )
