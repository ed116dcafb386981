"""Refuse pairs of image classifiers that would go wrong silently, or late."""

from __future__ import annotations

from typing import Any

from mmpretrain.models import ImageClassifier
from torch import nn

from mmtst.structures import LabelBatch
from mmtst.utils.errors import ConfigError


def check_classes(student: nn.Module, teacher: nn.Module) -> None:
    """Check that two classifiers tell equally many classes apart.

    Args:
        student: Any model; only pairs of image classifiers are looked at.
        teacher: Its teacher, whose class scores are made use of.

    Raises:
        ConfigError: They do not.
    """
    numbers = [
        getattr(getattr(model, 'head', None), 'num_classes', None)
        if isinstance(model, ImageClassifier)
        else None
        for model in (student, teacher)
    ]
    if None not in numbers and numbers[0] != numbers[1]:
        raise ConfigError(
            'student and teacher tell different numbers of classes apart',
            where='model.teacher.head.num_classes',
            got=numbers[1],
            allowed=f'{numbers[0]}, as the student',
            fix='give a teacher that was trained on the same classes',
        )


def check_mixing(student: nn.Module, preprocessor: Any) -> None:
    """Check that a student's mixup or CutMix is not left out.

    Args:
        student: Any model; its own data preprocessor is looked at.
        preprocessor: What images go through in its place. From now on it
            refuses to mix images that have one data sample for all.

    Raises:
        ConfigError: The student's own mixes images, the other does not.
    """
    own = getattr(student, 'data_preprocessor', None)
    lost = getattr(own, 'batch_augments', None)
    if lost is not None and getattr(preprocessor, 'batch_augments', 0) is None:
        raise ConfigError(
            'the student mixes images (train_cfg.augments), but images go '
            'through the data preprocessor of the distillation, which does '
            'not',
            where='model.data_preprocessor, or data_preprocessor at the top '
            'of the config',
            got=type(preprocessor).__name__,
            allowed="None, for the student's own; or one with batch_augments",
            fix='set data_preprocessor = None at the top of the config',
        )
    if hasattr(preprocessor, 'to_onehot'):
        preprocessor.register_forward_pre_hook(_refuse_label_batches)


def _refuse_label_batches(preprocessor: Any, arguments: Any) -> None:
    """Refuse what mmpretrain would mix as if it were a single image."""
    data = arguments[0] if arguments else None
    if not preprocessor.to_onehot or not isinstance(data, dict):
        return
    for sample in data.get('data_samples') or ():
        if isinstance(sample, LabelBatch):
            sample.set_gt_score(None)  # says why not
