"""Try hostile and malformed input in bulk, and write the table into the docs.

    python tests/drills/run_hostile.py [--only PATTERN] [--jobs 2]
        [--out docs/en/reliability.md]

Each case is a call of a tool on files that it spoils. It is *clear* if the
tool ends with a message that names the culprit, *survived* if it does what it
is to do all the same. Wrong are *traceback* (a crash and no end in time,
too), *silent* (what is wrong is not said), *lost* (a file of the user's is
gone or changed, or what was promised is not there) and *executed* (what a
file names was run).
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import struct
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path[:0] = [
    str(Path(__file__).resolve().parent),
    str(Path(__file__).resolve().parents[2] / 'tools'),
    # The package beside this file, and not another installed one.
    str(Path(__file__).resolve().parents[2]),
]
# All at once, before any fork.
import mmtst  # noqa: F401, E402  isort: skip
import _common  # noqa: F401, E402
import cv2  # noqa: E402
import matplotlib  # noqa: E402
import mmdet.apis  # noqa: F401, E402
import mmpretrain  # noqa: F401, E402
import mmseg.apis  # noqa: F401, E402
import torch  # noqa: E402
from hostile.cases import SHORT, all_cases  # noqa: E402
from hostile.harness import (  # noqa: E402
    BAD,
    ROOT,
    Case,
    Verdict,
    listing,
    run_case,
    table,
)
from hostile.toys import Toys  # noqa: E402

MARKS = ('<!-- hostile -->\n', '<!-- end of hostile -->\n')
_NUMBER = struct.Struct('i')


def prepare_process() -> None:
    """Make a process fit to be forked: one thread, no display."""
    matplotlib.use('Agg')
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    for name in ('http_proxy', 'https_proxy', 'HTTP_PROXY', 'HTTPS_PROXY'):
        os.environ.pop(name, None)
    for name in ('RANK', 'LOCAL_RANK', 'WORLD_SIZE'):
        os.environ.pop(name, None)
    os.environ.update(OMP_NUM_THREADS='1', MKL_NUM_THREADS='1')


def run_cases(
    cases: Sequence[Case], folder: Path, toys: Any, jobs: int
) -> list[Verdict]:
    """Run cases, a few at a time, each in processes of its own.

    Args:
        cases: What to run.
        folder: For the cases; those that went wrong stay in it.
        toys: What they share.
        jobs: How many at a time.
    """
    queue, numbers = os.pipe()
    results, report = os.pipe()
    children = []
    for _ in range(jobs):
        pid = os.fork()
        if pid == 0:
            os.close(numbers)
            os.close(results)
            _work(cases, folder, toys, queue, report)
        children.append(pid)
    os.close(report)
    # Mixed: slow ones do not meet, and a part of them is of all areas.
    order = list(range(len(cases)))
    random.Random(0).shuffle(order)
    for number in order:
        os.write(numbers, _NUMBER.pack(number))
    os.close(numbers)
    verdicts: dict[int, Verdict] = {}
    with os.fdopen(results, encoding='utf-8') as lines:
        for line in lines:
            number, outcome, seconds, why = line.rstrip('\n').split('\t', 3)
            case = cases[int(number)]
            verdicts[int(number)] = Verdict(case, outcome, why, float(seconds))
            print(
                f'{len(verdicts):4d}/{len(cases)} {float(seconds):5.1f} s '
                f'{outcome:9s} {case.area}: {case.name}'
                + (f'\n          {why}' if why else ''),
                flush=True,
            )
    for pid in children:
        os.waitpid(pid, 0)
    return [verdicts[number] for number in sorted(verdicts)]


def _work(
    cases: Sequence[Case], folder: Path, toys: Any, queue: int, report: int
) -> None:
    """Take cases until there are no more."""
    try:
        while number := os.read(queue, _NUMBER.size):
            (index,) = _NUMBER.unpack(number)
            began = time.monotonic()
            try:
                verdict = run_case(
                    cases[index], folder / f'case_{index}', toys
                )
            except Exception:
                # Of the drill itself.
                why = ' / '.join(traceback.format_exc().splitlines()[-6:])
                verdict = Verdict(
                    cases[index], 'traceback', f'DRILL: {why}',
                    time.monotonic() - began,
                )  # fmt: skip
            why = re.sub(r'\s+', ' ', verdict.why)
            line = (
                f'{index}\t{verdict.outcome}\t{verdict.seconds:.1f}\t{why}\n'
            )
            os.write(report, line.encode(errors='replace'))
    finally:
        os._exit(0)


def write_table(text: str, out: Path) -> None:
    """Put the table between its marks in a Markdown page."""
    head, rest = out.read_text().split(MARKS[0])
    _, tail = rest.split(MARKS[1])
    out.write_text(f'{head}{MARKS[0]}{text}{MARKS[1]}{tail}')


def main() -> None:
    """Run them; end with an error if anything went wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--only', default='', help='pattern of AREA: NAME')
    parser.add_argument(
        '--short', action='store_true', help='the few that the tests run'
    )
    parser.add_argument(
        '--every', type=int, default=1, help='run each so many-th of them'
    )
    parser.add_argument('--jobs', type=int, default=2)
    parser.add_argument(
        '--work-dir', type=Path, default=Path('work_dirs/hostile')
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=ROOT / 'docs' / 'en' / 'reliability.md',
        help='page with the marks; written if all cases were run',
    )
    args = parser.parse_args()
    prepare_process()
    began = time.monotonic()
    folder = args.work_dir.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    toys = Toys(folder / 'toys')
    toys.train()
    before = listing(toys.folder)
    cases = [
        case
        for case in all_cases()
        if re.search(args.only, f'{case.area}: {case.name}')
        and (case.name in SHORT or not args.short)
    ][:: args.every]
    verdicts = run_cases(cases, folder, toys, args.jobs)
    text = table(verdicts)
    print(text)
    if len(cases) == len(all_cases()):
        write_table(text, args.out)
    print(f'{(time.monotonic() - began) / 60:.0f} minutes')
    if listing(toys.folder) != before:
        raise SystemExit('a case has changed what all share')
    bad = [verdict for verdict in verdicts if verdict.outcome in BAD]
    for verdict in bad:
        case = verdict.case
        print(f'{verdict.outcome}: {case.area}: {case.name}\n  {verdict.why}')
    if bad or len(verdicts) < len(cases):
        raise SystemExit(f'{len(bad)} of {len(cases)} cases went wrong')


if __name__ == '__main__':
    main()
