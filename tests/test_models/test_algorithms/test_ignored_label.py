"""Test which label a warp gives to what it brings into view."""

from __future__ import annotations

import pytest
from torch import nn

from mmtst.models.algorithms.ignored_label import ignored_label
from mmtst.utils.errors import ConfigError


class Head(nn.Module):
    """A head as mmseg's are."""

    def __init__(self, ignore_index: int) -> None:
        super().__init__()
        self.ignore_index = ignore_index
        self.loss_decode = nn.Identity()


def segmentor(*labels: int) -> nn.Module:
    model = nn.Module()
    model.decode_head = Head(labels[0])
    if len(labels) > 1:
        model.auxiliary_head = nn.ModuleList(map(Head, labels[1:]))
    return model


def test_it_is_that_of_the_heads() -> None:
    assert ignored_label(segmentor(7, 7), segmentor(7)) == 7


def test_without_label_maps_it_is_mmsegs_default() -> None:
    assert ignored_label(nn.Identity(), nn.Identity()) == 255


@pytest.mark.parametrize(
    ('student', 'teacher', 'name'),
    [
        ((255,), (0,), 'teacher.decode_head'),
        ((255, 255, 0), (255,), 'architecture.auxiliary_head.1'),
    ],
)
def test_heads_that_disagree_are_named(student, teacher, name) -> None:
    with pytest.raises(ConfigError) as caught:
        ignored_label(segmentor(*student), segmentor(*teacher))
    assert name in str(caught.value)
