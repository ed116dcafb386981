"""Read the versions that the files in ``requirements/`` pin."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / 'requirements'


def read_pins(*names: str) -> dict[str, str]:
    """Read ``name==version`` lines.

    Args:
        names: Files in ``requirements/``; none means all of them.

    Returns:
        Version by distribution name, lower case with hyphens.
    """
    paths = [REQUIREMENTS / name for name in names]
    pins: dict[str, str] = {}
    for path in paths or sorted(REQUIREMENTS.glob('*.txt')):
        for line in path.read_text().splitlines():
            match = re.match(r'([\w.-]+)==([^\s;]+)', line)
            if match:
                pins[match[1].lower().replace('_', '-')] = match[2]
    return pins
