"""Remember what an environment was set up from."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from scripts.bootstrap.pins import REQUIREMENTS, ROOT

_NAME = 'mmtst-setup.json'


@dataclass(frozen=True)
class Stamp:
    """Say what an environment was made of.

    Attributes:
        digest: Of the pinned versions, the set-up program, the package's
            metadata, the Python version and the place of the checkout.
        cuda: What mmcv's ops were compiled for; empty before the first time.
    """

    digest: str = ''
    cuda: str = ''

    @classmethod
    def read(cls, folder: Path) -> Stamp:
        """Read the stamp of an environment; an empty one where none is."""
        try:
            return cls(**json.loads((folder / _NAME).read_text()))
        except (OSError, ValueError, TypeError):
            return cls()

    def write(self, folder: Path) -> None:
        """Leave the stamp in an environment."""
        (folder / _NAME).write_text(json.dumps(asdict(self)) + '\n')

    def is_current(self, digest: str) -> bool:
        """Tell whether nothing has to be done."""
        asked = os.environ.get('FORCE_CUDA', '')
        rebuild = (asked == '1' and not self.cuda.startswith('cuda')) or (
            asked == '0' and self.cuda != 'cpu'
        )
        return self.digest == digest and not rebuild


def compute_digest(python_version: str) -> str:
    """Hash all that decides how an environment looks.

    Args:
        python_version: Of the environment's interpreter.
    """
    files = [
        *REQUIREMENTS.glob('*.txt'),
        *Path(__file__).parent.glob('*.py'),
        ROOT / 'setup.py',
    ]
    total = hashlib.sha256(f'{python_version}\0{ROOT}\0'.encode())
    for file in sorted(files):
        total.update(f'{file.name}\0'.encode())
        total.update(file.read_bytes())
    return total.hexdigest()
