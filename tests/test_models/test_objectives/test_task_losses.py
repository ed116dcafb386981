"""Test how the losses of a model are read."""

from __future__ import annotations

import pytest
import torch

from mmtst.models.objectives.task_losses import task_losses


def test_task_losses_read_the_dict_as_mmengine_does() -> None:
    one = torch.ones(2, 2)
    losses = task_losses(
        dict(
            loss_a=one,
            loss_list=[one, 2 * one],
            acc=5 * one,
            note='no loss here, but in the note',
            aux=dict(loss_b=3 * one, iou=one, deep=[dict(loss_c=one)]),
            loss_none=[],
        )
    )
    assert {k: v.item() for k, v in losses.items()} == {
        'loss_a': 1.0,
        'loss_list': 3.0,
        'aux.loss_b': 3.0,
    }


def test_a_loss_that_is_no_tensor_is_refused() -> None:
    with pytest.raises(TypeError, match="'loss_a' is a str"):
        task_losses(dict(loss_a='1'))
