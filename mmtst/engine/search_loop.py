"""Train the policy by gradient on a frozen student and teacher (Stage II)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from mmengine.dist import get_rank
from torch import Tensor

from mmtst.augmentation.base import Policy
from mmtst.engine.budget import (
    mean_rate,
    tangent_gradient,
    with_mean_rate,
)
from mmtst.engine.policy_log import describe_policy
from mmtst.engine.randomness import derive_seed, seed_all
from mmtst.engine.search_step import StepOutcome
from mmtst.engine.search_types import (
    GUARD,
    PARTS,
    SearchModel,
    SearchOptions,
    SearchSummary,
)
from mmtst.models.objectives.gap_result import GapResult
from mmtst.utils.errors import ConfigError, TrainingError


class PolicySearch:
    """Minimize the gap objective over ``th_p`` and ``th_m`` alone.

    Works on detached leaf copies; the encoder's buffers get the result after
    every step. Gradients come from ``torch.autograd.grad``, are averaged over
    the ranks, clipped and given to SGD. All random numbers come from (seed,
    step, rank). Run it inside the model's ``search_mode()``.

    Args:
        model: Student, teacher and augmentation.
        options: The numbers.
        seed: This search's own, the same on all ranks.
        autocast: Makes the context in which the objective is evaluated.
        logger: For messages; quiet on all ranks but the first.
        on_log: Gets one entry for each logged step and a final one.
    """

    def __init__(
        self,
        model: SearchModel,
        options: SearchOptions,
        *,
        seed: int,
        autocast: Callable[[], AbstractContextManager[Any]],
        logger: logging.Logger,
        on_log: Callable[[dict[str, Any]], None],
    ) -> None:
        self.model = model
        self.options = options
        self.seed = seed
        self.autocast = autocast
        self.logger = logger
        self.on_log = on_log
        self.rank = get_rank()
        self.loss_scale = options.loss_scale
        self.empty = self.nonfinite = self.overflows = 0
        self.gradients: list[Tensor] = []

    def run(self, batches: Iterator[dict[str, Any]]) -> SearchSummary:
        """Search.

        Args:
            batches: Yields at least ``options.iterations`` batches.

        Returns:
            What was done; the policy is in the encoder's buffers.

        Raises:
            TrainingError: If the objective was not finite too often, or does
                not depend on the policy. The buffers then hold the last good
                policy.
        """
        options = self.options
        began = time.time()
        start = self.model.augmentation.policy.detach()
        self._begin(start)
        with _temperature(self.model.augmentation, options.temperature):
            for step in range(options.iterations):
                batch = next(batches)
                outcome = self._measure(batch, step).reduced()
                if step % options.log_interval == 0:
                    self._log(step, outcome, time.time() - began)
                self._advance(step, outcome)
                self._end_of_epoch(step, outcome)
        end = self.model.augmentation.policy.detach()
        self.on_log(
            dict(
                step=options.iterations,
                lr=self._lr,
                **describe_policy(end),
                final=True,
            )
        )
        gradients = (
            torch.stack(self.gradients)
            if self.gradients
            else torch.zeros(0, 25, dtype=torch.float64)
        )
        return SearchSummary(
            start=start,
            end=end,
            iterations=options.iterations,
            updates=len(gradients),
            empty=self.empty,
            nonfinite=self.nonfinite,
            overflows=self.overflows,
            gradients=gradients,
            lr=self._lr,
            seconds=time.time() - began,
            form=self.form,
        )

    def probe(self, batch: dict[str, Any]) -> None:
        """Take one step to see that it can be taken, and take it back.

        Args:
            batch: One batch.

        Raises:
            ConfigError: A loss of the student cannot be inverted, or
                something cannot be differentiated.
            TrainingError: The objective does not depend on the policy.
        """
        start = self.model.augmentation.policy.detach()
        self._begin(start)
        self._parts_logged = True
        try:
            self._measure(batch, 0)
        finally:
            self.model.augmentation.write_policy(start)

    def _begin(self, start: Policy) -> None:
        """Set leaves, optimizer and budget up, and the policy to fall to."""
        budget = self.options.budget
        self.form = self.model.augmentation.gate
        self.budget = (
            mean_rate(start, self.form) if budget == 'hold' else budget
        )
        self.policy = start.leaf()
        self.last_good = start
        self._parts_logged = False
        self.epoch_objectives: list[float] = []
        self.last_epoch_mean: float | None = None
        self.optimizer = torch.optim.SGD(
            list(self.policy),
            lr=self.options.lr,
            momentum=self.options.momentum,
        )
        if self.budget is not None:
            self._write_back()
            self.last_good = self.policy.detach()

    def _measure(self, batch: dict[str, Any], step: int) -> StepOutcome:
        """Evaluate objective and gradient on this rank's batch."""
        # Preprocessors draw too, where they mix images.
        seed_all(self._seed('batch', step))
        inputs, data_samples = self.model.prepare_search_batch(batch)
        if len(data_samples) == 0:
            return StepOutcome()
        generator = torch.Generator()
        generator.manual_seed(self._seed('draw', step))
        draw, guard = self.model.draw_views(
            inputs, data_samples, self.policy.detach(), generator
        )
        seed_all(self._seed('objective', step))
        with self.autocast():
            result = self.model.search_objective(
                inputs, data_samples, self.policy, draw
            )
        if result is None:
            return StepOutcome()
        objective = float(result.total.detach())
        if not _finite(objective):
            return StepOutcome(bad=1.0)
        if not self._parts_logged:
            self._log_part_gradients(result)
        gradient = self._gradient(result.total)
        if not bool(gradient.isfinite().all()):
            scaled = self.loss_scale > 1
            return (
                StepOutcome(overflow=1.0) if scaled else StepOutcome(bad=1.0)
            )
        return StepOutcome(
            gradient=gradient,
            objective=objective,
            parts={name: float(result.parts[name]) for name in PARTS},
            guard={name: float(getattr(guard, name)) for name in GUARD},
            positives=result.positives,
            gaps=(result.gap_rate or 0.0) * result.positives,
            compared=0 if result.gap_rate is None else result.positives,
            valid=1.0,
        )

    def _gradient(self, total: Tensor) -> Tensor:
        """Return the gradient in the 25 parameters, float64 on the CPU."""
        if not total.requires_grad:
            raise TrainingError(
                'The search objective does not depend on the policy: no '
                'gradient path leads from the losses to th_p or th_m. '
                'Something between augmentation and losses detaches the '
                'images (a backbone under torch.no_grad(), for instance).'
            )
        try:
            gradients = torch.autograd.grad(
                total * self.loss_scale, list(self.policy), allow_unused=True
            )
        except RuntimeError as error:
            if 'reentrant' not in str(error):
                raise
            raise ConfigError(
                'activation checkpointing keeps the search from its gradient',
                where='model.architecture or model.teacher: with_cp',
                got=True,
                allowed='False',
                fix='set backbone.with_cp=False in cfg_options',
            ) from error
        flat = [
            torch.zeros_like(leaf) if gradient is None else gradient
            for leaf, gradient in zip(self.policy, gradients, strict=True)
        ]
        return torch.cat(flat).detach().cpu().double() / self.loss_scale

    def _advance(self, step: int, outcome: StepOutcome) -> None:
        """Update the policy, or say why not; the same way on all ranks."""
        if outcome.bad:
            self._recover(step)
            return
        if outcome.overflow:
            self.overflows += 1
            self.loss_scale = max(1.0, self.loss_scale / 2)
            return
        if not outcome.valid:
            self.empty += 1
            return
        self.last_good = self.policy.detach()
        self.epoch_objectives.append(outcome.objective)
        gradient = outcome.gradient
        if self.budget is not None:
            gradient = tangent_gradient(gradient, self.last_good, self.form)
        self.gradients.append(gradient)
        split = torch.split(gradient, [len(leaf) for leaf in self.policy])
        for leaf, piece in zip(self.policy, split, strict=True):
            leaf.grad = piece.to(leaf)
        if self.options.clip_grad is not None:
            torch.nn.utils.clip_grad_norm_(
                list(self.policy), self.options.clip_grad
            )
        self.optimizer.step()
        self._write_back()

    def _write_back(self) -> None:
        """Bring the leaves into their limits and into the encoder."""
        encoder = self.model.augmentation
        encoder.write_policy(self.policy.detach())
        if self.budget is not None:
            held = with_mean_rate(
                encoder.policy.detach(),
                self.budget,
                encoder.clamp_theta,
                self.form,
            )
            encoder.write_policy(held)
        with torch.no_grad():
            for leaf, value in zip(self.policy, encoder.policy, strict=True):
                leaf.copy_(value)

    def _recover(self, step: int) -> None:
        """Go back to the last policy whose objective was finite."""
        self.nonfinite += 1
        self.model.augmentation.write_policy(self.last_good)
        with torch.no_grad():
            for leaf, value in zip(self.policy, self.last_good, strict=True):
                leaf.copy_(value)
        # The momentum led here.
        self.optimizer.state.clear()
        self.logger.warning(
            'Search step %d: objective or gradient is not finite; the last '
            'good policy was restored and the step left out (%d of at most '
            '%d).',
            step,
            self.nonfinite,
            self.options.max_nonfinite,
        )
        if self.nonfinite >= self.options.max_nonfinite:
            raise TrainingError(
                f'The search objective or its gradient was not finite '
                f'{self.nonfinite} times, last at step {step}. Look at the '
                'training loss just before this search (has the student '
                'diverged?), at the loss scale and dtype if the training '
                'runs under autocast, at search lr and clip_grad, and at '
                'the images and annotations of these batches. '
                'PolicySearchHook(max_nonfinite=...) sets how many are '
                'passed over.'
            )

    def _end_of_epoch(self, step: int, outcome: StepOutcome) -> None:
        """Lower the learning rate where an epoch brought little (ALRS)."""
        options = self.options
        done = step + 1
        at_end = done % options.steps_per_epoch == 0
        if options.alrs is None or not at_end or done == options.iterations:
            return
        objectives, self.epoch_objectives = self.epoch_objectives, []
        if not objectives:
            return
        mean = sum(objectives) / len(objectives)
        last, self.last_epoch_mean = self.last_epoch_mean, mean
        if last is None:
            return
        threshold, factor = options.alrs
        gain = last - mean
        if gain < threshold and abs(gain) < threshold * abs(last):
            for group in self.optimizer.param_groups:
                group['lr'] *= factor

    @property
    def _lr(self) -> float:
        return float(self.optimizer.param_groups[0]['lr'])

    def _seed(self, stream: str, step: int) -> int:
        return derive_seed(self.seed, stream, step, self.rank)

    def _log_part_gradients(self, result: GapResult) -> None:
        """Say how strongly each part pulls at the policy."""
        self._parts_logged = True
        norms = result.part_gradients(list(self.policy))
        words = ', '.join(f'{key} {norm:.3g}' for key, norm in norms.items())
        self.logger.info('Norm of the policy gradient by part: %s', words)

    def _log(self, step: int, outcome: StepOutcome, seconds: float) -> None:
        """Hand out one entry, and write a line with the time left."""
        entry: dict[str, Any] = dict(
            step=step,
            lr=self._lr,
            **describe_policy(self.policy.detach()),
        )
        if outcome.valid:
            entry.update(
                objective=outcome.objective,
                parts=outcome.parts,
                grad_norm=float(outcome.gradient.norm()),
                positives=outcome.positives,
                **outcome.guard,
            )
            if outcome.compared:
                entry['gap_rate'] = outcome.gaps / outcome.compared
        self.on_log(entry)
        rest = (self.options.iterations - step - 1) * seconds / (step + 1)
        self.logger.info(
            'Search step %d of %d: objective %s, mean rate %.3f, '
            'about %d s left',
            step,
            self.options.iterations,
            f'{outcome.objective:.4f}' if outcome.valid else 'none',
            mean_rate(self.policy, self.form),
            rest,
        )


def _finite(value: float) -> bool:
    return value - value == 0


@contextmanager
def _temperature(encoder: Any, value: float | None) -> Iterator[None]:
    """Set the temperature of the gates for a while."""
    before = encoder.temperature
    if value is not None:
        encoder.temperature = value
    try:
        yield
    finally:
        encoder.temperature = before
