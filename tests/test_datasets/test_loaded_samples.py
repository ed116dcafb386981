"""Test what is found in samples that are loaded as in a training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import mmseg.datasets  # noqa: F401 (registers what its pipelines name)
import numpy as np
import pytest
from mmdet.datasets import CocoDataset, MultiImageMixDataset
from mmengine.registry import DefaultScope
from mmseg.datasets import BaseSegDataset
from PIL import Image

from mmtst.datasets import loaded_samples
from mmtst.datasets.loaded_samples import check_loaded
from mmtst.engine.seeded_samples import SeededDataset
from mmtst.testing.coco import write_tiny_coco
from mmtst.utils.errors import ConfigError

ANNOTATIONS = 'annotations/instances_train2017.json'
LOAD = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_tiny_coco(tmp_path / 'data', {'train2017': 4}, masks=True)


def detection(root: Path, load: Any = LOAD, more: Any = ()) -> Any:
    with DefaultScope.overwrite_default_scope('mmdet'):
        return CocoDataset(
            data_root=str(root),
            ann_file=ANNOTATIONS,
            data_prefix=dict(img='train2017/'),
            pipeline=[*load, *more],
        )


def edit(root: Path, number: int, **fields: Any) -> None:
    path = root / ANNOTATIONS
    content = json.loads(path.read_text())
    content['annotations'][number].update(fields)
    path.write_text(json.dumps(content))


def test_good_data_pass_and_keep_nothing(root: Path) -> None:
    more = [dict(type='RandomFlip', prob=0.5), dict(type='PackDetInputs')]
    assert check_loaded(detection(root, more=more), 'here') == []


def test_photographs_that_exif_turns_are_named(root: Path) -> None:
    picture = Image.open(root / 'train2017/000000000002.png').convert('RGB')
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    content = json.loads((root / ANNOTATIONS).read_text())
    content['images'][1]['file_name'] = 'turned.jpg'
    (root / ANNOTATIONS).write_text(json.dumps(content))
    picture.save(root / 'train2017/turned.jpg', exif=exif)
    with pytest.raises(ConfigError, match='(?s)turned.jpg.*right angle'):
        check_loaded(detection(root), 'here')
    stored = [dict(LOAD[0], color_type='color_ignore_orientation'), LOAD[1]]
    assert check_loaded(detection(root, stored), 'here') == []


def test_run_length_masks_under_polygons_alone_are_refused(root: Path) -> None:
    for number in range(12):
        mask = dict(counts='abc', size=[96, 128])
        edit(root, number, segmentation=mask)
    load = [LOAD[0], dict(LOAD[1], poly2mask=False)]
    with pytest.raises(ConfigError, match='ignored once loaded'):
        check_loaded(detection(root, load), 'here')


def test_a_box_that_leaves_its_image_is_said(root: Path) -> None:
    edit(root, 0, bbox=[100, 10, 40, 20])
    (line,) = check_loaded(detection(root), 'here')
    assert 'a box leaves it' in line
    assert '000000000001.png' in line


def test_boxes_that_lie_elsewhere_are_refused(root: Path) -> None:
    edit(root, 0, bbox=[120, 10, 40, 20])
    with pytest.raises(ConfigError, match='more than half of a box'):
        check_loaded(detection(root), 'here')


def test_what_cannot_be_loaded_is_named_with_its_step(root: Path) -> None:
    (root / 'train2017/000000000003.png').write_text('<html>')
    with pytest.raises(ConfigError, match='LoadImageFromFile') as caught:
        check_loaded(detection(root), 'here')
    assert '000000000003.png' in str(caught.value)


def test_a_step_that_fails_on_what_was_loaded_is_named(root: Path) -> None:
    # Larger than the image, and cropping nothing is an error of numpy.
    more = [dict(type='Resize', scale_factor=1e-9)]
    with pytest.raises(ConfigError, match='step Resize'):
        check_loaded(detection(root, more=more), 'here')


PACK = dict(type='PackDetInputs')


def test_channels_are_those_that_the_model_normalizes(root: Path) -> None:
    dataset = detection(root, more=[PACK])
    assert check_loaded(dataset, 'here', channels=3) == []
    with pytest.raises(ConfigError, match='number of channels') as caught:
        check_loaded(dataset, 'here', channels=4)
    assert '3 x 96 x 128 for 4 channels' in str(caught.value)


def test_a_pipeline_that_drops_all_is_refused(root: Path) -> None:
    drop = dict(type='FilterAnnotations', min_gt_bbox_wh=(200, 200))
    dataset = detection(root, more=[drop, PACK])
    with pytest.raises(ConfigError, match='drops every image') as caught:
        check_loaded(dataset, 'here')
    assert '4 images of 4' in str(caught.value)
    drop['min_gt_bbox_wh'] = (1, 1)
    assert check_loaded(detection(root, more=[drop, PACK]), 'here') == []


def mixed(root: Path, *steps: Any) -> MultiImageMixDataset:
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MultiImageMixDataset(detection(root), [*steps, PACK])


def test_what_a_wrapper_mixes_is_run_on_copies(root: Path) -> None:
    mosaic = dict(type='CachedMosaic', img_scale=(64, 64), random_pop=False)
    # As a training has it: what is set on it is set on what it wraps.
    dataset = SeededDataset(mixed(root, mosaic))
    assert check_loaded(dataset, 'here', channels=3) == []
    with pytest.raises(ConfigError, match='number of channels'):
        check_loaded(dataset, 'here', images=0, channels=4)
    assert dataset.dataset.pipeline[0].results_cache == []


def test_a_step_of_a_wrapper_that_fails_is_named(root: Path) -> None:
    dataset = mixed(root, dict(type='Resize', scale_factor=1e-9))
    with pytest.raises(ConfigError, match='of MultiImageMixDataset') as found:
        check_loaded(dataset, 'here')
    assert '000000000001.png' in str(found.value)
    assert 'Resize, PackDetInputs' in str(found.value)


# Label maps


def segmentation(root: Path, label_map: Any, **load: Any) -> BaseSegDataset:
    """Write two images of 8 x 6 pixels, and a map for each."""
    for folder in ('img', 'map'):
        (root / folder).mkdir()
    for name in 'ab':
        cv2.imwrite(str(root / f'img/{name}.jpg'), np.zeros((6, 8, 3)))
    good = np.array([[0, 1, 2, 255] * 2] * 6, np.uint8)
    Image.fromarray(good).save(root / 'map/a.png')
    Image.fromarray(label_map).save(root / 'map/b.png')
    with DefaultScope.overwrite_default_scope('mmseg'):
        return BaseSegDataset(
            data_root=str(root),
            data_prefix=dict(img_path='img', seg_map_path='map'),
            metainfo=dict(classes=('x', 'y', 'z')),
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='LoadAnnotations', **load),
            ],
        )


def filled(value: int, *shape: int) -> Any:
    return np.full(shape, value, np.uint8)


@pytest.mark.parametrize(
    ('label_map', 'words'),
    [
        (filled(3, 6, 8), r'(?s)labels beyond the classes.*\[3\]'),
        (filled(254, 6, 8), r'labels beyond the classes'),
        (filled(1, 6, 9), '(?s)another size.*9 x 6'),
        (filled(1, 6, 8, 3), 'colors in place of labels'),
    ],
    ids=['one beyond', 'far beyond', 'size', 'colored'],
)
def test_label_maps_that_fit_not_are_refused(
    tmp_path: Path, label_map: Any, words: str
) -> None:
    dataset = segmentation(tmp_path, label_map)
    with pytest.raises(ConfigError, match=words) as caught:
        check_loaded(dataset, 'here', num_classes=3)
    assert 'b.jpg' in str(caught.value)


def test_an_ignored_map_among_others_is_said(tmp_path: Path) -> None:
    dataset = segmentation(tmp_path, filled(255, 6, 8))
    (line,) = check_loaded(dataset, 'here', num_classes=3)
    assert 'ignored pixels alone' in line


def test_maps_that_are_all_ignored_are_refused(tmp_path: Path) -> None:
    dataset = segmentation(tmp_path, filled(255, 6, 8))
    Image.fromarray(filled(255, 6, 8)).save(tmp_path / 'map/a.png')
    with pytest.raises(ConfigError, match='2 of 2.*ignored pixels alone'):
        check_loaded(dataset, 'here', num_classes=3)


def test_palettes_hold_labels(tmp_path: Path) -> None:
    dataset = segmentation(tmp_path, filled(2, 6, 8))
    palette = Image.fromarray(filled(2, 6, 8)).convert('P')
    palette.putpalette([9, 9, 9, 8, 8, 8, 7, 7, 7])
    palette.putdata([2] * 48)
    palette.save(tmp_path / 'map/b.png')
    assert check_loaded(dataset, 'here', num_classes=3) == []


# What is unusual, and right


def test_maps_of_stuff_beside_objects_have_classes_of_their_own(
    root: Path,
) -> None:
    """As mmdet's HTC has: 80 classes of objects, 183 of stuff."""
    (root / 'stuff').mkdir()
    for number in range(1, 5):
        stuff = filled(150, 96, 128)
        Image.fromarray(stuff).save(root / f'stuff/{number:012d}.png')
    load = [LOAD[0], dict(LOAD[1], with_seg=True)]
    with DefaultScope.overwrite_default_scope('mmdet'):
        dataset = CocoDataset(
            data_root=str(root),
            ann_file=ANNOTATIONS,
            data_prefix=dict(img='train2017/', seg='stuff/'),
            pipeline=load,
        )
    assert check_loaded(dataset, 'here', num_classes=80) == []


