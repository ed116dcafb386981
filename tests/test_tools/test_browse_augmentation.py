"""Test the before/after pictures, made without student and teacher."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmtst.augmentation.base import MAGNITUDE_OPERATORS, OPERATORS
from mmtst.datasets import set_data_root
from mmtst.testing.cityscapes import write_tiny_cityscapes
from mmtst.testing.coco import write_tiny_coco
from mmtst.utils.errors import ConfigError


@pytest.fixture
def browse(load_tool):
    return load_tool('browse_augmentation')


def read(browse, config, shapes, *arguments):
    args = browse.parse_args([str(config), *arguments])
    cfg = Config.fromfile(config)
    set_data_root(cfg, str(shapes))
    browse.init_default_scope(cfg.default_scope)
    return cfg, args


def test_files_are_written_and_small(
    browse, distill_config, shapes, tmp_path, capsys
):
    # The teacher's checkpoint need not exist: nothing of it is read.
    browse.main(
        [
            str(distill_config),
            '--data-root',
            str(shapes),
            '--num',
            '7',
            '--output-dir',
            str(tmp_path / 'out'),
            '--cfg-options',
            'model.teacher_ckpt=/no/teacher.pth',
        ]
    )
    files = sorted((tmp_path / 'out').iterdir())
    assert [file.name for file in files] == [
        'augmentation_0.png',
        'augmentation_1.png',
    ]
    printed = capsys.readouterr().out
    for file in files:
        assert str(file) in printed
        assert file.stat().st_size <= 300_000
        with Image.open(file) as picture:
            assert np.array(picture.convert('L')).std() > 20


def test_closed_gates_change_nothing(browse, distill_config, shapes):
    cfg, args = read(
        browse, distill_config, shapes, '--probability', '0', '--num', '5'
    )
    pairs = list(browse.views(cfg, args))
    assert len(pairs) == 5
    for before, after in pairs:
        assert after.caption == 'nothing applied'
        assert np.array_equal(before.image, after.image)
        assert torch.equal(
            before.sample.gt_instances.bboxes,
            after.sample.gt_instances.bboxes,
        )


def test_open_gates_move_image_boxes_and_masks(browse, distill_config, shapes):
    cfg, args = read(
        browse,
        distill_config,
        shapes,
        '--probability',
        '1',
        '--strength',
        '0.8',
        '--operators',
        'TranslateX',
        '--num',
        '4',
    )
    moved = inside = 0
    for before, after in browse.views(cfg, args):
        assert after.caption.startswith('TranslateX')
        if not np.array_equal(before.image, after.image):
            moved += 1
        instances = after.sample.gt_instances
        masks = instances.masks.to_ndarray().astype(bool)
        for box, mask in zip(instances.bboxes.tolist(), masks, strict=True):
            if box[2] >= 63.9:
                # What the frame cuts off moves the hull of a mask alone.
                continue
            inside += 1
            rows, columns = np.nonzero(mask)
            hull = (
                columns.min(),
                rows.min(),
                columns.max() + 1,
                rows.max() + 1,
            )
            assert np.abs(np.subtract(hull, box)).max() <= 1.5
    # The guard may hold an image still, but not all of them.
    assert moved >= 2
    assert inside >= 4


def test_same_seed_same_pictures(browse, distill_config, shapes):
    def captions(*arguments):
        cfg, args = read(browse, distill_config, shapes, *arguments)
        return [after.caption for _, after in browse.views(cfg, args)]

    assert captions() == captions()
    assert captions() != captions('--seed', '4')


def policy_file(path, probability):
    path.write_text(
        json.dumps(
            dict(
                probabilities=dict.fromkeys(OPERATORS, probability),
                magnitudes=dict.fromkeys(MAGNITUDE_OPERATORS, 0.5),
            )
        )
    )
    return str(path)


def test_policy_file_is_used(browse, distill_config, shapes, tmp_path):
    path = policy_file(tmp_path / 'policy.json', 0.0)
    cfg, args = read(browse, distill_config, shapes, '--policy', path)
    for _, after in browse.views(cfg, args):
        assert after.caption == 'nothing applied'


@pytest.mark.slow
def test_policy_of_a_checkpoint_is_used(
    browse, distill_config, distill_run, shapes
):
    path = distill_run / 'epoch_1.pth'
    cfg, args = read(browse, distill_config, shapes, '--checkpoint', str(path))
    encoder, _ = browse.build_encoder(cfg)
    policy = browse.choose_policy(encoder, args)
    weights = torch.load(path, weights_only=False)['state_dict']
    assert torch.equal(policy.th_p, weights['augmentation.th_p'])
    assert policy.th_p.abs().max() > 0


def test_checkpoint_without_policy_is_named(
    browse, distill_config, teacher_checkpoint, shapes
):
    cfg, args = read(
        browse, distill_config, shapes, '--checkpoint', str(teacher_checkpoint)
    )
    with pytest.raises(ConfigError, match=r'no augmentation\.th_p'):
        next(browse.views(cfg, args))


def test_number_out_of_range_is_named(browse, distill_config, shapes, capsys):
    with pytest.raises(SystemExit):
        read(browse, distill_config, shapes, '--strength', '1.5')
    assert '--strength' in capsys.readouterr().err


def test_plain_config_gets_the_default_augmentation(
    browse, plain_config, shapes
):
    cfg, args = read(browse, plain_config, shapes, '--num', '2')
    assert len(list(browse.views(cfg, args))) == 2


COCO_CONFIGS = sorted(
    (Path(__file__).parents[2] / 'configs' / 'tst').rglob('*_coco.py')
)


@pytest.fixture(scope='module')
def coco(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'coco'
    return write_tiny_coco(
        root,
        dict(train2017=4),
        # Of mmdet's own full size, so that no resizing blurs the edges; in
        # the middle of it, where a rotation leaves the object in view.
        size=(1333, 800),
        corner=(620, 350),
        objects=1,
        masks=True,
    )


def hull(mask):
    """Return the edges around the pixels of a mask: x1, y1, x2, y2."""
    rows, columns = np.nonzero(mask)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


@pytest.mark.parametrize('path', COCO_CONFIGS, ids=lambda path: path.stem)
def test_the_papers_pairs_are_shown_with_boxes_and_masks_that_fit(
    browse, coco, path
):
    """Caffe-style and pytorch-style pipelines, in the right colors."""
    args = browse.parse_args(
        [
            *(str(path), '--data-root', str(coco), '--num', '4'),
            *('--probability', '1', '--strength', '0.4', '--operators'),
            *('TranslateX', 'TranslateY', 'Rotate', 'ShearX', 'ShearY'),
            *('--cfg-options',),
            'train_dataloader.dataset.pipeline.1.with_mask=True',
        ]
    )
    cfg = browse.read_config(args)
    browse.init_default_scope('mmdet')
    for step in cfg.train_dataloader.dataset.pipeline:
        if step.type == 'RandomChoiceResize':
            step.scales = [(1333, 800)]
    turned = 0
    for before, after in browse.views(cfg, args):
        assert before.image.shape == (800, 1333, 3)
        for view in (before, after):
            instances = view.sample.gt_instances
            (box,) = instances.bboxes
            box = getattr(box, 'tensor', box).flatten().numpy()
            (mask,) = instances.masks.to_ndarray().astype(bool)
            away = np.abs(view.image.astype(int) - (120, 180, 250))
            # Halfway to what lies around it.
            painted = away.max(axis=2) < 70
            # A rectangle fills its box, and its image the box's image.
            assert np.abs(hull(painted) - box).max() <= 2.0
            assert np.abs(hull(mask) - box).max() <= 2.0
            both = (painted & mask).sum() / (painted | mask).sum()
            assert both > 0.93
            middle = int(box[1] + box[3]) // 2, int(box[0] + box[2]) // 2
            assert away[middle].max() <= 3
        # The box of a turned rectangle has room at its corners.
        turned += bool(mask.sum() < 0.95 * np.prod(box[2:] - box[:2]))
    assert turned >= 2


SEGMENTORS = sorted(
    (Path(__file__).parents[2] / 'configs' / 'tst' / 'mmseg').rglob('*.py')
)


@pytest.fixture(scope='module')
def cityscapes(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'cityscapes'
    return write_tiny_cityscapes(root, dict(train=3), size=(512, 256))


@pytest.mark.parametrize(
    'path',
    [path for path in SEGMENTORS if 'cityscapes' in path.stem],
    ids=lambda path: path.stem,
)
def test_label_maps_of_segmentors_lie_on_their_colors(
    browse, cityscapes, path
):
    """Each class is painted in a color, before and after the warp."""
    arguments = ['--probability', '1', '--strength', '0.6', '--num', '3']
    arguments += ['--operators', 'TranslateX', 'Rotate', 'ShearY']
    cfg, args = read(browse, path, cityscapes, *arguments)
    pipeline = cfg.train_dataloader.dataset.pipeline
    for step in pipeline:
        if step.type == 'RandomResize':
            step.update(scale=(512, 256), ratio_range=(1.0, 1.0))
        elif step.type == 'RandomCrop':
            step.crop_size = (256, 512)
    # Colors tell the class here.
    pipeline[:] = [p for p in pipeline if p.type != 'PhotoMetricDistortion']
    meta = browse._metainfo(cfg)
    assert meta['classes'][0] == 'road'
    palette = np.array(meta['palette'])
    moved = outside = 0
    for before, after in browse.views(cfg, args):
        for view in (before, after):
            assert view.image.shape == (256, 512, 3)
            # Maps are padded to the crop, pictures are not shown so.
            labels = view.sample.gt_sem_seg.data[0, :256, :512].numpy()
            known = labels < len(palette)
            away = np.abs(
                view.image[known].astype(int) - palette[labels[known]]
            ).max(axis=1)
            # All but what is blended where two classes meet.
            assert (away < 40).mean() > 0.93
        moved += not np.array_equal(before.image, after.image)
        ignored = [
            (view.sample.gt_sem_seg.data[0, :256, :512] == 255).float().mean()
            for view in (before, after)
        ]
        outside += bool(ignored[1] > ignored[0] + 0.02)
    assert moved >= 2
    assert outside >= 1


def test_pictures_of_label_maps_are_written(
    browse, shapes_of_cities, tmp_path, capsys
):
    config = Path(__file__).parents[2] / 'configs' / 'demo' / 'seg' / 'tst.py'
    arguments = [config, '--data-root', shapes_of_cities, '--num', '4']
    arguments += ['--output-dir', tmp_path]
    browse.main([str(argument) for argument in arguments])
    file = tmp_path / 'augmentation_0.png'
    assert str(file) in capsys.readouterr().out
    with Image.open(file) as picture:
        assert np.array(picture.convert('L')).std() > 20
