"""Test the files of the shapes set, through those who read them."""

from __future__ import annotations

import hashlib
import json

import cv2
import numpy as np
import pytest
from mmdet.datasets import CocoDataset
from mmdet.registry import TRANSFORMS
from mmseg.datasets import CityscapesDataset
from pycocotools.coco import COCO

from mmtst.datasets.shapes import SHAPE_CLASSES, draw_scene
from mmtst.datasets.shapes_writer import ShapesSettings, write_shapes
from mmtst.utils.errors import ConfigError

SETTINGS = ShapesSettings(num_train=24, num_val=3, size=96)


def digests(root):
    return {
        str(path.relative_to(root)): hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for path in sorted(root.rglob('*'))
        if path.is_file()
    }


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    out = tmp_path_factory.mktemp('data') / 'shapes'
    seen = []
    assert write_shapes(out, SETTINGS, lambda *at: seen.append(at))
    assert seen[-1] == (27, 27)
    return out


def test_same_settings_same_bytes(root, tmp_path):
    again = tmp_path / 'deeper' / 'shapes'
    write_shapes(again, SETTINGS)
    assert digests(again) == digests(root)
    assert not (tmp_path / 'deeper' / 'shapes.part').exists()
    other = tmp_path / 'other'
    write_shapes(other, ShapesSettings(24, 3, 96, seed=1))
    name = 'train/000000.jpg'
    assert digests(other)[name] != digests(root)[name]


def test_a_larger_set_begins_with_the_smaller(root, tmp_path):
    out = tmp_path / 'more'
    write_shapes(out, ShapesSettings(26, 3, 96, layout='coco'))
    more = digests(out)
    for name, value in digests(root).items():
        if name.startswith(('train/', 'val/')):
            assert more[name] == value
    assert not (out / 'gtFine').exists()


def test_present_set_is_left_alone(root):
    before = {path: path.stat().st_mtime_ns for path in root.rglob('*')}
    assert not write_shapes(root, SETTINGS)
    after = {path: path.stat().st_mtime_ns for path in root.rglob('*')}
    assert before == after


def test_other_settings_are_refused(root):
    with pytest.raises(ValueError, match='other settings') as error:
        write_shapes(root, ShapesSettings(25, 3, 96))
    assert "'num_train': 24" in str(error.value)
    assert "'num_train': 25" in str(error.value)


def test_foreign_files_are_kept(tmp_path):
    (tmp_path / 'thesis.txt').write_text('years of work')
    with pytest.raises(ValueError, match='holds other files'):
        write_shapes(tmp_path, SETTINGS)
    assert (tmp_path / 'thesis.txt').exists()
    with pytest.raises(ValueError, match='is a file'):
        write_shapes(tmp_path / 'thesis.txt', SETTINGS)


def test_interrupted_run_starts_again(tmp_path):
    out = tmp_path / 'shapes'

    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shapes(out, ShapesSettings(3, 1, 32), stop)
    assert not out.exists()
    out.mkdir()
    assert write_shapes(out, ShapesSettings(3, 1, 32))
    assert len(list((out / 'train').iterdir())) == 3
    assert not out.with_name('shapes.part').exists()


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'num_train': 0}, 'num_train'),
        ({'size': 8}, 'from 32'),
        ({'seed': -1}, 'seed'),
        ({'layout': 'voc'}, 'both, coco, cityscapes'),
    ],
)
def test_settings_are_checked(change, message):
    with pytest.raises(ValueError, match=message):
        ShapesSettings(**change)


def test_coco_reads_what_was_drawn(root):
    coco = COCO(root / 'annotations' / 'instances_train.json')
    assert len(coco.getImgIds()) == 24
    polygons = runs = crowds = 0
    for index in coco.getImgIds():
        scene = draw_scene(np.random.default_rng((0, 0, index)), 96)
        info = coco.loadImgs(index)[0]
        image = cv2.imread(str(root / 'train' / info['file_name']))
        off = image[..., ::-1].astype(int) - scene.image
        # JPEG keeps the colors at half the resolution: look at the gray.
        assert np.abs(off.mean(-1)).mean() < 6
        annotations = coco.loadAnns(coco.getAnnIds(index))
        assert len(annotations) == len(scene.objects)
        for found, item in zip(annotations, scene.objects, strict=True):
            assert found['iscrowd'] == item.is_crowd
            if not item.is_crowd:
                name = coco.loadCats(found['category_id'])[0]['name']
                assert name == SHAPE_CLASSES[item.label]
            mask = coco.annToMask(found).astype(bool)
            both = (mask & item.visible).sum()
            if isinstance(found['segmentation'], list):
                polygons += 1
                assert both / (mask | item.visible).sum() > 0.88
            else:
                runs += 1
                assert np.array_equal(mask, item.visible)
            crowds += item.is_crowd
            x, y, width, height = found['bbox']
            rows, columns = np.nonzero(mask)
            hull = columns.min(), rows.min(), columns.max(), rows.max()
            box = x, y, x + width - 1, y + height - 1
            assert np.abs(np.subtract(hull, box)).max() <= 1
    assert polygons > 20
    assert runs > 20
    assert crowds > 0


def test_mmdet_reads_boxes_and_masks(root):
    data = CocoDataset(
        data_root=str(root),
        ann_file='annotations/instances_train.json',
        data_prefix={'img': 'train/'},
        metainfo={'classes': SHAPE_CLASSES},
        pipeline=[],
    )
    assert len(data) == 24
    load = TRANSFORMS.build(
        {
            'type': 'mmdet.LoadAnnotations',
            'with_bbox': True,
            'with_mask': True,
        }
    )
    ignored = 0
    for index in range(len(data)):
        info = data.get_data_info(index)
        info['img_shape'] = info['ori_shape'] = (96, 96)
        result = load(info)
        boxes = result['gt_bboxes'].tensor.numpy()
        masks = result['gt_masks'].to_ndarray().astype(bool)
        assert len(boxes) == len(masks)
        for box, mask in zip(boxes, masks, strict=True):
            rows, columns = np.nonzero(mask)
            hull = (columns.min(), rows.min(), columns.max(), rows.max())
            assert np.abs(hull - box + (0, 0, 1, 1)).max() <= 1
        ignored += int(result['gt_ignore_flags'].sum())
    assert ignored > 0


def test_mmseg_reads_the_label_maps(root):
    data = CityscapesDataset(
        data_root=str(root),
        data_prefix={
            'img_path': 'leftImg8bit/val',
            'seg_map_path': 'gtFine/val',
        },
        pipeline=[],
    )
    assert len(data) == 3
    for index in range(3):
        info = data.get_data_info(index)
        scene = draw_scene(np.random.default_rng((0, 1, index)), 96)
        image = cv2.imread(info['img_path'])
        assert np.array_equal(image[..., ::-1], scene.image)
        labels = cv2.imread(info['seg_map_path'], cv2.IMREAD_UNCHANGED)
        assert np.array_equal(labels, scene.label_map())


def test_stamp_tells_the_settings(root):
    stamp = json.loads((root / 'shapes.json').read_text())
    assert stamp['num_train'] == 24
    assert stamp['version'] >= 1


@pytest.mark.parametrize('text', ['{', '[' * 10**6, '1' * 5000])
def test_a_broken_stamp_is_refused(tmp_path, text):
    (tmp_path / 'shapes.json').write_text(text)
    with pytest.raises(ConfigError, match='stamp of the shapes set'):
        write_shapes(tmp_path, ShapesSettings(2, 2, 64))
    assert (tmp_path / 'shapes.json').read_text() == text
