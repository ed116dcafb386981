"""Distil a student from a frozen teacher, whatever the views of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.model import BaseModel
from mmrazor.models.algorithms import SingleTeacherDistill
from mmrazor.models.utils import add_prefix
from mmrazor.registry import MODELS as MMRAZOR_MODELS
from torch import Tensor

from mmtst.models.algorithms.classifier_checks import (
    check_classes,
    check_mixing,
)
from mmtst.models.algorithms.shape_checks import check_shapes, check_stages
from mmtst.models.algorithms.shared_rois import SharedRoIs
from mmtst.models.algorithms.teacher_parts import leave_out_masks
from mmtst.models.algorithms.teacher_pass import TeacherPass
from mmtst.models.build import build_model, load_model
from mmtst.models.distillers import DataAugmentationDistiller
from mmtst.models.student_weights import take_student_weights
from mmtst.registry import MODELS, check_config
from mmtst.utils.compat import disable_inplace, mend_segmentation_losses
from mmtst.utils.errors import ConfigError
from mmtst.utils.safe_loading import install_safe_loading

# Options of the parent that are no choice here.
_FIXED = {
    'teacher_trainable': False,
    'teacher_norm_eval': True,
    'student_trainable': True,
    'calculate_student_loss': True,
}


@MODELS.register_module()
class TeacherStudentDistill(SingleTeacherDistill):  # type: ignore[misc]
    """Add a distiller's losses to the student's own, on each batch as it is.

    What every method here stands on, and by itself the algorithm of the
    baselines. Beyond mmrazor's ``SingleTeacherDistill``: student and teacher
    are named by ``cfg_path`` and ``cfg_options``; the teacher's checkpoint
    has to fit key by key; the teacher stays in evaluation mode, computes
    what is recorded and no more (no losses, no mask branch), sees images
    normalised as it was trained, and is left out of checkpoints; two-stage
    pairs are compared on the student's RoIs (:class:`SharedRoIs`).

    Args:
        architecture: The student: ``dict(cfg_path=..., cfg_options=...)``, a
            model config or a built model.
        teacher: The teacher, likewise.
        distiller: Config of a ``DataAugmentationDistiller``.
        teacher_ckpt: Checkpoint of the teacher; it must fit key by key.
        untrained_teacher: Set to ``True`` to go without ``teacher_ckpt`` (the
            teacher then has its initial weights).
        kwargs: Passed on to mmrazor's ``SingleTeacherDistill``.

    Raises:
        ConfigError: An option is impossible, the teacher's checkpoint does
            not fit, or what is recorded of the two cannot be compared.
    """

    def __init__(
        self,
        architecture: dict[str, Any] | BaseModel,
        teacher: dict[str, Any] | BaseModel,
        distiller: dict[str, Any],
        teacher_ckpt: str | None = None,
        untrained_teacher: bool = False,
        **kwargs: Any,
    ) -> None:
        install_safe_loading()  # Tools of others load after they built.
        for name, value in kwargs.items():
            if name in _FIXED and value != _FIXED[name]:
                raise ConfigError(
                    f'{type(self).__name__} does not take {name}',
                    where=f'model.{name}',
                    got=value,
                    allowed=str(_FIXED[name]),
                    fix="leave it out, or take mmrazor's SingleTeacherDistill",
                )
        check_config(distiller, 'model.distiller', MMRAZOR_MODELS)
        student = build_model(architecture, 'model.architecture')
        built_teacher = build_model(teacher, 'model.teacher')
        self._load_teacher(built_teacher, teacher_ckpt, untrained_teacher)
        leave_out_masks(built_teacher, student)
        check_stages(student, built_teacher, distiller)
        shared_rois = SharedRoIs.between(student, built_teacher, distiller)
        super().__init__(
            distiller=distiller,
            teacher=built_teacher,
            architecture=student,
            **kwargs,
        )
        check_mixing(self.student, self.data_preprocessor)
        # mmrazor's own protection does nothing on this torch: an in-place
        # activation would overwrite the features that were recorded.
        disable_inplace(self.student)
        disable_inplace(self.teacher)
        mend_segmentation_losses(self.student)
        mend_segmentation_losses(self.teacher)
        self.untrained_teacher = untrained_teacher
        self.teacher_ckpt = teacher_ckpt
        if not isinstance(self.distiller, DataAugmentationDistiller):
            raise ConfigError(
                'this algorithm needs a distiller that drops its records '
                'after each step',
                where='model.distiller.type',
                got=type(self.distiller).__name__,
                allowed='mmtst.DataAugmentationDistiller',
                fix="set it; all other keys of a ConfigurableDistiller's "
                'config can stay',
            )
        recorders = self.distiller.teacher_recorders.recorders.values()
        if any(recorder.source.startswith('head') for recorder in recorders):
            check_classes(self.student, self.teacher)
        self._teacher_pass = TeacherPass(
            self.teacher,
            self.data_preprocessor,
            # What is no module may be called anywhere: all has to run.
            [
                recorder.source
                if type(recorder).__name__.startswith('Module')
                else None
                for recorder in recorders
            ],
            shared_rois,
        )
        check_shapes(self.distiller, self.student, self.teacher)
        self._register_state_dict_hook(_leave_teacher_out)
        self._register_load_state_dict_pre_hook(self._keep_own_teacher)

    @staticmethod
    def _load_teacher(
        teacher: BaseModel, path: str | None, untrained: bool
    ) -> None:
        if path is not None:
            load_model(teacher, path, 'model.teacher_ckpt')
        elif not untrained:
            raise ConfigError(
                'no checkpoint of the teacher',
                where='model.teacher_ckpt',
                allowed='a file or URL',
                fix='set model.teacher_ckpt, or say that an untrained '
                'teacher is meant with model.untrained_teacher=True',
            )

    def _keep_own_teacher(
        self, state_dict: dict[str, Tensor], prefix: str, *_: Any
    ) -> None:
        """Fill in the teacher, which checkpoints do not hold."""
        if not prefix:
            take_student_weights(self, self.student, state_dict)
        for name, value in self.teacher.state_dict().items():
            state_dict.setdefault(f'{prefix}teacher.{name}', value)

    def __getattr__(self, name: str) -> Any:
        """Hand out what the student has and the algorithm has not.

        Hooks of others ask the model that is trained for its ``bbox_head``,
        ``head`` or ``set_epoch``. Only reading goes on to the student; hooks
        that set attributes of the model itself are refused by
        ``check_foreign_hooks``.
        """
        try:
            return super().__getattr__(name)
        except AttributeError:
            student = self.__dict__.get('_modules', {}).get('architecture')
            # Private names belong to protocols (copy, DDP, compile) that ask
            # each object for itself; `module` is how wrappers are told.
            if (
                student is None
                or name.startswith('_')
                or name == 'module'
                or not hasattr(student, name)
            ):
                raise
            return getattr(student, name)

    def train(self, mode: bool = True) -> TeacherStudentDistill:
        """Set the mode of all but the teacher, which stays in eval."""
        super().train(mode)
        self.teacher.eval()
        return self

    def loss(
        self, batch_inputs: Tensor, data_samples: Any = None
    ) -> dict[str, Tensor]:
        """Compute the losses of one step on the views of a batch.

        Args:
            batch_inputs: (B, 3, H, W), as the data preprocessor gives them.
            data_samples: The B samples.

        Returns:
            ``student.*``, the task losses on all views, ``distill.*``, and
            ``augment.*`` for the log.
        """
        inputs, samples, stats = self.views(batch_inputs, data_samples)
        try:
            with self._teacher_pass.listening():
                losses = self._step_losses(inputs, samples)
        finally:  # No activation outlives its step, not even a failed one.
            self.distiller.clear_records()
        for name, value in stats.items():
            losses[f'augment.{name}'] = batch_inputs.new_tensor(value)
        return losses

    def _step_losses(
        self, inputs: Tensor, samples: list[Any]
    ) -> dict[str, Tensor]:
        """Run student, then teacher, on all views."""
        self.distiller.set_deliveries_override(False)
        with self.distiller.recording('student'):
            student_losses = self.student(inputs, samples, mode='loss')
        losses: dict[str, Tensor] = add_prefix(student_losses, 'student')
        if self.distillation_stopped:
            return losses
        self.distiller.set_deliveries_override(True)
        with self.distiller.recording('teacher'):
            self._teacher_pass.run(inputs, samples)
        distilled = self.distiller.compute_and_clear(samples)
        losses.update(add_prefix(distilled, 'distill'))
        return losses

    def views(
        self, inputs: Tensor, samples: Sequence[Any]
    ) -> tuple[Tensor, list[Any], dict[str, float]]:
        """Return what the student is trained on in one step.

        Args:
            inputs: (B, 3, H, W), as the data preprocessor gives them.
            samples: The B samples.

        Returns:
            (V, 3, H, W) images, here the same; their V samples; numbers for
            the log.
        """
        return inputs, list(samples), {}

    def teacher_inputs(self, inputs: Tensor, samples: Sequence[Any]) -> Tensor:
        """Normalize images as the teacher expects them.

        Args:
            inputs: (B, 3, H, W), normalized for the student.
            samples: The B samples.
        """
        return self._teacher_pass.inputs(inputs, samples)


def _leave_teacher_out(
    module: TeacherStudentDistill,
    state_dict: dict[str, Tensor],
    prefix: str,
    _: Any,
) -> None:
    """Drop the teacher from a state dict: its own file holds it."""
    for name in [k for k in state_dict if k.startswith(f'{prefix}teacher.')]:
        del state_dict[name]
