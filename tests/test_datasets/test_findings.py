"""Check how what was found in data is refused or said."""

import pytest

from mmtst.datasets.findings import Finding, refuse_worst
from mmtst.utils.errors import ConfigError

BAD = Finding(
    '5 boxes are upside down',
    'train.ann_file',
    'a.json',
    5,
    ('annotations[0]', 'annotations[3]', 'annotations[4]', 'annotations[9]'),
    fix='turn them',
)
MILD = Finding('2 boxes are small', 'here', 'b.json', 2, refused=False)


def test_what_is_only_said_is_not_refused():
    refuse_worst([])
    refuse_worst([MILD])
    assert MILD.note() == '2 boxes are small (b.json, here)'
    assert 'for example annotations[0]' in BAD.note()


def test_the_error_names_file_place_number_and_the_others():
    with pytest.raises(ConfigError) as error:
        refuse_worst([MILD, BAD, BAD])
    text = str(error.value)
    for part in (
        '5 boxes are upside down',
        'train.ann_file',
        'a.json: annotations[0], annotations[3], annotations[4], 2 more',
        'turn them; 1 more kinds',
        'tools/check_data.py',
    ):
        assert part in text
    assert 'annotations[9]' not in text
