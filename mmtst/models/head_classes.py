"""Compare the classes of models with those of the data."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from torch import nn

from mmtst.utils.errors import ConfigError

# Heads by name, also one of several: bbox_head, roi_head.bbox_head.0, head.
_HEAD = re.compile(r'(?:^|\.)\w*head(?:\.\d+)?$')
# They tell objects from background, or classes that are not the data's.
_OTHER = re.compile(r'rpn_head|semantic_head|panoptic')
_SHOWN = 4


def head_classes(model: nn.Module) -> dict[str, int]:
    """Return the number of classes of each head that has one, by its path."""
    return {
        path: module.num_classes
        for path, module in model.named_modules()
        if _HEAD.search(path)
        and not _OTHER.search(path)
        and isinstance(getattr(module, 'num_classes', None), int)
        and not getattr(module, 'class_agnostic', False)
    }


def check_model_classes(
    model: nn.Module, names: Sequence[str], where: str
) -> None:
    """Check that a model's heads tell the data's classes apart.

    Args:
        model: A detector, segmentor or classifier.
        names: Of the data's classes.
        where: Path of the model in the config.

    Raises:
        ConfigError: A head has another number of classes.
    """
    for path, number in head_classes(model).items():
        if number != len(names):
            raise ConfigError(
                f'the model has {number} classes, the training data '
                f'{len(names)}',
                where=f'{where}.{path}.num_classes',
                got=number,
                allowed=f'{len(names)}: {_shorten(names)}',
                fix='set num_classes of every head in cfg_options, or name '
                "the data's classes in metainfo=dict(classes=(...)) of all "
                'data sets',
            )


def check_class_order(
    model: nn.Module, names: Sequence[str], where: str
) -> str | None:
    """Compare the classes that a checkpoint was trained on with the data's.

    Args:
        model: With ``dataset_meta`` where its checkpoint has told it, as
            OpenMMLab's checkpoints do.
        names: Of the data's classes.
        where: The option that named the checkpoint.

    Returns:
        A sentence for the log where the names differ, which may be another
        spelling; ``None`` where they do not, or are not known.

    Raises:
        ConfigError: They are the same names in another order.
    """
    meta: Any = getattr(model, 'dataset_meta', None) or {}
    known = meta.get('classes') or meta.get('CLASSES')
    if isinstance(known, str) or not isinstance(known, Sequence):
        return None
    trained = [str(name).strip().lower() for name in known]
    wanted = [str(name).strip().lower() for name in names]
    if trained == wanted or not wanted:
        return None
    if sorted(trained) == sorted(wanted):
        number = next(
            i
            for i, pair in enumerate(zip(trained, wanted, strict=True))
            if pair[0] != pair[1]
        )
        raise ConfigError(
            'the checkpoint was trained on the classes of the data in '
            'another order',
            where=where,
            got=f'class {number} is {known[number]!r} there, '
            f'{names[number]!r} here',
            allowed=_shorten(known),
            fix='give metainfo.classes of all data sets in the order of the '
            'checkpoint',
        )
    return (
        f'{where} was trained on {len(trained)} classes ({_shorten(known)}), '
        f'the data have {len(wanted)} ({_shorten(names)})'
    )


def _shorten(names: Sequence[Any]) -> str:
    more = f' and {len(names) - _SHOWN} more' * (len(names) > _SHOWN)
    return ', '.join(str(name) for name in names[:_SHOWN]) + more
