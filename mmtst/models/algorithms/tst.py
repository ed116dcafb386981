"""Distil a student on images searched for it (TST)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.dist import get_rank
from mmengine.model import BaseModel
from mmrazor.models.algorithms import SingleTeacherDistill
from mmrazor.models.utils import add_prefix
from torch import Tensor

from mmtst.augmentation import (
    AugmentationEncoder,
    AugmentDraw,
    Policy,
)
from mmtst.augmentation.appliers import apply_to_samples
from mmtst.augmentation.controls import (
    check_control,
    check_control_gate,
    control_policy,
    read_policy,
)
from mmtst.augmentation.object_guard import (
    GuardStats,
    check_guard,
    draw_keeping_objects,
)
from mmtst.models.algorithms.samples import (
    box_tensors,
    valid_sizes,
    with_objects,
)
from mmtst.models.algorithms.shared_rois import SharedRoIs
from mmtst.models.algorithms.teacher_parts import leave_out_masks
from mmtst.models.algorithms.teacher_pass import TeacherPass
from mmtst.models.build import build_model, load_model
from mmtst.models.objectives import GapObjective, GapResult
from mmtst.models.utils import (
    frozen_parameters,
    frozen_statistics,
    preserved_attributes,
)
from mmtst.registry import MODELS
from mmtst.utils.checks import check_number
from mmtst.utils.compat import disable_inplace
from mmtst.utils.errors import ConfigError
from mmtst.utils.safe_loading import install_safe_loading

# Options of the parent that TST leaves no choice in.
_FIXED = {
    'teacher_trainable': False,
    'teacher_norm_eval': True,
    'student_trainable': True,
    'calculate_student_loss': True,
}


@MODELS.register_module()
class TSTDistill(SingleTeacherDistill):  # type: ignore[misc]
    """Distil on original and augmented images, the latter searched for.

    Stage III (:meth:`loss`) trains the student on each batch twice, as it is
    and augmented under the current policy: the task loss of the student plus
    the distiller's losses (Eq. 1). Stage II (:meth:`search_objective`, run by
    ``PolicySearchHook``) trains the policy alone, so that the teacher is
    right and the student wrong (Eq. 2). Stage I, the prior, comes with the
    augmentation.

    Args:
        architecture: The student: ``dict(cfg_path=..., cfg_options=...)``, a
            model config or a built model.
        teacher: The teacher, likewise.
        distiller: Config of a ``DataAugmentationDistiller``.
        augmentation: Config of the ``AugmentationEncoder``.
        objective: Config of the ``GapObjective``.
        teacher_ckpt: Checkpoint of the teacher; it must fit key by key.
        untrained_teacher: Set to ``True`` to go without ``teacher_ckpt`` (the
            teacher then has its initial weights).
        policy: Which policy augments: ``'searched'``, or a control:
            ``'off'`` (both views are the original), ``'same_mean'``,
            ``'permuted'``, ``'randaugment'``, ``'replay:FILE'``.
        min_visible: Objects of which less is left in the frame are dropped
            from the augmented ground truth, a fraction of their area.
        guard: Options of ``draw_keeping_objects``.
        seed: Seed of the augmentation's draws; by default torch's own
            initial seed, which ``randomness.seed`` sets.
        kwargs: Passed on to mmrazor's ``SingleTeacherDistill``.

    Raises:
        ConfigError: An option is impossible, or the teacher's checkpoint
            does not fit.
    """

    augmentation: AugmentationEncoder

    def __init__(
        self,
        architecture: dict[str, Any] | BaseModel,
        teacher: dict[str, Any] | BaseModel,
        distiller: dict[str, Any],
        augmentation: dict[str, Any] | None = None,
        objective: dict[str, Any] | None = None,
        teacher_ckpt: str | None = None,
        untrained_teacher: bool = False,
        policy: str = 'searched',
        min_visible: float = 0.1,
        guard: dict[str, Any] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        install_safe_loading()  # Tools of others load after they built.
        check_control(policy)
        for name, value in kwargs.items():
            if name in _FIXED and value != _FIXED[name]:
                raise ConfigError(
                    f'TSTDistill does not take {name}',
                    where=f'model.{name}',
                    got=value,
                    allowed=str(_FIXED[name]),
                    fix="leave it out, or take mmrazor's SingleTeacherDistill",
                )
        student = build_model(architecture, 'model.architecture')
        built_teacher = build_model(teacher, 'model.teacher')
        self._load_teacher(built_teacher, teacher_ckpt, untrained_teacher)
        leave_out_masks(built_teacher, student)
        shared_rois = SharedRoIs.between(student, built_teacher, distiller)
        super().__init__(
            distiller=distiller,
            teacher=built_teacher,
            architecture=student,
            **kwargs,
        )
        # mmrazor's own protection does nothing on this torch: an in-place
        # activation would overwrite the features that were recorded.
        disable_inplace(self.student)
        disable_inplace(self.teacher)
        encoder = dict(augmentation or {})
        encoder.setdefault('type', 'mmtst.AugmentationEncoder')
        self.augmentation = MODELS.build(encoder)
        self.augmentation.bind(self.data_preprocessor)
        gap = dict(objective or {})
        gap.setdefault('type', 'mmtst.GapObjective')
        self.objective: GapObjective = MODELS.build(gap)
        self.objective.check(self.student)
        self.untrained_teacher = untrained_teacher
        self.teacher_ckpt = teacher_ckpt
        self.policy = policy
        check_control_gate(policy, self.augmentation.gate)
        # Beside the encoder's, which is clamped and which checkpoints hold.
        self._replayed = (
            read_policy(policy.removeprefix('replay:'))
            if policy.startswith('replay:')
            else None
        )
        self.min_visible = min_visible
        check_number('model.min_visible', min_visible, least=0, most=1)
        self.guard = dict(guard or {})
        check_guard(self.guard)
        self._seed = seed
        self._generator: torch.Generator | None = None
        recorders = self.distiller.teacher_recorders.recorders.values()
        self._teacher_pass = TeacherPass(
            self.teacher,
            self.data_preprocessor,
            [recorder.source for recorder in recorders],
            shared_rois,
        )
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
        for name, value in self.teacher.state_dict().items():
            state_dict.setdefault(f'{prefix}teacher.{name}', value)

    def train(self, mode: bool = True) -> TSTDistill:
        """Set the mode of all but the teacher, which stays in eval."""
        super().train(mode)
        self.teacher.eval()
        return self

    @property
    def generator(self) -> torch.Generator:
        """Return the CPU generator of the augmentation's draws."""
        if self._generator is None:
            seed = torch.initial_seed() if self._seed is None else self._seed
            seed = (seed + 1_000_003 * get_rank()) % 2**63
            self._generator = torch.Generator().manual_seed(seed)
        return self._generator

    # Stage III

    def loss(
        self, batch_inputs: Tensor, data_samples: Any = None
    ) -> dict[str, Tensor]:
        """Compute the losses of one Stage III step.

        Args:
            batch_inputs: (B, 3, H, W), as the data preprocessor gives them.
            data_samples: The B samples.

        Returns:
            ``student.*``, the task losses on all 2B images, ``distill.*``,
            and ``augment.*`` for the log.
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
        """Run student, then teacher, on both views."""
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

    @torch.no_grad()
    def views(
        self, inputs: Tensor, samples: Sequence[Any]
    ) -> tuple[Tensor, list[Any], dict[str, float]]:
        """Put the originals and their augmented views into one batch.

        Returns:
            (2B, 3, H, W) images, originals first; their 2B samples; what
            the object guard has to say.
        """
        if self.policy == 'off':
            return torch.cat([inputs, inputs]), [*samples, *samples], {}
        policy = control_policy(
            self.policy,
            self.augmentation.policy,
            self.generator,
            self._replayed,
        )
        draw, stats = self.draw_views(inputs, samples, policy, self.generator)
        augmented, augmented_samples = self._augment(
            inputs, samples, policy, draw
        )
        logged = {
            name: getattr(stats, name)
            for name in ('objects_kept', 'visible_area', 'redraws')
        }
        views = torch.cat([inputs, augmented])
        return views, [*samples, *augmented_samples], logged

    def draw_views(
        self,
        inputs: Tensor,
        samples: Sequence[Any],
        policy: Policy,
        generator: torch.Generator,
    ) -> tuple[AugmentDraw, GuardStats]:
        """Draw the randomness of one batch, keeping objects in view.

        Args:
            inputs: (B, 3, H, W); its device is the draw's.
            samples: The B samples; boxes are read where they have any.
            policy: Under which the objects must be kept.
            generator: A CPU generator.
        """
        return draw_keeping_objects(
            self.augmentation,
            policy,
            valid_sizes(inputs, samples),
            box_tensors(inputs, samples),
            generator,
            **self.guard,
        )

    def _augment(
        self,
        inputs: Tensor,
        samples: Sequence[Any],
        policy: Policy,
        draw: AugmentDraw,
    ) -> tuple[Tensor, list[Any]]:
        record = self.augmentation.resolve(draw, policy)
        augmented = self.augmentation.augment(inputs, record)
        return augmented, apply_to_samples(
            record, samples, min_visible=self.min_visible
        )

    def teacher_inputs(self, inputs: Tensor, samples: Sequence[Any]) -> Tensor:
        """Normalize images as the teacher expects them.

        Args:
            inputs: (B, 3, H, W), normalized for the student.
            samples: The B samples.
        """
        return self._teacher_pass.inputs(inputs, samples)

    # Stage II

    @contextmanager
    def search_mode(self) -> Iterator[None]:
        """Hold all but the policy still, and restore everything after."""
        models = (self.student, self.teacher)
        with (
            frozen_statistics(*models),
            frozen_parameters(*models),
            preserved_attributes(self.data_preprocessor),
        ):
            yield

    def prepare_search_batch(
        self, data: dict[str, Any]
    ) -> tuple[Tensor, list[Any]]:
        """Preprocess a batch and leave out images without objects.

        Returns:
            (B', 3, H, W) images and their samples; B' may be 0.
        """
        data = self.data_preprocessor(data, True)
        return with_objects(data['inputs'], data['data_samples'])

    def search_objective(
        self,
        inputs: Tensor,
        samples: Sequence[Any],
        policy: Policy,
        draw: AugmentDraw | None,
    ) -> GapResult | None:
        """Compute the objective of Stage II (Eq. 2) on one batch.

        Args:
            inputs: (B, 3, H, W), from :meth:`prepare_search_batch`.
            samples: Their samples.
            policy: Where the gradient goes.
            draw: The randomness; ``None`` evaluates the originals.

        Returns:
            The objective, minimised by the search; ``None`` if the draw has
            left no image with an object.
        """
        if draw is not None:
            inputs, samples = self._augment(inputs, samples, policy, draw)
            inputs, samples = with_objects(inputs, samples)
        if not len(samples):
            return None
        result: GapResult = self.objective(
            self.teacher,
            self.student,
            inputs,
            list(samples),
            teacher_inputs=self.teacher_inputs(inputs, samples),
        )
        return result


def _leave_teacher_out(
    module: TSTDistill, state_dict: dict[str, Tensor], prefix: str, _: Any
) -> None:
    """Drop the teacher from a state dict: its own file holds it."""
    for name in [k for k in state_dict if k.startswith(f'{prefix}teacher.')]:
        del state_dict[name]
