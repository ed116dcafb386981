"""Compare the judgement of entries with what mmdet makes of them."""

import types

import numpy as np
import pytest
from mmdet.datasets import CocoDataset
from mmdet.datasets.transforms import LoadAnnotations
from pycocotools import mask as run_lengths

from mmtst.datasets.annotation_entries import (
    are_well_formed,
    entry_problem,
    judge_boxes,
    judge_mask,
)

FIELDS = ('id', 'image_id', 'category_id', 'bbox', 'area')


def entry(**changes):
    good = dict(id=1, image_id=1, category_id=1, bbox=[0, 0, 1, 1], area=1.0)
    return good | changes


def test_boxes_are_dropped_as_mmdet_drops_them():
    generator = np.random.default_rng(0)
    boxes = generator.uniform(-6, 12, (400, 4)).round(1)
    boxes[::7] = boxes[::7].round()
    areas = generator.integers(-1, 4, 400).astype(float)
    sizes = generator.integers(0, 9, (400, 2)).astype(float)
    stub = types.SimpleNamespace(
        data_prefix=dict(img=''),
        return_classes=False,
        cat_ids=[1],
        cat2label={1: 0},
    )
    verdicts = judge_boxes(boxes, areas, sizes)
    leave = verdicts.pop('leave')
    dropped = np.array(list(verdicts.values()))
    assert (dropped.sum(0) <= 1).all()
    assert dropped.any(1).all()
    for i in range(400):
        parsed = CocoDataset.parse_data_info(
            stub,
            dict(
                raw_img_info=dict(
                    file_name='',
                    img_id=1,
                    width=sizes[i, 0],
                    height=sizes[i, 1],
                ),
                raw_ann_info=[
                    entry(bbox=list(boxes[i]), area=float(areas[i]))
                ],
            ),
        )
        kept = parsed['instances']
        assert bool(kept) != dropped[:, i].any()
        if kept:
            x1, y1, x2, y2 = kept[0]['bbox']
            over = max(-x1, -y1, x2 - sizes[i, 0], y2 - sizes[i, 1])
            assert leave[i] == (over > 1)


SQUARE = np.zeros((5, 7), np.uint8, order='F')
SQUARE[1:4, 2:6] = 1
PACKED = run_lengths.encode(SQUARE)
PACKED = dict(size=[5, 7], counts=PACKED['counts'].decode())
PLAIN = dict(size=[5, 7], counts=[11, 3, 2, 3, 2, 3, 2, 3, 6])
FAILURES = (KeyError, TypeError, ValueError)
STOPS = ('missing', 'malformed')


@pytest.mark.parametrize(
    ('mask', 'verdict'),
    [
        ([[0, 0, 5, 0, 5, 4]], None),
        ([[0, 0, 5, 0, 5, 4], [1, 1]], None),
        (PACKED, None),
        (PLAIN, None),
        ([[0, 0, 5, 4]], 'points'),
        ([[0, 0, 5, 0, 5, 4, 3]], 'points'),
        (dict(size=[5, 7]), 'points'),
        (None, 'missing'),
        ([0, 0, 5, 0, 5, 4], 'malformed'),
        ([['a'] * 6], 'malformed'),
    ],
)
def test_masks_are_judged_as_mmdet_reads_them(mask, verdict):
    assert judge_mask(mask, (7, 5), True) == verdict
    instance = dict(bbox=[0, 0, 5, 4], bbox_label=0, ignore_flag=0)
    if mask:
        instance['mask'] = mask
    results = dict(instances=[instance], ori_shape=(5, 7))
    step = LoadAnnotations(with_bbox=False, with_label=False, with_mask=True)
    if verdict in STOPS:
        with pytest.raises(FAILURES):
            step.transform(results)
    else:
        step.transform(results)
        ignored = bool(results['gt_ignore_flags'][0])
        assert ignored == (verdict == 'points')


@pytest.mark.parametrize(
    ('mask', 'verdict'),
    [
        # Taken for the image's own size, so that the mask is another one.
        (PLAIN | dict(size=[7, 5]), 'runs'),
        (PACKED | dict(size=[7, 5]), 'runs'),
        # Not tried on pycocotools: it frees and reads what it never wrote.
        (PACKED | dict(size=[6, 7]), 'runs'),
        (PLAIN | dict(counts=[11, 3, 99]), 'runs'),
        (PLAIN | dict(counts=[-1, 36]), 'runs'),
        (PACKED | dict(counts=PACKED['counts'] + '5'), 'runs'),
        # Read out of memory that was never written.
        (PLAIN | dict(counts=[]), 'runs'),
        (PLAIN | dict(counts=[11, 3]), 'runs'),
        (PACKED | dict(counts=''), 'runs'),
        (PACKED | dict(counts='~~~~~~~~~'), 'runs'),
        # Ends the process.
        ([[1e12, 1, 2, 3, 4, 1e12]], 'far'),
        ([[float('nan'), 1, 2, 3, 4, 5]], 'far'),
        ([[float('inf'), 1, 2, 3, 4, 5]], 'far'),
    ],
)
def test_masks_that_pycocotools_does_not_look_at(mask, verdict):
    assert judge_mask(mask, (7, 5), True) == verdict


@pytest.mark.parametrize(
    'entries',
    [
        [1],
        [{}],
        [entry(), entry()],
        [entry(id=[1])],
        [entry(id=float('nan'))],
        [entry(image_id=None)],
        [entry(bbox=[0, 0, 1])],
        [entry(bbox=[0, 0, 1, True])],
        [entry(bbox=[0, 0, 1, '1'])],
        [entry(bbox=[0, 0, 1, float('inf')])],
        [entry(bbox='abcd')],
        [entry(area=None)],
        [entry(area=float('nan'))],
        [entry(), entry(id=2, bbox=5)],
    ],
)
def test_bulk_and_single_judgement_agree_on_faults(entries):
    assert not are_well_formed(entries, 'annotations')
    twice = len({str(e.get('id')) for e in entries if type(e) is dict})
    problems = [entry_problem(e, FIELDS) for e in entries]
    assert any(problems) or twice < len(entries)


@pytest.mark.parametrize(
    'entries',
    [
        [],
        [entry(), entry(id=2, area=0, bbox=[0.5, -1, 2, 10**19])],
        [entry(id='a'), entry(image_id='x')],
    ],
)
def test_bulk_and_single_judgement_agree_on_good_ones(entries):
    assert are_well_formed(entries, 'annotations')
    assert not any(entry_problem(e, FIELDS) for e in entries)
