"""What a sceptic puts in the place of Stage II, for arms of a matrix.

Loaded by ``custom_imports.imports=['mmtst','benchmarks.sceptics']``.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.dist import get_world_size
from torch import Tensor

from mmtst.augmentation import AugmentationEncoder, AugmentDraw, Policy
from mmtst.augmentation.base import AugmentRecord
from mmtst.engine.hooks import PolicySearchHook
from mmtst.engine.policy_log import describe_policy
from mmtst.engine.randomness import seed_all
from mmtst.engine.search_loop import PolicySearch
from mmtst.engine.search_types import SearchSummary
from mmtst.models.objectives import GapObjective, GapResult
from mmtst.registry import HOOKS, MODELS
from mmtst.utils.errors import ConfigError


@MODELS.register_module()
class TiedEncoder(AugmentationEncoder):
    """Have one rate and one magnitude for all operators.

    The gradient is spread evenly over all of them, so that a policy that
    starts uniform stays so: a search in two dimensions.
    """

    def resolve(
        self,
        draw: AugmentDraw,
        policy: Policy | None = None,
        temperature: float | None = None,
    ) -> AugmentRecord:
        """Resolve under the means of the parameters."""
        given = self.policy if policy is None else policy
        tied = (theta.mean().expand_as(theta) for theta in given)
        return super().resolve(draw, Policy(*tied), temperature)


@MODELS.register_module()
class FlippedObjective(GapObjective):
    """Search for what the teacher gets wrong and the student right."""

    def forward(self, *args: Any, **kwargs: Any) -> GapResult:
        """Turn the sign of the objective."""
        result = super().forward(*args, **kwargs)
        return dataclasses.replace(result, total=-result.total)


class RandomSearch(PolicySearch):
    """Try policies at random, and keep the best.

    Rates and magnitudes are uniform in [0, 1], as far as the encoder's clamp
    lets them; the first trial is the policy there is. Each is measured on the
    same ``batches_each`` batches with the same draws. A step of the
    gradient's search is worth two evaluations: with weights frozen, its
    backward pass costs about one forward pass.

    Raises:
        ConfigError: A budget or another temperature is asked for, or there
            are several processes: this knows neither.
    """

    batches_each = 8

    def run(self, batches: Iterator[dict[str, Any]]) -> SearchSummary:
        """Search."""
        began = time.time()
        self._refuse_what_is_unknown()
        encoder = self.model.augmentation
        start = encoder.policy.detach()
        held = [next(batches) for _ in range(self.batches_each)]
        trials = max(2, 2 * self.options.iterations // self.batches_each)
        generator = torch.Generator().manual_seed(self._seed('trials', 0))
        best, lowest = start, float('inf')
        moved = False
        for trial in range(trials):
            encoder.write_policy(
                start if trial == 0 else _uniform(start, generator)
            )
            policy = encoder.policy.detach()
            value = self._mean_objective(held, policy)
            if trial % self.options.log_interval == 0:
                self.on_log(
                    dict(step=trial, lr=0.0, **describe_policy(policy))
                )
                self.logger.info(
                    'Random search: trial %d of %d, objective %.4f, best '
                    'before %.4f',
                    trial,
                    trials,
                    value,
                    lowest,
                )
            if value < lowest:
                best, lowest, moved = policy, value, trial > 0
        encoder.write_policy(best)
        self.on_log(
            dict(step=trials, lr=0.0, **describe_policy(best), final=True)
        )
        return SearchSummary(
            start=start,
            end=encoder.policy.detach(),
            iterations=trials,
            updates=int(moved),
            empty=0,
            nonfinite=0,
            overflows=0,
            gradients=torch.zeros(0, 25, dtype=torch.float64),
            lr=0.0,
            seconds=time.time() - began,
            form=encoder.gate,
        )

    def _refuse_what_is_unknown(self) -> None:
        options = self.options
        for name, value, allowed in (
            ('budget', options.budget, None),
            ('search_temperature', options.temperature, None),
            ('number of processes', get_world_size(), 1),
        ):
            if value != allowed:
                raise ConfigError(
                    'the random search does not know this',
                    where=f'RandomSearchHook: {name}',
                    got=value,
                    allowed=str(allowed),
                )

    @torch.no_grad()
    def _mean_objective(
        self, batches: list[dict[str, Any]], policy: Policy
    ) -> float:
        values = []
        for index, batch in enumerate(batches):
            seed_all(self._seed('batch', index))
            inputs, samples = self.model.prepare_search_batch(batch)
            if not len(samples):
                continue
            seed = self._seed('draw', index)
            draw, _ = self.model.draw_views(
                inputs, samples, policy, torch.Generator().manual_seed(seed)
            )
            seed_all(self._seed('objective', index))
            with self.autocast():
                result = self.model.search_objective(
                    inputs, samples, policy, draw
                )
            if result is not None:
                values.append(float(result.total))
        return sum(values) / len(values) if values else float('inf')


@HOOKS.register_module()
class RandomSearchHook(PolicySearchHook):
    """Search at random, at the compute of the gradient's search."""

    search_class = RandomSearch


def _uniform(like: Policy, generator: torch.Generator) -> Policy:
    """Draw rates and magnitudes."""

    def draw(theta: Tensor) -> Tensor:
        drawn = torch.rand(len(theta), generator=generator)
        return torch.logit(drawn, eps=1e-3).to(theta)

    return Policy(draw(like.th_p), draw(like.th_m))
