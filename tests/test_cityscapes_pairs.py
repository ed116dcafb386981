"""Train each pair of segmentors on Cityscapes for three steps, made small.

The configs are the real ones; the models are narrowed to what a CPU runs in
seconds, crops and images are some hundred pixels wide, and the data is a tiny
set in Cityscapes' own folders with its 19 classes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from pair_trainings import give_random_teacher, train_three_steps

from mmtst.datasets import check_data, set_data_root
from mmtst.testing.cityscapes import write_tiny_cityscapes
from mmtst.testing.segmentation import tiny_segmentor

CONFIGS = Path(__file__).parents[1] / 'configs' / 'tst' / 'mmseg'
SIZE = (128, 64)  # width, height
CROP = (64, 96)  # height, width
IMAGES = dict(train=6, val=2)

# Of each pair, what is compared: both heads, or the decode head alone.
BOTH = {'distill.loss_kl', 'distill.loss_kl_aux'}
DECODE = {'distill.loss_kl'}
PAIRS = {
    'pspnet-r101_pspnet-r18_8xb2-80k_cityscapes-512x1024': BOTH,
    'deeplabv3plus-r101_deeplabv3plus-r18_8xb2-80k_cityscapes-512x1024': BOTH,
    'segformer-b2_segformer-b0_8xb1-160k_cityscapes-1024x1024': DECODE,
    'segformer-b2_pspnet-r18_8xb2-80k_cityscapes-512x1024': DECODE,
}


@pytest.fixture(scope='module')
def cityscapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the root of a Cityscapes of a few images."""
    root = tmp_path_factory.mktemp('data') / 'cityscapes'
    return write_tiny_cityscapes(root, IMAGES, SIZE)


def read(pair: str, cityscapes: Path, tmp_path: Path) -> Config:
    """Return a pair's config, narrowed and for the tiny set."""
    cfg = Config.fromfile(CONFIGS / f'tst_logits_{pair}.py')
    init_default_scope('mmseg')
    set_data_root(cfg, str(cityscapes))
    cfg.work_dir = str(tmp_path / 'work')
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
        for step in loader.dataset.pipeline:
            if step.type in ('Resize', 'RandomResize'):
                step.scale = SIZE
            elif step.type == 'RandomCrop':
                step.crop_size = CROP
    # Of one image alone a pooled map has no spread.
    cfg.train_dataloader.batch_size = 2
    model = cfg.model
    for part, base in ((model.architecture, 8), (model.teacher, 16)):
        small = tiny_segmentor(part.cfg_path, base, num_classes=19, size=CROP)
        part.cfg_options = small['cfg_options']
        if 'segformer' in part.cfg_path:
            # Windows over images that are larger, as at full size.
            part.cfg_options['test_cfg'] = dict(
                crop_size=CROP, stride=(48, 64)
            )
    give_random_teacher(cfg, tmp_path)
    cfg.train_cfg.update(max_iters=3, val_interval=3)
    cfg.default_hooks.checkpoint.interval = 3
    cfg.custom_hooks[0].update(at=[1], iterations=1)
    return cfg


@pytest.mark.slow
@pytest.mark.parametrize('pair', PAIRS)
def test_three_steps_a_search_and_a_validation(
    pair: str, cityscapes: Path, tmp_path: Path
) -> None:
    cfg = read(pair, cityscapes, tmp_path)
    check_data(cfg)
    runner, steps = train_three_steps(cfg)
    expected = PAIRS[pair] | {'student.decode.loss_ce'}
    if 'student.aux.loss_ce' in steps[0]:
        expected.add('student.aux.loss_ce')
    for step in steps:
        found = {name for name in step if name.startswith('distill.')}
        assert found == PAIRS[pair]
        assert expected <= set(step)
        assert all(step[name] > 0 for name in PAIRS[pair])
    # Validation has compared the student's maps with those of the files.
    assert 'val/mIoU' in runner.message_hub.log_scalars
    assert (Path(cfg.work_dir) / 'iter_3.pth').is_file()


def test_the_tiny_set_is_named_and_labelled_as_the_real_one(
    cityscapes: Path,
) -> None:
    """Train ids are what the raw ids stand for, ignored ones included."""
    import cv2
    from mmseg.datasets import CityscapesDataset

    from mmtst.testing.cityscapes import LABEL_IDS

    classes = CityscapesDataset.METAINFO['classes']
    assert len(LABEL_IDS) == len(classes) == 19
    for split, number in IMAGES.items():
        dataset = CityscapesDataset(
            data_root=str(cityscapes),
            data_prefix=dict(
                img_path=f'leftImg8bit/{split}', seg_map_path=f'gtFine/{split}'
            ),
        )
        assert len(dataset) == number
        for item in dataset:
            labels = cv2.imread(item['seg_map_path'], cv2.IMREAD_UNCHANGED)
            assert labels.shape == (SIZE[1], SIZE[0])
            raw_path = item['seg_map_path'].replace('TrainIds', 'Ids')
            raw = cv2.imread(raw_path, cv2.IMREAD_UNCHANGED)
            for train_id in np.unique(labels):
                (raw_id,) = np.unique(raw[labels == train_id])
                expected = 0 if train_id == 255 else LABEL_IDS[train_id]
                assert raw_id == expected
            assert (labels == 255).any() and len(np.unique(labels)) >= 4
