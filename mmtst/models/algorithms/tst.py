"""Distil a student on images searched for it (TST)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.dist import get_rank
from mmengine.model import BaseModel
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
from mmtst.models.algorithms.classifier_checks import check_classes
from mmtst.models.algorithms.ignored_label import ignored_label
from mmtst.models.algorithms.samples import (
    box_tensors,
    valid_sizes,
    with_objects,
)
from mmtst.models.algorithms.teacher_student import TeacherStudentDistill
from mmtst.models.objectives import GapObjective, GapResult
from mmtst.models.utils import (
    frozen_parameters,
    frozen_statistics,
    preserved_attributes,
)
from mmtst.registry import MODELS
from mmtst.utils.checks import check_number


@MODELS.register_module()
class TSTDistill(TeacherStudentDistill):
    """Distil on original and augmented images, the latter searched for.

    Stage III (:meth:`loss`) trains the student on each batch twice, as it is
    and augmented under the current policy: the task loss of the student plus
    the distiller's losses (Eq. 1). Stage II (:meth:`search_objective`, run by
    ``PolicySearchHook``) trains the policy alone, so that the teacher is
    right and the student wrong (Eq. 2). Stage I, the prior, comes with the
    augmentation.

    Args:
        architecture: The student; this and the next two as in
            :class:`TeacherStudentDistill`.
        teacher: The teacher.
        distiller: Config of a ``DataAugmentationDistiller``.
        augmentation: Config of the ``AugmentationEncoder``.
        objective: Config of the ``GapObjective``.
        policy: Which policy augments: ``'searched'``, or a control:
            ``'off'`` (both views are the original), ``'same_mean'``,
            ``'permuted'``, ``'randaugment'``, ``'replay:FILE'``.
        min_visible: Objects of which less is left in the frame are dropped
            from the augmented ground truth, a fraction of their area.
        guard: Options of ``draw_keeping_objects``.
        seed: Seed of the augmentation's draws; by default torch's own
            initial seed, which ``randomness.seed`` sets.
        kwargs: Passed on to :class:`TeacherStudentDistill`: the teacher's
            ``teacher_ckpt``, for instance.

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
        policy: str = 'searched',
        min_visible: float = 0.1,
        guard: dict[str, Any] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        check_control(policy)
        check_number('model.min_visible', min_visible, least=0, most=1)
        check_guard(guard or {})
        check_number('model.seed', seed, least=0, whole=True, optional=True)
        super().__init__(architecture, teacher, distiller, **kwargs)
        check_classes(self.student, self.teacher)  # of the objective
        encoder = dict(augmentation or {})
        encoder.setdefault('type', 'mmtst.AugmentationEncoder')
        self.augmentation = MODELS.build_checked(encoder, 'model.augmentation')
        self.augmentation.bind(self.data_preprocessor)
        gap = dict(objective or {})
        gap.setdefault('type', 'mmtst.GapObjective')
        self.objective: GapObjective = MODELS.build_checked(
            gap, 'model.objective'
        )
        self.objective.check(self.student, self.teacher)
        self._ignored = ignored_label(self.student, self.teacher)
        self.policy = policy
        check_control_gate(policy, self.augmentation.gate)
        # Beside the encoder's, which is clamped and which checkpoints hold.
        self._replayed = (
            read_policy(policy.removeprefix('replay:'))
            if policy.startswith('replay:')
            else None
        )
        self.min_visible = min_visible
        self.guard = dict(guard or {})
        self._seed = seed
        # One for a training: generators are seeded anew at every step.
        self._permutation = torch.initial_seed() if seed is None else seed
        self._generator: torch.Generator | None = None

    @property
    def generator(self) -> torch.Generator:
        """Return the CPU generator of the augmentation's draws."""
        if self._generator is None:
            seed = torch.initial_seed() if self._seed is None else self._seed
            seed = (seed + 1_000_003 * get_rank()) % 2**63
            self._generator = torch.Generator().manual_seed(seed)
        return self._generator

    # Stage III

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
            self._permutation,
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
        sizes = valid_sizes(inputs, samples)
        return draw_keeping_objects(
            self.augmentation,
            policy,
            sizes,
            box_tensors(sizes, samples),
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
            record,
            samples,
            min_visible=self.min_visible,
            ignore_index=self._ignored,
        )

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
        return with_objects(
            data['inputs'], data['data_samples'], self._ignored
        )

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
            inputs, samples = with_objects(inputs, samples, self._ignored)
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
