"""Test that a two-stage teacher's RoI losses can be left out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from mmtst.models.build import build_model
from mmtst.models.objectives.roi_losses import check_two_stage, roi_losses
from mmtst.models.utils import frozen_statistics
from mmtst.testing.detection import (
    detection_batch,
    tiny_cascade_mask_rcnn,
    tiny_faster_rcnn,
    tiny_retinanet,
)
from mmtst.utils.errors import ConfigError


def losses_of(model: Any) -> dict[str, Any]:
    torch.manual_seed(0)
    with frozen_statistics(model), torch.no_grad():
        losses: dict[str, Any] = model(*detection_batch(), mode='loss')
    return losses


def faster_rcnn() -> Any:
    torch.manual_seed(1)
    return build_model(tiny_faster_rcnn(), 'model.teacher')


def test_the_first_stages_losses_stay_as_they_are() -> None:
    teacher = faster_rcnn()
    whole = losses_of(teacher)
    assert set(whole) == {
        'loss_rpn_cls',
        'loss_rpn_bbox',
        'loss_cls',
        'loss_bbox',
        'acc',
    }
    with roi_losses(teacher, kept=True):
        assert set(losses_of(teacher)) == set(whole)
    ran = []
    handles = [
        module.register_forward_hook(lambda *_: ran.append(1))
        for module in teacher.roi_head.modules()
    ]
    with roi_losses(teacher, kept=False):
        first = losses_of(teacher)
    assert not ran
    assert set(first) == {'loss_rpn_cls', 'loss_rpn_bbox'}
    for name, values in first.items():
        for value, other in zip(values, whole[name], strict=True):
            assert torch.equal(value, other)
    for handle in handles:
        handle.remove()
    again = losses_of(teacher)
    assert again['loss_cls'] == whole['loss_cls']


def test_a_cascade_needs_no_masks_for_it() -> None:
    teacher = build_model(tiny_cascade_mask_rcnn(), 'model.teacher')
    with roi_losses(teacher, kept=False):
        assert set(losses_of(teacher)) == {'loss_rpn_cls', 'loss_rpn_bbox'}


def test_the_roi_head_is_given_back_as_it_was() -> None:
    teacher = faster_rcnn()
    with pytest.raises(KeyError), roi_losses(teacher, kept=False):
        raise KeyError
    assert 'loss' not in vars(teacher.roi_head)
    teacher.roi_head.loss = own = dict
    with roi_losses(teacher, kept=False):
        assert teacher.roi_head.loss is not own
    assert teacher.roi_head.loss is own


def without(name: str) -> nn.Module:
    teacher: nn.Module = faster_rcnn()
    delattr(teacher, name)
    return teacher


def without_rpn_losses() -> nn.Module:
    teacher = faster_rcnn()
    teacher.rpn_head = nn.Identity()  # Sparse R-CNN's has none
    return teacher


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (
            lambda: build_model(tiny_retinanet(), 'model.teacher'),
            'no RPN with losses and no RoI head',
        ),
        (lambda: without('rpn_head'), 'no RPN with losses,'),
        (lambda: without('roi_head'), 'no RoI head,'),
        (without_rpn_losses, 'no RPN with losses,'),
    ],
)
def test_other_teachers_are_refused(make: Any, message: str) -> None:
    teacher = make()
    with pytest.raises(ConfigError, match=message) as caught:
        check_two_stage(teacher)
    text = str(caught.value)
    assert 'where:   model.objective.teacher_roi_losses\n' in text
    assert f'a {type(teacher).__name__}, has' in text
    with pytest.raises(ConfigError, match=message):
        roi_losses(teacher, kept=False).__enter__()
    with roi_losses(teacher, kept=True):
        pass
