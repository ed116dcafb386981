"""Run set-up: ``python -m scripts.bootstrap [--venv FOLDER]``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path

from scripts.bootstrap.errors import SetupError
from scripts.bootstrap.pins import ROOT
from scripts.bootstrap.stamp import Stamp, compute_digest
from scripts.bootstrap.steps import Installer


def main() -> int:
    """Set up the environment unless it is what it should be."""
    parser = argparse.ArgumentParser(
        prog='python -m scripts.bootstrap', description=main.__doc__
    )
    parser.add_argument('--venv', type=Path, default=ROOT / '.venv')
    parser.add_argument(
        '--quiet', action='store_true', help='no word where nothing is to do'
    )
    args = parser.parse_args()
    folder = Path(args.venv).absolute()
    os.chdir(ROOT)
    digest = compute_digest(sys.version.split()[0])
    stamp = Stamp.read(folder)
    if stamp.is_current(digest) and (folder / 'bin' / 'python').exists():
        if not args.quiet:
            print(f'{folder} is set up; make clean-env removes it')
        return 0
    start = time.monotonic()
    # A plain end would leave pip and the compilers behind.
    signal.signal(signal.SIGTERM, lambda *received: sys.exit(143))
    try:
        cuda = Installer(folder, stamp).run()
    except SetupError as error:
        print(f'\nset-up stopped: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('\nset-up stopped; what is done is kept', file=sys.stderr)
        return 130
    Stamp(digest, cuda).write(folder)
    minutes, seconds = divmod(int(time.monotonic() - start), 60)
    print(f'set up in {minutes} min {seconds} s: {folder}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
