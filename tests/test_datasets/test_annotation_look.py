"""Check what a look at one annotation file counts."""

import json

import pytest
from mmengine.config import ConfigDict

from mmtst.datasets import annotation_look
from mmtst.datasets.annotation_look import look_at_annotations

RUNS = dict(size=[4, 4], counts=[3, 3, 10])


@pytest.fixture
def look(tmp_path):
    def run(*annotations, every=False):
        content = dict(
            images=[dict(id=1, file_name='a.jpg', width=4, height=4)],
            categories=[dict(id=1, name='cell')],
            annotations=[
                dict(
                    id=i,
                    image_id=1,
                    category_id=1,
                    bbox=[0, 0, 2, 2],
                    area=4,
                    segmentation=RUNS,
                )
                | changes
                for i, changes in enumerate(annotations)
            ],
        )
        (tmp_path / 'a.json').write_text(json.dumps(content))
        (tmp_path / 'a.jpg').write_bytes(b'some')
        load = dict(type='LoadAnnotations', with_mask=True)
        dataset = ConfigDict(
            type='CocoDataset',
            data_root=str(tmp_path),
            ann_file='a.json',
            metainfo=dict(classes=('cell',)),
            pipeline=[load],
        )
        return look_at_annotations(dataset, 'here', every)

    return run


def test_objects_that_are_used_are_counted(look):
    found = look({}, {}, dict(iscrowd=1), dict(area=0), dict(ignore=True))
    assert (found.used, found.with_objects, found.readable) == (2, 1, True)
    assert found.labels == ('cell',)
    assert found.reasons == [
        '1 of 4 objects have an area of 0 or less',
        '1 of 4 are crowds',
    ]


def test_run_lengths_are_added_up_in_a_sample(look, monkeypatch):
    monkeypatch.setattr(annotation_look, '_MOST_MASKS', 2)
    annotations = [{}, dict(segmentation=RUNS | dict(counts=[3])), {}]
    assert look(*annotations).findings == []
    (finding,) = look(*annotations, every=True).findings
    assert finding.refused
    assert finding.places == ('annotation 1 of image 1',)


def test_of_what_cannot_be_read_there_is_one_finding(look, tmp_path):
    found = look()
    assert found.readable
    (tmp_path / 'b.json').write_text('[')
    found.dataset.ann_file = 'b.json'
    found = look_at_annotations(found.dataset, 'here', False)
    assert not found.readable
    (finding,) = found.findings
    assert finding.error is not None
    assert finding.file == str(tmp_path / 'b.json')