class GivesItself(CocoDataset):
    """Give its steps more than it says of a sample, as mmyolo's sets do."""

    def prepare_data(self, idx: int) -> Any:
        info = self.get_data_info(idx)
        info['dataset'] = self
        return self.pipeline(info)


def needs_the_dataset(results: dict[str, Any]) -> dict[str, Any]:
    results['others'] = len(results['dataset'])
    return results


def test_data_sets_prepare_samples_in_their_own_way(root: Path) -> None:
    with DefaultScope.overwrite_default_scope('mmdet'):
        dataset = GivesItself(
            data_root=str(root),
            ann_file=ANNOTATIONS,
            data_prefix=dict(img='train2017/'),
            pipeline=[*LOAD, needs_the_dataset],
        )
    assert check_loaded(dataset, 'here') == []
    (root / 'train2017/000000000001.png').unlink()
    with pytest.raises(ConfigError, match='LoadImageFromFile'):
        check_loaded(dataset, 'here')


@pytest.mark.parametrize('channels', [None, 1, 3])
def test_one_mean_stands_for_all_channels(
    root: Path, channels: int | None
) -> None:
    more = [dict(type='PackDetInputs')]
    dataset = detection(root, more=more)
    assert check_loaded(dataset, 'here', channels=channels) == []


def test_boxes_without_an_area_or_ignored_are_not_outside() -> None:
    results = dict(
        img=np.zeros((40, 60, 3), np.uint8),
        gt_bboxes=np.array([[5, 5, 5, 9], [100, 5, 120, 9], [1, 1, 9, 9]]),
        gt_ignore_flags=np.array([False, True, False]),
    )
    info = dict(height=40, width=60)
    assert list(loaded_samples._inspect(results, info, 0, 255)) == []
