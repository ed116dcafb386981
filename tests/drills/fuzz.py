"""Feed every reader of the package with what is almost a file of its own.

    python tests/drills/fuzz.py [--minutes 10] [--only PATTERN]

Bytes at random; good files with flipped bits, cut, spliced; and good contents
(JSON, pickles, checkpoints) of which some values are replaced by odd ones. A
reader may take it or raise the error that it documents, in bounded time and
memory; anything else is a fault, and is shown with the file that led to it.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import pickle
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'benchmarks'))
# The package beside this file, and not another installed one.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
# Before torch, it prepares the imports of the packages below.
import mmtst  # noqa: F401  isort: skip
import numpy as np
import torch
import yaml
from _lines import lines_by_key
from _matrix import ROOT, MatrixError, read_matrix
from _searches import read_searches
from collect_runs import UnfinishedRun, UnreadableFile, read_run
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from mmengine.config import Config

from mmtst.augmentation.base import (
    MAGNITUDE_OPERATORS,
    OPERATORS,
)
from mmtst.augmentation.controls import read_policy
from mmtst.augmentation.meta_encoders import (
    build_meta_encoders,
    load_prior,
    shipped_prior,
)
from mmtst.datasets import (
    ShapesSettings,
    check_annotations,
    check_label_maps,
    write_shapes,
)
from mmtst.datasets.cifar_files import read_classes, read_split
from mmtst.engine.policy_log import (
    cut_policy_log,
    read_policy_log,
)
from mmtst.engine.resume import find_checkpoint
from mmtst.testing.cifar import write_cifar100
from mmtst.utils.checkpoint import read_checkpoint
from mmtst.utils.errors import ConfigError
from mmtst.utils.plain_pickle import read_plain_pickle

_SECONDS = 20
_MEMORY = 4 << 30
_ODD: list[Any] = [
    None, True, False, 0, 1, -1, 2**31, 2**63, 10**400, 0.5, -0.0, 1e308,
    float('nan'), float('inf'), '', 'x', '0', '../../x', 'a\0b', 'ä' * 300,
    [], {}, [[]], [1, 2, 3, 4], {'a': 1}, {'type': 'x'}, [None], '\ud800',
]  # fmt: skip


@dataclass(frozen=True)
class Reader:
    """Say what reads a kind of file.

    Attributes:
        name: Of the reader.
        file: Of the file, below the folder that it is given.
        read: Reads; takes the folder.
        good: A good file's bytes.
        errors: What it may raise.
        content: The good file's content, and what writes it.
    """

    name: str
    file: str
    read: Callable[[Path], object]
    # Hypothesis shows its arguments, and these are long.
    good: bytes = field(repr=False)
    errors: tuple[type[BaseException], ...] = (ConfigError,)
    content: Any = field(default=None, repr=False)
    dump: Callable[[Any], bytes] | None = None


class TooLong(Exception):
    """Say that a reader did not end in time."""


@contextmanager
def _in_time(seconds: int) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise TooLong(f'more than {seconds} s')

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@st.composite
def _mutated(draw: Any, reader: Reader) -> bytes:
    """Draw a good file with some faults of bytes."""
    content = bytearray(reader.good)
    for _ in range(draw(st.integers(1, 4))):
        size = len(content)
        place = draw(st.integers(0, max(size - 1, 0)))
        length = draw(st.integers(0, min(64, size)))
        kind = draw(st.sampled_from(('flip', 'cut', 'drop', 'put', 'copy')))
        if kind == 'flip' and size:
            content[place] ^= draw(st.integers(1, 255))
        elif kind == 'cut':
            del content[place:]
        elif kind == 'drop':
            del content[place : place + length]
        elif kind == 'put':
            content[place:place] = draw(st.binary(max_size=24))
        elif kind == 'copy':
            other = draw(st.integers(0, max(size - 1, 0)))
            content[other:other] = content[place : place + length]
    return bytes(content)


def _nodes(tree: Any) -> list[tuple[Any, Any]]:
    """Return all (container, key) of a tree, not too many."""
    found: list[tuple[Any, Any]] = []
    waiting = [tree]
    while waiting and len(found) < 400:
        node = waiting.pop()
        keys: Any = ()
        if isinstance(node, dict):
            keys = list(node)
        elif isinstance(node, list):
            keys = range(min(len(node), 20))
        for key in keys:
            found.append((node, key))
            waiting.append(node[key])
    return found


@st.composite
def _altered(draw: Any, reader: Reader) -> bytes:
    """Draw a good content with odd values in some places."""
    tree = copy.deepcopy(reader.content)
    for _ in range(draw(st.integers(1, 3))):
        nodes = _nodes(tree)
        if not nodes:
            break
        node, key = draw(st.sampled_from(nodes))
        kind = draw(st.sampled_from(('odd', 'drop', 'deep', 'move')))
        if kind == 'drop':
            del node[key]
        elif kind == 'deep':
            deep: Any = []
            for _ in range(draw(st.sampled_from((3, 200, 900)))):
                deep = [deep]
            node[key] = deep
        elif kind == 'move':
            other, from_ = draw(st.sampled_from(nodes))
            try:
                node[key] = copy.deepcopy(other[from_])
            except (KeyError, IndexError):
                pass
        else:
            node[key] = copy.deepcopy(draw(st.sampled_from(_ODD)))
    if draw(st.integers(0, 40)) == 0:
        tree = draw(st.sampled_from(_ODD))
    try:
        return reader.dump(tree) if reader.dump else b''
    except (TypeError, ValueError, RecursionError, yaml.YAMLError):
        return b''


def contents(reader: Reader) -> st.SearchStrategy[bytes]:
    """Return what draws files for a reader."""
    kinds = [
        st.binary(max_size=200),
        _mutated(reader),
        _mutated(reader),
    ]
    if reader.dump is not None:
        altered = _altered(reader)
        kinds += [altered, altered, altered]
    return st.one_of(kinds)


def try_one(reader: Reader, folder: Path, content: bytes) -> None:
    """Let a reader read a file.

    Raises:
        Exception: What it is not to raise, or ``TooLong``.
    """
    path = folder / reader.file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    with warnings.catch_warnings(), _in_time(_SECONDS):
        warnings.simplefilter('ignore')
        try:
            reader.read(folder)
        except reader.errors:
            pass


def fuzz(
    reader: Reader, folder: Path, examples: int, number: int | None
) -> None:
    """Try a number of files, with hypothesis' own shrinking.

    Args:
        reader: What reads.
        folder: Of its own, with what it needs besides.
        examples: How many.
        number: Seed; ``None`` for hypothesis' derandomized ones.
    """

    # Not one failure of each place: shrinking them all takes long.
    @settings(
        max_examples=examples,
        report_multiple_bugs=False,
        deadline=None,
        database=None,
        derandomize=number is None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @given(content=contents(reader))
    def run(content: bytes) -> None:
        last[0] = content
        tried[0] += 1
        try_one(reader, folder, content)

    last, tried = [b''], [0]
    chosen = run if number is None else seed(number)(run)
    try:
        chosen()
    except BaseException as error:
        vars(error).setdefault('file', last[0])
        raise
    finally:
        COUNTS[reader.name] = COUNTS.get(reader.name, 0) + tried[0]


COUNTS: dict[str, int] = {}


def _torch_bytes(content: Any) -> bytes:
    with tempfile.NamedTemporaryFile(suffix='.pth') as file:
        torch.save(content, file.name)
        return Path(file.name).read_bytes()


def _old_torch_bytes(content: Any) -> bytes:
    with tempfile.NamedTemporaryFile(suffix='.pth') as file:
        torch.save(content, file.name, _use_new_zipfile_serialization=False)
        return Path(file.name).read_bytes()


def _json_bytes(content: Any) -> bytes:
    return json.dumps(content).encode()


def _lines_bytes(content: Any) -> bytes:
    lines = content if isinstance(content, list) else [content]
    return ''.join(json.dumps(line) + '\n' for line in lines).encode()


def _yaml_bytes(content: Any) -> bytes:
    return yaml.safe_dump(content).encode()


def _pickle_bytes(content: Any) -> bytes:
    return pickle.dumps(content, protocol=2)


def _of(
    name: str,
    file: str,
    read: Callable[[Path], object],
    content: Any,
    dump: Callable[[Any], bytes],
    *errors: type[BaseException],
) -> Reader:
    return Reader(
        name, file, read, dump(content), errors or (ConfigError,), content,
        dump,
    )  # fmt: skip


def _checkpoint() -> dict[str, Any]:
    from mmengine.logging import HistoryBuffer

    return {
        'meta': {'epoch': 1, 'iter': 2, 'cfg': 'x = 1', 'seed': 0},
        'state_dict': {
            'conv.weight': torch.ones(2, 3),
            'augmentation.th_p': torch.zeros(14),
        },
        'message_hub': {
            'log_scalars': {'loss': HistoryBuffer([1.0, 2.0], [1, 1])},
            'runtime_info': {'best_ckpt': 'a.pth', 'x': np.float64(3)},
        },
        'optimizer': {'state': {0: {}}, 'param_groups': [{'lr': 0.1}]},
        'param_schedulers': [{'last_step': 1}],
    }


def _policy() -> dict[str, Any]:
    return {
        'probabilities': dict.fromkeys(OPERATORS, 0.5),
        'magnitudes': dict.fromkeys(MAGNITUDE_OPERATORS, 0.5),
    }


def _records() -> list[dict[str, Any]]:
    return [
        {
            'search': 0, 'step': step, 'epoch': 1, 'iter': 2, 'lr': 0.1,
            'prob': dict.fromkeys(OPERATORS, 0.5),
            'mag': dict.fromkeys(MAGNITUDE_OPERATORS, 0.5),
            'objective': 1.0, 'parts': {'a': 1.0},
        }
        for step in range(2)
    ]  # fmt: skip


def _scalars() -> list[dict[str, Any]]:
    metrics = {f'coco/bbox_mAP{end}': 0.5 for end in ('', '_50', '_75')}
    return [
        {'lr': 0.1, 'loss': 1.0, 'time': 0.2, 'memory': 3, 'step': 1},
        {**metrics, 'step': 2},
    ]


def _plot(folder: Path) -> object:
    from mmtst.visualization import policy_curves

    return policy_curves(read_policy_log(folder / 'policy.jsonl'), 'x')


def _read_prior(folder: Path) -> object:
    prior = load_prior(folder / 'prior.pth', 'quadratic')
    return build_meta_encoders('quadratic', prior)


def _read_cifar(folder: Path) -> object:
    names = read_classes(folder, 'train_dataloader.dataset')
    return read_split(folder, 'train', len(names), 'train_dataloader.dataset')


def _coco_config(folder: Path) -> Config:
    return Config(
        dict(
            train_dataloader=dict(
                dataset=dict(
                    type='CocoDataset',
                    data_root=str(folder),
                    metainfo=dict(
                        classes=(
                            'circle', 'square', 'triangle', 'star', 'cross'
                        )
                    ),
                    ann_file='annotations/instances_train.json',
                    data_prefix=dict(img='train/'),
                    pipeline=[dict(type='LoadImageFromFile')],
                )
            )
        )
    )  # fmt: skip


def _seg_config(folder: Path) -> Config:
    return Config(
        dict(
            default_scope='mmseg',
            train_dataloader=dict(
                dataset=dict(
                    type='BaseSegDataset',
                    data_root=str(folder),
                    metainfo=dict(classes=tuple('abcdef')),
                    data_prefix=dict(
                        img_path='leftImg8bit/train',
                        seg_map_path='gtFine/train',
                    ),
                    img_suffix='_leftImg8bit.png',
                    seg_map_suffix='_gtFine_labelTrainIds.png',
                    pipeline=[],
                )
            ),
        )
    )


def _check_coco(folder: Path) -> object:
    return check_annotations(_coco_config(folder), ('train',))


def _check_maps(folder: Path) -> object:
    return check_label_maps(_seg_config(folder), ('train',))


def readers(folder: Path) -> list[tuple[Reader, Path]]:
    """Return all readers, each with a folder of its own.

    Args:
        folder: Where the folders are made.
    """
    shapes, cities = folder / 'shapes', folder / 'cities'
    write_shapes(shapes, ShapesSettings(2, 1, 64, seed=3))
    write_shapes(cities, ShapesSettings(2, 1, 64, seed=3, layout='cityscapes'))
    cifar = write_cifar100(folder / 'cifar', num_classes=2, per_class=1)
    image = next((shapes / 'train').glob('*.jpg'))
    label_map = next((cities / 'gtFine' / 'train').rglob('*TrainIds.png'))
    annotations = shapes / 'annotations' / 'instances_train.json'
    run = folder / 'run'
    (run / 'log' / 'vis_data').mkdir(parents=True)
    config = ROOT / 'configs' / 'detectors'
    text = Config.fromfile(
        config / 'retinanet_r18-8_1xb4-24e_bccd.py',
        import_custom_modules=False,
    )
    text.train_cfg.max_epochs = 2
    text.dump(run / 'c.py')
    matrix = yaml.safe_load(
        (ROOT / 'benchmarks' / 'matrices' / 'digits.yml').read_text()
    )
    matrices = folder / 'matrices'
    shutil.copytree(ROOT / 'benchmarks' / 'matrices' / 'arms',
                    matrices / 'arms')  # fmt: skip
    report = {
        'search': {
            'iterations': 3, 'seconds': 1.5, 'gradient_signal_to_noise': 2.0
        },
        'columns': {
            'searched': {
                'objective': 1.0, 'gap_rate': 0.5, 'teacher_right': 0.5,
                'student_wrong': 0.5, 'expected_operators': 2.0,
            }
        },
        'policy': {
            'searched': {
                'prob': dict.fromkeys(OPERATORS, 0.5),
                'mag': dict.fromkeys(MAGNITUDE_OPERATORS, 0.5),
            }
        },
    }  # fmt: skip
    prior = torch.load(shipped_prior('quadratic'), weights_only=True)
    train = pickle.loads((cifar / 'cifar-100-python' / 'train').read_bytes())
    meta = pickle.loads((cifar / 'cifar-100-python' / 'meta').read_bytes())

    def checkpoint(path: Path) -> object:
        return read_checkpoint(path / 'epoch_1.pth', where='load_from')

    def found(path: Path) -> object:
        return find_checkpoint(path)

    plain = (ConfigError, pickle.UnpicklingError)
    of_runs = (MatrixError, UnfinishedRun, UnreadableFile)
    own = [
        _of('checkpoints', 'epoch_1.pth', checkpoint, _checkpoint(),
            _torch_bytes),
        _of('checkpoints, old format', 'epoch_1.pth', checkpoint,
            _checkpoint(), _old_torch_bytes),
        _of('the newest checkpoint', 'epoch_1.pth', found, _checkpoint(),
            _torch_bytes),
        _of('plain pickles', 'p.pkl',
            lambda path: read_plain_pickle(path / 'p.pkl'),
            {**train, 'more': [1, 'x', (2.5, None)]}, _pickle_bytes, *plain),
        _of('policy logs', 'policy.jsonl', _plot, _records(), _lines_bytes),
        _of('policy logs, cut', 'policy.jsonl',
            lambda path: cut_policy_log(path / 'policy.jsonl', 2),
            _records(), _lines_bytes),
        _of('replayed policies', 'p.json',
            lambda path: read_policy(path / 'p.json'), _policy(),
            _json_bytes),
        _of('priors', 'prior.pth', _read_prior, prior, _torch_bytes),
        _of('result lines', 'r.jsonl',
            lambda path: lines_by_key(path / 'r.jsonl'),
            [{'name': 'kd', 'seed': 0, 'AP': 1.0}], _lines_bytes, *of_runs),
        _of('reports of searches', 'search_0.json', read_searches, report,
            _json_bytes, *of_runs),
    ]  # fmt: skip
    pairs = []
    for number, reader in enumerate(own):
        place = folder / f'reader_{number}'
        place.mkdir()
        pairs.append((reader, place))
    return [
        *pairs,
        (
            _of('annotations', 'annotations/instances_train.json',
                _check_coco, json.loads(annotations.read_text()),
                _json_bytes),
            shapes,
        ),
        (
            Reader('images', str(image.relative_to(shapes)), _check_coco,
                   image.read_bytes()),
            _copied(shapes, folder / 'images'),
        ),
        (
            Reader('label maps', str(label_map.relative_to(cities)),
                   _check_maps, label_map.read_bytes()),
            cities,
        ),
        (
            _of("CIFAR's images", 'cifar-100-python/train', _read_cifar,
                train, _pickle_bytes),
            cifar,
        ),
        (
            _of("CIFAR's names", 'cifar-100-python/meta', _read_cifar, meta,
                _pickle_bytes),
            _copied(cifar, folder / 'cifar_names'),
        ),
        (
            _of('logs of runs', 'log/vis_data/scalars.json',
                lambda path: read_run('x', path), _scalars(), _lines_bytes,
                *of_runs),
            run,
        ),
        (
            _of('matrices', 'm.yml',
                lambda path: read_matrix(path / 'm.yml'), matrix,
                _yaml_bytes, MatrixError),
            matrices,
        ),
    ]  # fmt: skip


def _copied(source: Path, target: Path) -> Path:
    shutil.copytree(source, target)
    return target


def _bound_memory() -> None:
    pages = int(Path('/proc/self/statm').read_text().split()[0])
    limit = pages * resource.getpagesize() + _MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main() -> None:
    """Fuzz for some minutes; end with an error if anything was found."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--minutes', type=float, default=10)
    parser.add_argument('--only', default='', help='pattern of readers')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter('ignore')
    _bound_memory()
    faults: dict[tuple[str, str], str] = {}
    with tempfile.TemporaryDirectory() as folder:
        pairs = [
            (reader, place)
            for reader, place in readers(Path(folder))
            if re.search(args.only, reader.name)
        ]
        end = time.monotonic() + 60 * args.minutes
        number = args.seed
        while time.monotonic() < end:
            number += 1
            for reader, place in pairs:
                if time.monotonic() > end:
                    break
                # A good file first: what a reader needs besides may be it.
                (place / reader.file).write_bytes(reader.good)
                try:
                    fuzz(reader, place, 100, number)
                except (Exception, SystemExit) as error:
                    key = (reader.name, _place_of(error))
                    if key not in faults:
                        faults[key] = _describe(error)
                        print(f'{reader.name}: {faults[key]}', flush=True)
                finally:
                    (place / reader.file).write_bytes(reader.good)
    print('\n| reader | files tried | faults |\n|---|--:|--:|')
    for reader, _ in pairs:
        found = sum(name == reader.name for name, _ in faults)
        print(f'| {reader.name} | {COUNTS.get(reader.name, 0)} | {found} |')
    if faults:
        raise SystemExit(f'{len(faults)} faults')


def _place_of(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1]
    return f'{type(error).__name__} {last.filename}:{last.lineno}'


def _describe(error: BaseException) -> str:
    frames = [
        f'{os.path.basename(frame.filename)}:{frame.lineno}'
        for frame in traceback.extract_tb(error.__traceback__)
        if 'hypothesis' not in frame.filename
    ]
    file = vars(error).get('file', b'')
    return (
        f'{type(error).__name__}: {str(error)[:200]}\n'
        f'  at    {" ".join(frames[-5:])}\n  file  {file[:300]!r}'
    )


if __name__ == '__main__':
    main()
