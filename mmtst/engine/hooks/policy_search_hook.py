"""Search the policy at given points of a training."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from mmengine.dist import (
    get_world_size,
    is_main_process,
)
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop

from mmtst.engine.budget import mean_rate, reachable_rates
from mmtst.engine.foreign_hooks import (
    check_foreign_hooks,
    check_switches_come_first,
)
from mmtst.engine.policy_log import PolicyLog, prepare_policy_log
from mmtst.engine.randomness import derive_seed, preserved_rng
from mmtst.engine.run_context import (
    common_seed,
    excuse_timers,
    search_model,
    training_autocast,
)
from mmtst.engine.search_checks import (
    ALRS,
    BOUNDS,
    checked_alrs,
    warn_of_stillness,
)
from mmtst.engine.search_data import (
    batches_per_epoch,
    build_search_loader,
    opened,
    train_batch_size,
)
from mmtst.engine.search_loop import PolicySearch
from mmtst.engine.search_report import build_report
from mmtst.engine.search_schedule import (
    WHERE,
    SearchSchedule,
    portable_lr,
)
from mmtst.engine.search_types import (
    SearchModel,
    SearchOptions,
)
from mmtst.registry import HOOKS
from mmtst.utils.checks import check_number
from mmtst.utils.errors import ConfigError

# Controls whose augmentation does not come from a search.
WITHOUT_SEARCH = ('off', 'randaugment', 'replay:')


@HOOKS.register_module()
class PolicySearchHook(Hook):  # type: ignore[misc]
    """Run Stage II: search the policy between steps of the training.

    Student, teacher, iteration counts, schedulers, EMA, the training's own
    batches and all global random states are afterwards what they were; only
    the policy in the model's ``augmentation`` has moved. A search takes its
    own batches from the training's data set. Each writes lines to
    ``policy.jsonl`` and a report ``search_<index>.json`` into the work dir.
    The hook keeps no state: where a resumed training stands decides which
    searches are still to come.

    Args:
        at: Epochs (0-based) or iterations *before* which to search.
        by_epoch: Whether ``at`` counts epochs. Iteration-based loops need
            ``False``.
        epochs: Length of each search in passes over the data.
        iterations: Length of each search in steps. With neither this nor
            ``epochs``: one pass, but at least 100 steps.
        lr: Learning rate of SGD; ``None`` makes lr x steps 3.9, as the paper
            has on CIFAR-100, but at most 0.1. The paper: 0.01.
        momentum: Of SGD, in [0, 1).
        clip_grad: Largest gradient norm, or ``None``. The reference code: 20
            for detection and segmentation, none for classification.
        search_temperature: Of the gates during the search, over 0; ``None``
            for that of Stage III.
        budget: Hold the mean rate of application, so that the search decides
            only *which* operators: a rate in (0, 1), or ``'hold'`` for the
            one at the start of each search. ``None`` leaves it free.
        batch_size: Images per step and process; ``None`` as the training.
        report_batches: Fixed batches (per process) that the report at the
            end of each search is measured on; 0 leaves the comparison out.
        max_nonfinite: A search stops the training at this many objectives
            or gradients that are not finite; fewer are passed over.
        log_interval: Steps between log lines.
        alrs: ``dict(threshold=..., factor=...)``: between the epochs of a
            search, multiply lr by ``factor`` where the mean objective fell
            by less than ``threshold``, absolutely and relatively. Acts only
            where ``epochs`` is over 1. ``None`` switches it off.
        seed: Of all searches; ``None`` takes the run's.
        probe: Whether to try one search step before the training starts, so
            that what cannot be searched is found then and not hours later.

    Raises:
        ConfigError: An option cannot be used; at the start of the training
            also where ``at`` lies past its end or the model cannot be
            searched.
    """

    # After hooks of normal priority: those that switch pipelines or losses at
    # the same epoch, on resuming also at an earlier one, have done so.
    priority = 'BELOW_NORMAL'
    # How a search goes about it, for those who compare with another way.
    search_class = PolicySearch

    def __init__(
        self,
        at: Sequence[int],
        by_epoch: bool = True,
        epochs: int | None = None,
        iterations: int | None = None,
        lr: float | None = None,
        momentum: float = 0.9,
        clip_grad: float | None = 20.0,
        search_temperature: float | None = None,
        budget: float | Literal['hold'] | None = None,
        batch_size: int | None = None,
        report_batches: int = 4,
        max_nonfinite: int = 3,
        log_interval: int = 10,
        alrs: Mapping[str, float] | None = ALRS,
        seed: int | None = None,
        probe: bool = True,
    ) -> None:
        self.schedule = SearchSchedule(at, by_epoch, epochs, iterations)
        self.lr = lr
        self.momentum = momentum
        self.clip_grad = clip_grad
        self.search_temperature = search_temperature
        self.budget = budget
        self.batch_size = batch_size
        self.report_batches = report_batches
        self.max_nonfinite = max_nonfinite
        self.log_interval = log_interval
        self.alrs = checked_alrs(alrs)
        self.seed = seed
        self.probe = probe
        for name, bounds in BOUNDS.items():
            check_number(f'{WHERE}.{name}', getattr(self, name), **bounds)

    def before_train(self, runner: Any) -> None:
        """Check what can be checked, before anything is lost."""
        loop = runner.train_loop
        check_foreign_hooks(runner)
        check_switches_come_first(runner, self)
        self.schedule.check_loop(
            epoch_based=not isinstance(loop, IterBasedTrainLoop),
            max_epochs=runner.max_epochs,
            max_iters=runner.max_iters,
        )
        model = search_model(runner)
        options = self._options(runner)
        self._check_budget(model)
        self._common_seed = common_seed(self.seed, runner)
        self._without_search = str(
            getattr(model, 'policy', 'searched')
        ).startswith(WITHOUT_SEARCH)
        if self._without_search:
            runner.logger.info(
                "No policy search: model.policy='%s' says what augments.",
                getattr(model, 'policy', ''),
            )
        else:
            if self.alrs is not None and options.alrs is None:
                runner.logger.info(
                    'ALRS acts between the epochs of a search only: it does '
                    'nothing in searches of one epoch or of a number of steps.'
                )
            self._probe(runner)
        self._log = PolicyLog(None)
        if is_main_process():
            path = Path(runner.work_dir) / 'policy.jsonl'
            prepare_policy_log(
                path, runner.iter, runner.timestamp, runner.logger
            )
            self._log = PolicyLog(path)

    def before_train_epoch(self, runner: Any) -> None:
        """Search, if this epoch is one of the times."""
        if self.schedule.by_epoch:
            self._search_if_due(runner, runner.epoch)

    def before_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Search, if this iteration is one of the times.

        The batch that was fetched for it is trained on afterwards.
        """
        if not self.schedule.by_epoch:
            self._search_if_due(runner, runner.iter)

    def _search_if_due(self, runner: Any, position: int) -> None:
        index = self.schedule.index(position)
        if index is None or self._without_search:
            return
        began = time.time()
        with preserved_rng():
            self._search(runner, index)
        excuse_timers(runner, time.time() - began)

    def _probe(self, runner: Any) -> None:
        """Try one search step, if a search is still to come."""
        by_epoch = self.schedule.by_epoch
        position = runner.epoch if by_epoch else runner.iter
        if not self.probe or self.schedule.at[-1:] < [position]:
            return
        model = search_model(runner)
        seed = derive_seed(self._common_seed, 'probe')
        search = self.search_class(
            model,
            self._options(runner),
            seed=seed,
            autocast=training_autocast(runner)[0],
            logger=runner.logger,
            on_log=lambda entry: None,
        )
        loader = self._loader(runner, 1, seed)
        with preserved_rng(), model.search_mode(), opened(loader) as batches:
            search.probe(next(batches))

    def _search(self, runner: Any, index: int) -> None:
        """Run one search and its report."""
        model = search_model(runner)
        options = self._options(runner)
        context, _ = training_autocast(runner)
        seed = derive_seed(self._common_seed, 'search', index)
        runner.logger.info(
            'Policy search %d of %d before %s %d: %d steps of %d x %d '
            'images, lr %.4g, mean rate %.3f',
            index + 1,
            len(self.schedule.at),
            'epoch' if self.schedule.by_epoch else 'iteration',
            self.schedule.at[index],
            options.iterations,
            get_world_size(),
            self._batch_size(runner),
            options.lr,
            mean_rate(model.augmentation.policy, model.augmentation.gate),
        )
        search = self.search_class(
            model,
            options,
            seed=seed,
            autocast=context,
            logger=runner.logger,
            on_log=partial(self._write_entry, runner, index),
        )
        with model.search_mode():
            loader = self._loader(runner, options.iterations, seed)
            with opened(loader) as batches:
                summary = search.run(batches)
            # The same batches and draws in all searches of a run.
            report_seed = derive_seed(self._common_seed, 'report')
            report = build_report(
                model,
                self._fixed_batches(runner, report_seed),
                summary,
                seed=report_seed,
                autocast=context,
            )
        if is_main_process():
            path = Path(runner.work_dir) / f'search_{index}.json'
            report.write(path)
            runner.logger.info(
                'Report of policy search %d (%s):\n%s',
                index + 1,
                path.name,
                report.table(),
            )
        warn_of_stillness(runner.logger, summary)

    def _options(self, runner: Any) -> SearchOptions:
        per_epoch = batches_per_epoch(
            runner.train_dataloader, self._batch_size(runner)
        )
        steps = self.schedule.steps(per_epoch)
        several = self.schedule.epochs is not None and self.schedule.epochs > 1
        return SearchOptions(
            iterations=steps,
            steps_per_epoch=per_epoch,
            lr=portable_lr(steps) if self.lr is None else self.lr,
            momentum=self.momentum,
            clip_grad=self.clip_grad,
            budget=self.budget,
            temperature=self.search_temperature,
            max_nonfinite=self.max_nonfinite,
            log_interval=self.log_interval,
            alrs=self.alrs if several else None,
            loss_scale=training_autocast(runner)[1],
        )

    def _batch_size(self, runner: Any) -> int:
        if self.batch_size is not None:
            return self.batch_size
        return train_batch_size(runner.train_dataloader)

    def _loader(self, runner: Any, num_batches: int, seed: int) -> Any:
        train_cfg = runner.cfg.get('train_dataloader')
        batch_sampler = None
        if isinstance(train_cfg, dict):
            batch_sampler = train_cfg.get('batch_sampler')
        return build_search_loader(
            runner.train_dataloader,
            num_batches=num_batches,
            batch_size=self._batch_size(runner),
            seed=seed,
            batch_sampler_cfg=(
                batch_sampler if isinstance(batch_sampler, dict) else None
            ),
        )

    def _fixed_batches(self, runner: Any, seed: int) -> list[Any]:
        """Take the batches that the reports are measured on."""
        if self.report_batches == 0:
            return []
        loader = self._loader(runner, self.report_batches, seed)
        with opened(loader) as batches:
            return list(batches)

    def _check_budget(self, model: SearchModel) -> None:
        """Check that the clamp on the parameters leaves the budget room."""
        if self.budget is None or self.budget == 'hold':
            return
        limit = float(model.augmentation.clamp_theta)
        low, high = reachable_rates(limit, model.augmentation.gate)
        if not low < self.budget < high:
            raise ConfigError(
                'The budget cannot be reached',
                where=f'{WHERE}.budget',
                got=self.budget,
                allowed=f'between {low:.3f} and {high:.3f}, as '
                f'model.augmentation.clamp_theta is {limit:g}',
            )

    def _write_entry(
        self, runner: Any, index: int, entry: dict[str, Any]
    ) -> None:
        """Write one entry to policy.jsonl and to the visualizer."""
        position = {
            'search': index,
            'epoch': runner.epoch,
            'iter': runner.iter,
        }
        self._log.append({**position, **entry})
        scalars = {
            f'search/{key}': value
            for key, value in {**entry, **entry.get('parts', {})}.items()
            if isinstance(value, float) and math.isfinite(value)
        }
        for kind in ('prob', 'mag'):
            for name, value in entry[kind].items():
                scalars[f'policy/{kind}/{name}'] = value
        # One counter over all searches; each has a last, additional entry.
        steps = self._options(runner).iterations + 1
        runner.visualizer.add_scalars(
            scalars, step=index * steps + entry['step']
        )
