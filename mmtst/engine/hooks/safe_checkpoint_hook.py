"""Save checkpoints so that there is always a whole one."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook

from mmtst.registry import HOOKS
from mmtst.utils.errors import ConfigError, TrainingError

_PARTIAL = '.{}.partial'
_OUTDATED = 'outdated_ckpt_ids'


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):  # type: ignore[misc]
    """Save under another name, then rename; remove old files only then.

    mmengine's own hook removes the checkpoint that is one too many before it
    writes the new one, and writes in place: killed in between, a run may be
    left with no checkpoint, or with half of one. Here a file has its name
    only when it is whole and on the disk.

    Where a file cannot be written (a full disk), the error is logged, older
    checkpoints stay, and the training goes on to the next one; at the last
    it stops with the error.

    A student that has diverged is not saved: the checkpoint that would be
    removed for it is the last good one.

    Args:
        kwargs: As for mmengine's ``CheckpointHook``; ``out_dir`` is a local
            folder.

    Raises:
        ConfigError: At the start of the training, where ``out_dir`` is not
            local.
        TrainingError: Where a parameter is not finite.
    """

    # Set by mmengine's before_train.
    out_dir: str
    file_backend: Any

    def before_train(self, runner: Any) -> None:
        """Look at the folder, and clear away what a killed run left."""
        if '://' in str(self.out_dir or ''):
            raise ConfigError(
                'checkpoints cannot be saved safely to remote storage',
                where='default_hooks.checkpoint.out_dir',
                got=str(self.out_dir),
                allowed='a local folder',
                fix="copy them from there, or take type='CheckpointHook'",
            )
        super().before_train(runner)
        if is_main_process():
            for path in Path(self.out_dir).glob(_PARTIAL.format('*')):
                path.unlink()
            # Killed between writing and removing.
            self._remove(runner.message_hub.runtime_info.get(_OUTDATED, ()))

    def _save_checkpoint_with_step(
        self, runner: Any, step: int, meta: dict[str, Any]
    ) -> None:
        self._refuse_divergence(runner)
        before = self.last_ckpt, list(getattr(self, 'keep_ckpt_ids', ()))
        outdated = self._keep(runner, step)
        name = self.filename_tmpl.format(step)
        path: str = os.path.join(self.out_dir, name)
        self._set_last(runner, path)
        try:
            self._save_whole(
                runner.save_checkpoint,
                self.out_dir,
                name,
                None,
                save_optimizer=self.save_optimizer,
                save_param_scheduler=self.save_param_scheduler,
                meta=meta,
                by_epoch=self.by_epoch,
                **self.args,
            )
        except OSError as error:
            if self._is_last_save(runner, meta):
                raise
            self._set_last(runner, before[0])
            if self.max_keep_ckpts > 0:
                self.keep_ckpt_ids.clear()
                self.keep_ckpt_ids.extend(before[1])
            runner.logger.error(
                'The checkpoint %s could not be written: %s. The training '
                'goes on; stopped before its next checkpoint, it would resume '
                'from %s. Make room there.',
                path,
                error,
                before[0] or 'its start',
            )
            return
        if is_main_process():
            self._remove(outdated)
            try:
                _write_whole(Path(runner.work_dir, 'last_checkpoint'), path)
            except OSError as error:
                runner.logger.error(
                    'last_checkpoint could not be written: %s. --resume of '
                    'tools/train.py does not need it.',
                    error,
                )

    def _save_best_checkpoint(
        self, runner: Any, metrics: dict[str, float]
    ) -> None:
        """Save the best one; the one before goes when it is written."""
        backend, save = self.file_backend, runner.save_checkpoint
        before = copy.deepcopy(self._best(runner))
        put_off = _RemovalsPutOff(backend)
        self.file_backend = put_off
        runner.save_checkpoint = partial(self._save_whole, save)
        try:
            super()._save_best_checkpoint(runner, metrics)
            put_off.remove_now()
        except OSError as error:
            for name, value in before[0].items():
                setattr(self, name, value)
            hub = runner.message_hub.runtime_info
            for key in [key for key in hub if key.startswith('best_')]:
                del hub[key]
            hub.update(before[1])
            runner.logger.error(
                'The best checkpoint could not be written: %s. The one before '
                'stays the best, and the training goes on. Make room in %s.',
                error,
                self.out_dir,
            )
        finally:
            # The instance's own attribute hides the method no longer.
            del runner.save_checkpoint
            self.file_backend = backend

    def _best(self, runner: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what hook and message hub know of the best checkpoint."""
        own = {
            key: value
            for key, value in vars(self).items()
            if key.startswith('best_ckpt_path')
        }
        hub = runner.message_hub.runtime_info
        known = {k: v for k, v in hub.items() if k.startswith('best_')}
        return own, known

    def _refuse_divergence(self, runner: Any) -> None:
        """Stop where a parameter is not finite, the same way on all ranks."""
        for name, parameter in runner.model.named_parameters():
            if not bool(parameter.isfinite().all()):
                raise TrainingError(
                    f'The training has diverged before iteration '
                    f'{runner.iter + 1}: {name} is not finite. It was not '
                    f'saved; {self.last_ckpt or "no checkpoint"} is the last '
                    'one before. Look at the losses in the log; a lower '
                    'learning rate, a longer warm-up or '
                    'optim_wrapper.clip_grad may help.'
                )

    def _keep(self, runner: Any, step: int) -> list[int]:
        """Note a new checkpoint; return the steps of those that are to go."""
        if self.max_keep_ckpts <= 0:
            return []
        kept = [old for old in self.keep_ckpt_ids if old != step] + [step]
        outdated = kept[: -self.max_keep_ckpts]
        self.keep_ckpt_ids.clear()
        self.keep_ckpt_ids.extend(kept[-self.max_keep_ckpts :])
        # Saved with the checkpoint, so that a resumed run prunes on.
        runner.message_hub.update_info(
            'keep_ckpt_ids', list(self.keep_ckpt_ids)
        )
        runner.message_hub.update_info(_OUTDATED, outdated)
        return outdated

    def _remove(self, steps: Iterable[int]) -> None:
        for step in steps:
            path = Path(self.out_dir, self.filename_tmpl.format(step))
            path.unlink(missing_ok=True)

    def _set_last(self, runner: Any, path: str | None) -> None:
        self.last_ckpt = path
        runner.message_hub.update_info('last_ckpt', path)

    def _is_last_save(self, runner: Any, meta: dict[str, Any]) -> bool:
        if self.by_epoch:
            return bool(meta['epoch'] >= runner.max_epochs)
        return bool(meta['iter'] >= runner.max_iters)

    @staticmethod
    def _save_whole(
        save: Callable[..., None],
        out_dir: str,
        filename: str,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Save by mmengine's code under another name, then rename."""
        part = Path(out_dir, _PARTIAL.format(filename))
        try:
            save(out_dir, part.name, *args, **kwargs)
            if is_main_process():
                _put(part, Path(out_dir, filename))
        except BaseException:
            if is_main_process():
                part.unlink(missing_ok=True)
            raise


class _RemovalsPutOff:
    """Stand in for a file backend, and remove nothing before it is told."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self._paths: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def remove(self, path: str) -> None:
        """Note a file."""
        self._paths.append(path)

    def remove_now(self) -> None:
        """Remove what was noted, if it is there still."""
        for path in self._paths:
            if self._backend.isfile(path):
                self._backend.remove(path)


def _put(part: Path, path: Path) -> None:
    """Give a written file its name; both are on the disk afterwards."""
    _sync(part)
    os.replace(part, path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_whole(path: Path, text: str) -> None:
    part = path.with_name(_PARTIAL.format(path.name))
    part.write_text(text, encoding='utf-8')
    _put(part, path)
