"""All cases, and the few that the tests run."""

from __future__ import annotations

from collections import Counter

from hostile import (
    annotations,
    arguments,
    checkpoints,
    downloads,
    faults,
    images,
    options,
)
from hostile.harness import Case

SHORT = (
    'os.system, teacher',
    'cut short, resume',
    'code as meta.config, resume',
    'best_ckpt is a file of the user',
    'state_dict/augmentation.th_p is missing',
    'policy.jsonl: bytes at random',
    'file: lists nested without end',
    'area is 0 in all',
    'cut in half',
    'all ignored',
    'custom_hooks.0.iterations=0',
    'browse: --num',
    'work dir is read-only',
)


def all_cases() -> list[Case]:
    """Return all of them.

    Raises:
        ValueError: Two have one name.
    """
    found = [
        case
        for module in (
            checkpoints,
            annotations,
            images,
            options,
            arguments,
            downloads,
            faults,
        )
        for case in module.cases()
    ]
    counts = Counter((case.area, case.name) for case in found)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise ValueError(f'cases of one name: {twice}')
    return found
