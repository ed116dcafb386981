"""Find the label that a segmentor ignores."""

from __future__ import annotations

from torch import nn

from mmtst.utils.errors import ConfigError

# What mmseg's heads ignore by default.
_DEFAULT = 255


def ignored_label(student: nn.Module, teacher: nn.Module) -> int:
    """Return the label of pixels that neither student nor teacher learns.

    A warp brings pixels from outside into view; this is what their label map
    says of them.

    Args:
        student: Its decode and auxiliary heads have an ``ignore_index``; a
            model without such heads has no label maps.
        teacher: Likewise.

    Raises:
        ConfigError: Heads ignore different labels: what comes from outside
            would be a class to one of them.
    """
    found = {
        f'{side}.{path}.ignore_index': module.ignore_index
        for side, model in (('architecture', student), ('teacher', teacher))
        for path, module in model.named_modules()
        if path.split('.')[0] in ('decode_head', 'auxiliary_head')
        and isinstance(getattr(module, 'ignore_index', None), int)
        and hasattr(module, 'loss_decode')
    }
    labels = set(found.values())
    if len(labels) > 1:
        raise ConfigError(
            'the heads ignore different labels, and pixels that a warp '
            'brings into view can have one alone',
            where=', '.join(f'model.{name}' for name in found),
            got=', '.join(map(str, found.values())),
            allowed='the same label',
            fix="set ignore_index of all heads in their models' cfg_options",
        )
    return labels.pop() if labels else _DEFAULT
