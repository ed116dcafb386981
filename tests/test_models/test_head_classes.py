"""Test that models of other classes than the data's are refused."""

from __future__ import annotations

import pytest
from torch import nn

from mmtst.models.build import build_model
from mmtst.models.head_classes import (
    check_class_order,
    check_model_classes,
    head_classes,
)
from mmtst.testing.detection import tiny_cascade_mask_rcnn, tiny_retinanet
from mmtst.utils.errors import ConfigError

NAMES = ('cat', 'dog', 'bird')


def test_the_heads_of_detectors_are_found() -> None:
    retinanet = build_model(tiny_retinanet(), 'model')
    assert head_classes(retinanet) == {'bbox_head': 3}
    cascade = build_model(tiny_cascade_mask_rcnn(), 'model')
    found = head_classes(cascade)
    # The RPN, which tells objects from background, is not among them.
    assert {f'roi_head.bbox_head.{i}' for i in range(3)} <= set(found)
    assert set(found.values()) == {3}


def test_another_number_of_classes_is_refused() -> None:
    model = build_model(tiny_retinanet(), 'model')
    check_model_classes(model, NAMES, 'model.architecture')
    with pytest.raises(
        ConfigError, match=r'model.architecture.bbox_head.num_classes'
    ):
        check_model_classes(model, NAMES[:2], 'model.architecture')


@pytest.mark.parametrize('key', ['classes', 'CLASSES'])
def test_the_same_classes_in_another_order_are_refused(key: str) -> None:
    model = nn.Module()
    model.dataset_meta = {key: ('Dog', 'cat', 'bird')}
    with pytest.raises(ConfigError, match="class 0 is 'Dog' there, 'cat'"):
        check_class_order(model, NAMES, 'model.teacher_ckpt')


def test_other_names_are_said_and_unknown_ones_pass() -> None:
    model = nn.Module()
    assert check_class_order(model, NAMES, 'x') is None
    model.dataset_meta = dict(classes=('cat', 'dog', 'Bird '))
    assert check_class_order(model, NAMES, 'x') is None
    model.dataset_meta = dict(classes=('cat', 'dog', 'birds'))
    said = check_class_order(model, NAMES, 'x')
    assert said is not None
    assert 'birds' in said
