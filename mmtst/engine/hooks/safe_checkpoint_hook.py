"""Save checkpoints so that there is always a whole one."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log
from mmengine.runner import BaseLoop

from mmtst.engine.claimed_files import (
    Claims,
    is_partial,
    judge,
    take_claims,
)
from mmtst.engine.resume import checkpoint_folder, use_latest_checkpoint
from mmtst.engine.run_lock import lock_folders, renew_locks, unlock_folders
from mmtst.engine.side_files import make_room, set_aside
from mmtst.engine.whole_files import (
    PARTIAL,
    RemovalsPutOff,
    sync,
    write_whole,
)
from mmtst.engine.written_files import WrittenFiles
from mmtst.registry import HOOKS
from mmtst.utils.errors import ConfigError, TrainingError
from mmtst.utils.writing import writing


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

    Only one training at a time has its work dir (and ``out_dir``): a second
    is refused at its start. Only files that this training has written are
    removed, as ``.checkpoints.json`` in the folder tells, whatever the
    checkpoint that it goes on from says of others; those stay, and are named
    in the log.

    Args:
        kwargs: As for mmengine's ``CheckpointHook``; ``out_dir`` is a local
            folder.

    Raises:
        ConfigError: At the start of the training, where ``out_dir`` is not
            local, or another process trains in the folder.
        TrainingError: Where a parameter is not finite.
    """

    # Set by mmengine's before_train.
    out_dir: str
    file_backend: Any
    # Set at the start of a training.
    _written = WrittenFiles('')
    _resumed_from: str | None = None
    _is_over = False
    _stamp = ''

    def before_run(self, runner: Any) -> None:
        """Take the work dir, and find the checkpoint to go on from."""
        # Evaluations change nothing.
        if self._is_over or not isinstance(runner._train_loop, BaseLoop):
            return
        folder = self._check_folder(runner)
        lock_folders(runner.work_dir, folder)
        if runner._resume and runner._load_from is None:
            use_latest_checkpoint(runner, folder, self.filename_tmpl)
        if runner._resume:
            self._resumed_from = runner._load_from

    def after_run(self, runner: Any) -> None:
        """Leave the work dir to the next training."""
        self._is_over = True
        unlock_folders(runner.work_dir, self.out_dir or runner.work_dir)

    def before_train(self, runner: Any) -> None:
        """Look at the folder, and clear away what a killed run left."""
        lock_folders(runner.work_dir, self._check_folder(runner))
        self._check_start(runner)
        self._check_name()
        hub = runner.message_hub
        claims = take_claims(hub.runtime_info, hub._resumed_keys)
        super().before_train(runner)
        self._stamp = runner.timestamp
        self._written = WrittenFiles(self.out_dir)
        ours: list[Any] = [None]
        if is_main_process():
            for path in Path(self.out_dir).glob(PARTIAL.format('*')):
                if is_partial(path.name, self.filename_tmpl):
                    make_room(path)
            ours = [self._judge(runner, claims)]
            # Killed between writing and removing.
            self._remove(self._written.outdated)
        broadcast_object_list(ours)
        kept, best = ours[0]
        hub.update_info_dict(best)
        if self.max_keep_ckpts > 0:
            self.keep_ckpt_ids.extend(kept)
            hub.update_info('keep_ckpt_ids', list(kept))
        if self.save_best is None:
            return
        if len(self.key_indicators) == 1:
            self.best_ckpt_path = best.get('best_ckpt')
        else:
            for key in self.key_indicators:
                path = best.get(f'best_ckpt_{key}')
                self.best_ckpt_path_dict[key] = path

    def _check_folder(self, runner: Any) -> Path:
        """Return where checkpoints are saved, which has to be local."""
        if '://' in str(self.out_dir or ''):
            raise ConfigError(
                'checkpoints cannot be saved safely to remote storage',
                where='default_hooks.checkpoint.out_dir',
                got=str(self.out_dir),
                allowed='a local folder',
                fix="copy them from there, or take type='CheckpointHook'",
            )
        return checkpoint_folder(runner.work_dir, self.out_dir)

    def _judge(
        self, runner: Any, claims: Claims
    ) -> tuple[list[int], dict[str, Any]]:
        """Return the steps that are kept and what is known of the best."""
        written = self._written
        reason = written.read(self._resumed_from)
        position = runner.epoch if self.by_epoch else runner.iter
        best, stay = judge(
            claims,
            written,
            self.filename_tmpl,
            getattr(self, 'key_indicators', ()),
        )
        if stay:
            runner.logger.warning(
                'The checkpoint names files that this training has not '
                'written in %s, as far as is known (%s). They stay there: %s',
                self.out_dir,
                reason or 'they are not as they were',
                '; '.join(stay),
            )
        # Killed before the newest had its name, the notes are ahead; what it
        # goes on from is the last of these, and stays.
        steps = [
            step
            for step in sorted({*written.kept, *written.outdated})
            if step <= position
            and written.owns(self.filename_tmpl.format(step))
        ]
        most = self.max_keep_ckpts
        written.outdated = steps[:-most] if most > 0 else []
        written.kept = steps[-most:] if most > 0 else []
        return written.kept, best

    def _publish_model(self, runner: Any, ckpt_path: str | None) -> None:
        """Publish one, if there is one: no metric need have been the best."""
        if ckpt_path is not None:
            super()._publish_model(runner, ckpt_path)

    def _save_checkpoint_with_step(
        self, runner: Any, step: int, meta: dict[str, Any]
    ) -> None:
        self._refuse_divergence(runner)
        before = self.last_ckpt, list(getattr(self, 'keep_ckpt_ids', ()))
        noted = self._written.kept, self._written.outdated
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
            self._written.kept, self._written.outdated = noted
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
            self._written.outdated = []
            try:
                write_whole(Path(runner.work_dir, 'last_checkpoint'), path)
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
        put_off = RemovalsPutOff(backend, self._written)
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

    def _check_name(self) -> None:
        """Refuse one name for all checkpoints: each would be written over."""
        template = self.filename_tmpl
        if template is not None and '{}' not in template:
            raise ConfigError(
                'all checkpoints would have one name',
                where='default_hooks.checkpoint.filename_tmpl',
                got=template,
                allowed="a name with {}, such as 'epoch_{}.pth'",
            )

    def _check_start(self, runner: Any) -> None:
        """Refuse to train on from weights that are not finite."""
        for name, parameter in runner.model.named_parameters():
            if not bool(parameter.isfinite().all()):
                raise ConfigError(
                    f'the training would start from weights that are not '
                    f'finite: {name}',
                    where='load_from, teacher_ckpt, or init_cfg of the model',
                    fix='take a checkpoint from before its training diverged',
                )

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
        # As mmengine's own hook has it; a resumed run asks its notes.
        runner.message_hub.update_info(
            'keep_ckpt_ids', list(self.keep_ckpt_ids)
        )
        self._written.kept = list(self.keep_ckpt_ids)
        self._written.outdated = list(outdated)
        return outdated

    def _remove(self, steps: Iterable[int]) -> None:
        for step in steps:
            self._written.remove(self.filename_tmpl.format(step))

    def _set_last(self, runner: Any, path: str | None) -> None:
        self.last_ckpt = path
        runner.message_hub.update_info('last_ckpt', path)

    def _is_last_save(self, runner: Any, meta: dict[str, Any]) -> bool:
        if self.by_epoch:
            return bool(meta['epoch'] >= runner.max_epochs)
        return bool(meta['iter'] >= runner.max_iters)

    def _save_whole(
        self,
        save: Callable[..., None],
        out_dir: str,
        filename: str,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Save by mmengine's code under another name, then rename."""
        part = Path(out_dir, PARTIAL.format(filename))
        try:
            if is_main_process():
                renew_locks()
                # Not through a link.
                make_room(part)
            with writing(Path(out_dir, filename)):
                save(out_dir, part.name, *args, **kwargs)
            if is_main_process():
                sync(part)
                self._make_way(Path(out_dir, filename))
                self._note(part, filename)
                os.replace(part, Path(out_dir, filename))
                sync(part.parent)
        except BaseException:
            if is_main_process():
                part.unlink(missing_ok=True)
            raise

    def _make_way(self, path: Path) -> None:
        """Set aside what is not ours, under the name that is to be given.

        A training that starts anew writes over an older one's checkpoints,
        as mmengine's does. Where a resumed one stands is what a file says.
        """
        make_room(path, links=False)
        resumed = self._resumed_from is not None
        if resumed and path.exists() and not self._written.owns(path.name):
            aside = set_aside(path, self._stamp)
            print_log(
                f'{path} is of another training: it is {aside.name} now.',
                logger='current',
            )

    def _note(self, part: Path, name: str) -> None:
        """Note a file before it has its name: a kill leaves none unknown."""
        self._written.note(part, name)
        try:
            self._written.write()
        except OSError as error:
            print_log(
                f'{self._written.path} could not be written: {error}. '
                f'After a break {name} would not be known as written by this '
                'training, and stay.',
                logger='current',
            )
