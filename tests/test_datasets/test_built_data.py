"""Test what a built data set is said to offer, with mmdet's own classes."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mmdet.datasets import CocoDataset
from mmengine.dataset import ConcatDataset, RepeatDataset

from mmtst.datasets.built_data import (
    DataCounts,
    check_counts,
    class_names,
    count_data,
    iter_parts,
    spread,
)
from mmtst.testing.coco import write_tiny_coco
from mmtst.utils.errors import ConfigError

ANNOTATIONS = 'annotations/instances_train2017.json'


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_coco(
        tmp_path_factory.mktemp('coco') / 'data', {'train2017': 5}
    )


def build(root: Path, ann_file: str = ANNOTATIONS, **more: Any) -> Any:
    return CocoDataset(
        data_root=str(root),
        ann_file=ann_file,
        data_prefix=dict(img='train2017/'),
        pipeline=[],
        **more,
    )


def rewrite(root: Path, name: str, **fields: Any) -> str:
    """Write a copy of the annotations with other fields in every one."""
    content = json.loads((root / ANNOTATIONS).read_text())
    for annotation in content['annotations']:
        annotation.update(fields)
    (root / name).write_text(json.dumps(content))
    return name


def test_objects_are_counted_by_class(root: Path) -> None:
    content = json.loads((root / ANNOTATIONS).read_text())
    order = [category['id'] for category in content['categories']]
    counts = count_data(build(root))
    assert (counts.images, counts.with_objects, counts.total) == (5, 5, 15)
    assert counts.objects == Counter(
        order.index(each['category_id']) for each in content['annotations']
    )
    lines = check_counts(counts, class_names(build(root)), 'here')
    assert lines[0].startswith('here: 5 images, 5 with objects; 15 objects')
    assert 'of 80 classes have none' in lines[1]


@pytest.mark.parametrize(
    'fields', [dict(area=0), dict(iscrowd=1), dict(bbox=[500, 0, 9, 9])]
)
def test_a_set_of_which_no_object_is_kept_is_refused(
    root: Path, fields: dict[str, Any]
) -> None:
    name = rewrite(root, 'dropped.json', **fields)
    counts = count_data(build(root, name))
    with pytest.raises(ConfigError, match='no image of the built data set'):
        check_counts(counts, class_names(build(root, name)), 'here')


def test_backgrounds_beside_objects_are_fine(root: Path) -> None:
    content = json.loads((root / ANNOTATIONS).read_text())
    content['annotations'] = []
    (root / 'backgrounds.json').write_text(json.dumps(content))
    both = ConcatDataset([build(root), build(root, 'backgrounds.json')])
    assert len(list(iter_parts(both))) == 2
    assert len(list(iter_parts(RepeatDataset(build(root), 3)))) == 1
    counts = count_data(both)
    assert (counts.images, counts.with_objects) == (10, 5)
    assert check_counts(counts, class_names(both), 'here')


def test_an_empty_set_is_refused() -> None:
    with pytest.raises(ConfigError, match='empty once it is built'):
        check_counts(DataCounts(), ('a',), 'here')


@pytest.mark.parametrize('label', [-1, 2])
def test_labels_beyond_the_classes_are_refused(label: int) -> None:
    counts = DataCounts(2, 2, 'labels', 2, Counter({0: 1, label: 1}))
    with pytest.raises(ConfigError, match='beyond its 2 classes'):
        check_counts(counts, ('a', 'b'), 'here')


def test_labels_beyond_the_model_are_refused_where_data_have_no_names() -> (
    None
):
    counts = DataCounts(2, 2, 'labels', 2, Counter({0: 1, 7: 1}))
    assert check_counts(counts, (), 'here')
    assert check_counts(counts, (), 'here', num_classes=8)
    with pytest.raises(ConfigError, match='beyond its 7 classes'):
        check_counts(counts, (), 'here', num_classes=7)


def test_a_class_without_its_comma_is_named() -> None:
    dataset = SimpleNamespace(metainfo=dict(classes='cat'))
    with pytest.raises(ConfigError, match=r"classes=\('cat',\)"):
        class_names(dataset)


class Labels:
    """Hold labels as mmpretrain's data sets do."""

    metainfo = SimpleNamespace()

    def __init__(self, labels: list[Any]) -> None:
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def get_data_info(self, number: int) -> dict[str, Any]:
        return dict(img_path='x.png', gt_label=self.labels[number])


def test_labels_of_classifiers_are_counted_one_or_several() -> None:
    assert count_data(Labels([0, 2, 2])).objects == {0: 1, 2: 2}
    assert count_data(Labels([[0, 1], [1]])).objects == {0: 1, 1: 2}
    assert count_data(Labels([1] * 30), most=10).looked_at == 10


def test_numbers_lie_evenly() -> None:
    assert spread(10, 3) == [0, 3, 6]
    assert spread(2, 5) == [0, 1]
    assert spread(3, None) == [0, 1, 2]


def test_labels_of_several_tasks_are_left_alone() -> None:
    counts = count_data(Labels([dict(color=1, shape=2)]))
    assert (counts.images, counts.total) == (1, 0)


def test_a_text_named_dataset_makes_no_wrapper() -> None:
    part = Labels([0, 1])
    part.dataset = 'voc'  # type: ignore[attr-defined]
    assert list(iter_parts(part)) == [part]
