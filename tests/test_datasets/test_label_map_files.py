"""Check what is said of label maps, against what mmseg loads of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from mmseg.datasets.transforms import LoadAnnotations
from PIL import Image

from mmtst.datasets.label_map_files import (
    SAMPLE,
    LabelMapReader,
    find_label_map_faults,
    find_label_map_reader,
)

SIZE = (12, 8)
READER = LabelMapReader(num_classes=3)


def write(path: Path, array: Any, size: tuple[int, int] = SIZE) -> Any:
    """Write a label map and its image; return their entry."""
    image = path.with_suffix('.jpg')
    cv2.imwrite(str(image), np.zeros((*size[::-1], 3), np.uint8))
    if isinstance(array, bytes):
        path.write_bytes(array)
    else:
        Image.fromarray(np.asarray(array)).save(path)
    return dict(img_path=str(image), seg_map_path=str(path))


def filled(value: int, kind: Any = np.uint8, more: Any = ()) -> Any:
    return np.full((*SIZE[::-1], *more), value, kind)


def look(entries: Any, reader: LabelMapReader = READER, **more: Any) -> Any:
    return find_label_map_faults(entries, 'here', reader, **more)


@pytest.mark.parametrize(
    ('array', 'words'),
    [
        (b'', 'are empty files'),
        (b'<html></html>', 'cannot be read'),
        (filled(1, more=(3,)), r'colors in place of labels'),
        (filled(1, more=(2,)), r'colors in place of labels'),
        (filled(1)[:-1], r'another size'),
        (filled(3), r'beyond the classes'),
        (filled(254), r'beyond the classes'),
        # 8 bits of it would be class 1.
        (filled(257, np.uint16), r'beyond the classes'),
        (filled(-1, np.int32), r'beyond the classes'),
    ],
    ids=[
        *('empty', 'html', 'colors', 'alpha', 'size'),
        *('one beyond', 'far beyond', '16 bit', 'negative'),
    ],
)
def test_one_map_that_stops_a_training_refuses_the_data(
    tmp_path: Path, array: Any, words: str
) -> None:
    name = 'b.tif' if getattr(array, 'dtype', None) == np.int32 else 'b.png'
    entries = [
        write(tmp_path / 'a.png', filled(1)),
        write(tmp_path / name, array),
    ]
    (finding,), _ = look(entries)
    assert finding.what.startswith('1 of 2 label maps')
    assert words in finding.what
    assert name in finding.places[0]
    assert finding.refused
    assert finding.where == 'here.data_prefix.seg_map_path'


def test_good_maps_are_counted_by_label(tmp_path: Path) -> None:
    array = filled(2)
    array[0] = 255
    palette = Image.fromarray(array).convert('P')
    palette.putdata(array.reshape(-1).tolist())
    palette.save(tmp_path / 'b.png')
    entries = [
        write(tmp_path / 'a.png', array),
        write(tmp_path / 'c.png', filled(1, np.uint16)),
        dict(seg_map_path=str(tmp_path / 'b.png'), img_path='none'),
    ]
    findings, pixels = look(entries)
    assert findings == []
    assert pixels == {2: 2 * 12 * 7, 1: 12 * 8}


def test_ignored_maps_are_said_and_refused_only_if_all_are(
    tmp_path: Path,
) -> None:
    entries = [
        write(tmp_path / 'a.png', filled(1)),
        write(tmp_path / 'b.png', filled(255)),
    ]
    (finding,), _ = look(entries)
    assert (finding.count, finding.refused) == (1, False)
    (finding,), _ = look(entries[1:])
    assert finding.refused
    # Another label that the heads ignore.
    reader = LabelMapReader(num_classes=3, ignored={9})
    (finding,), _ = look([write(tmp_path / 'c.png', filled(9))], reader)
    assert 'ignored pixels alone' in finding.what


def test_a_turned_image_is_compared_as_it_is_loaded(tmp_path: Path) -> None:
    entry = write(tmp_path / 'a.png', filled(1))
    exif = Image.Exif()
    exif[274] = 6
    Image.new('RGB', SIZE).save(entry['img_path'], exif=exif)
    (finding,), _ = look([entry])
    assert '12 x 8 for an image of 8 x 12' in finding.places[0]
    step = dict(
        type='LoadImageFromFile', color_type='color_ignore_orientation'
    )
    assert look([entry], pipeline=[step])[0] == []


def test_a_sample_has_a_bound_and_all_can_be_asked_for(
    tmp_path: Path,
) -> None:
    good = write(tmp_path / 'a.png', filled(1))
    bad = write(tmp_path / 'b.png', filled(9))
    entries = [good, bad, *[good] * 2 * SAMPLE]
    assert look(entries)[0] == []
    (finding,), _ = look(entries, whole=True)
    assert finding.what.startswith(f'1 of {len(entries)} label maps have')
    (finding,), _ = look([bad, *entries[1:]])
    assert finding.what.startswith(f'1 of {SAMPLE} label maps looked at')


@pytest.mark.parametrize('reduce_zero_label', [False, True])
@pytest.mark.parametrize('label_map', [None, {0: 1, 1: 255, 2: 0}])
def test_labels_are_what_mmseg_makes_of_values(
    tmp_path: Path, reduce_zero_label: bool, label_map: Any
) -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(values).save(tmp_path / 'a.png')
    results = LoadAnnotations()(
        dict(
            seg_map_path=str(tmp_path / 'a.png'),
            reduce_zero_label=reduce_zero_label,
            label_map=label_map,
            seg_fields=[],
        )
    )
    reader = LabelMapReader(
        reduce_zero_label=reduce_zero_label, label_map=label_map or {}
    )
    ours = [reader.label_of(value) for value in range(256)]
    assert ours == results['gt_seg_map'].reshape(-1).tolist()


def test_the_step_that_loads_maps_is_found() -> None:
    steps = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
    assert find_label_map_reader(steps) == LabelMapReader()
    steps[1] = dict(type='mmseg.LoadAnnotations', imdecode_backend='cv2')
    found = find_label_map_reader(steps, num_classes=2)
    assert found == LabelMapReader(backend='cv2', num_classes=2)
    steps[1]['backend_args'] = dict(backend='petrel')
    assert find_label_map_reader(steps) is None
    assert find_label_map_reader([dict(type='MyLoader')]) is None
