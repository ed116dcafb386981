"""Look at the teacher before a long training relies on it."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.hooks import Hook
from torch import nn

from mmtst.engine.foreign_hooks import check_foreign_hooks
from mmtst.engine.randomness import preserved_rng
from mmtst.engine.run_context import bare_model
from mmtst.engine.teacher_quality import measure_teacher
from mmtst.registry import HOOKS
from mmtst.utils.checks import check_number
from mmtst.utils.errors import ConfigError

_KEY = 'teacher_sha256'


@HOOKS.register_module()
class TeacherCheckHook(Hook):  # type: ignore[misc]
    """Stop a distillation whose teacher does not know its task.

    A checkpoint may fit key by key and still be no teacher: one for other
    classes in another order, for other normalization, or not trained. So a
    few validation batches are predicted by the teacher, through the very
    preprocessing that the distillation gives it, and compared with their
    annotations (:func:`measure_teacher` says how).

    Checkpoints get a hash of the teacher's weights, which they do not hold;
    resuming with another teacher is refused. Models without a teacher, or
    with ``untrained_teacher=True``, are left alone.

    Args:
        batches: Validation batches (per process) to look at; 0 for none.
        min_found: Detection: least share of objects found, in [0, 1].
        min_over_chance: Segmentation and classification: how many times
            chance the accuracy has to be, 1 or more.
        enabled: ``False`` switches all of it off where a base config has it.

    Raises:
        ConfigError: An option is out of range; at the start of the training,
            the teacher is no better than that; on resuming, another teacher.
    """

    def __init__(
        self,
        batches: int = 4,
        min_found: float = 0.05,
        min_over_chance: float = 1.5,
        enabled: bool = True,
    ) -> None:
        where = 'default_hooks.teacher_check'
        check_number(f'{where}.batches', batches, least=0, whole=True)
        check_number(f'{where}.min_found', min_found, least=0, most=1)
        check_number(f'{where}.min_over_chance', min_over_chance, least=1)
        self.batches = batches
        self.min_found = min_found
        self.min_over_chance = min_over_chance
        self.enabled = enabled
        self._hash: str | None = None

    def before_train(self, runner: Any) -> None:
        """Evaluate the teacher, unless the training is resumed.

        Other hooks are looked at too (``check_foreign_hooks``): one of them
        would move the teacher.
        """
        check_foreign_hooks(runner)
        model = bare_model(runner)
        teacher = getattr(model, 'teacher', None)
        unchecked = (
            not self.enabled
            or teacher is None
            or self.batches == 0
            or runner.iter > 0
            or getattr(model, 'untrained_teacher', False)
        )
        if unchecked:
            return
        if runner.val_loop is None:
            runner.logger.warning(
                'The teacher was not checked: the config has no val_dataloader'
            )
            return
        samples = []
        with preserved_rng(), torch.no_grad():
            loader = runner.val_loop.dataloader
            for batch in itertools.islice(loader, self.batches):
                samples += predict_teacher(model, batch)
        meta = getattr(runner.val_loop.dataloader.dataset, 'metainfo', {})
        quality = measure_teacher(samples, len(meta.get('classes') or ()))
        if quality is None:
            runner.logger.warning(
                'The teacher was not checked: %d validation batches have no '
                'annotations to compare with, or the data no two classes',
                self.batches,
            )
            return
        floor = self.min_over_chance * quality.chance or self.min_found
        runner.logger.info(
            'Teacher on %d validation images: %s %.3f (at least %.3f wanted)',
            quality.images,
            quality.measure,
            quality.value,
            floor,
        )
        if quality.value < floor:
            raise ConfigError(
                'the teacher is hardly better than chance on the validation '
                f'data: {quality.measure} {quality.value:.3f} on '
                f'{quality.images} images',
                where='model.teacher_ckpt',
                got=getattr(model, 'teacher_ckpt', None),
                allowed=f'{floor:.3f} or more',
                fix='look whether the checkpoint is that of this config '
                '(classes and their order, normalization, channel order) and '
                'whether LoadAnnotations comes after Resize in the '
                'validation pipeline; if the task is as hard as that, lower '
                'the floor in default_hooks.teacher_check, or set batches=0 '
                'there',
            )

    def before_save_checkpoint(
        self, runner: Any, checkpoint: dict[str, Any]
    ) -> None:
        """Add the hash of the teacher's weights."""
        own = self._teacher_hash(runner)
        if own is not None:
            checkpoint['meta'][_KEY] = own

    def after_load_checkpoint(
        self, runner: Any, checkpoint: Mapping[str, Any]
    ) -> None:
        """Compare the hash with that of the teacher at hand."""
        meta = checkpoint.get('meta')
        found = meta.get(_KEY) if isinstance(meta, dict) else None
        if not runner._resume or found is None:
            return
        own = self._teacher_hash(runner)
        if own is not None and not (isinstance(found, str) and found == own):
            raise ConfigError(
                'the checkpoint was trained with another teacher',
                where='model.teacher_ckpt',
                got=f'weights with hash {str(own)[:12]}',
                allowed=f'those with hash {str(found)[:12]}',
                fix='give the teacher of that training; to go on with this '
                'one, start anew from the student with load_from in place '
                'of --resume',
            )

    def _teacher_hash(self, runner: Any) -> str | None:
        teacher = getattr(bare_model(runner), 'teacher', None)
        if not self.enabled or teacher is None:
            return None
        if self._hash is None:
            self._hash = weights_hash(teacher)
        return self._hash


def predict_teacher(model: Any, batch: Any) -> list[Any]:
    """Return a teacher's predictions as it sees images in the distillation.

    Args:
        model: The distillation, its ``teacher`` in eval mode.
        batch: As a validation loader gives it.

    Returns:
        The samples, with predictions.
    """
    mode = model.teacher.training
    model.teacher.eval()
    try:
        data = model.data_preprocessor(batch, False)
        inputs, samples = data['inputs'], data['data_samples']
        if hasattr(model, 'teacher_inputs'):
            inputs = model.teacher_inputs(inputs, samples)
        return list(model.teacher(inputs, samples, mode='predict'))
    finally:
        model.teacher.train(mode)


def weights_hash(module: nn.Module) -> str:
    """Return a SHA-256 over the names and bytes of a module's state."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        flat = value.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
