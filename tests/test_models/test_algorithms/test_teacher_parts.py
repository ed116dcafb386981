"""Test that a mask teacher works where there are boxes alone."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from mmtst.models.algorithms.teacher_parts import leave_out_masks
from mmtst.models.build import build_model
from mmtst.registry import MODELS
from mmtst.testing.detection import (
    detection_batch,
    tiny_cascade_mask_rcnn,
    tiny_faster_rcnn,
    tiny_retinanet,
)
from mmtst.utils.errors import ConfigError

MASK_RCNN = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'


def tiny_mask_rcnn() -> dict[str, Any]:
    reference = tiny_faster_rcnn(cfg_path=MASK_RCNN)
    reference['cfg_options']['roi_head'].update(
        mask_roi_extractor=dict(out_channels=8),
        mask_head=dict(
            num_convs=1, in_channels=8, conv_out_channels=8, num_classes=3
        ),
    )
    return reference


def names(model: nn.Module) -> set[str]:
    return {name for name in model.state_dict() if 'mask' in name}


@pytest.mark.parametrize('make', [tiny_mask_rcnn, tiny_cascade_mask_rcnn])
def test_masks_go_and_boxes_stay(make: Any) -> None:
    torch.manual_seed(0)
    teacher = build_model(make(), 'teacher').eval()
    teacher.init_weights()
    teacher.test_cfg.rcnn.score_thr = 0.0
    inputs, samples = detection_batch()
    with torch.no_grad():
        before = teacher(inputs, copy.deepcopy(samples), mode='predict')
        assert len(before[0].pred_instances.masks)
        student = build_model(tiny_retinanet(), 'student')
        dropped = leave_out_masks(teacher, student)
        assert dropped == ['roi_head.mask_head', 'roi_head.mask_roi_extractor']
        after = teacher(inputs, copy.deepcopy(samples), mode='predict')
    assert not names(teacher)
    for one, other in zip(before, after, strict=True):
        assert 'masks' not in other.pred_instances
        assert len(other.pred_instances) == len(one.pred_instances)
        # Without masks they are scaled at another place in the code.
        torch.testing.assert_close(
            other.pred_instances.scores, one.pred_instances.scores
        )
    # No ground truth of masks is asked for.
    losses = teacher(inputs, samples, mode='loss')
    assert not any('mask' in name for name in losses)
    assert any(name.endswith('loss_bbox') for name in losses)


def test_an_extractor_that_masks_share_stays() -> None:
    reference = tiny_mask_rcnn()
    reference['cfg_options']['roi_head']['mask_roi_extractor'] = None
    teacher = build_model(reference, 'teacher')
    roi_head = teacher.roi_head
    assert roi_head.mask_roi_extractor is roi_head.bbox_roi_extractor
    leave_out_masks(teacher, build_model(tiny_faster_rcnn(), 'student'))
    assert roi_head.bbox_roi_extractor is not None
    losses = teacher(*detection_batch(), mode='loss')
    assert 'loss_bbox' in losses


def test_masks_stay_where_the_student_has_some() -> None:
    teacher = build_model(tiny_cascade_mask_rcnn(), 'teacher')
    before = names(teacher)
    student = build_model(tiny_mask_rcnn(), 'student')
    assert leave_out_masks(teacher, student) == []
    assert names(teacher) == before


def test_teachers_without_masks_are_left_alone() -> None:
    student = build_model(tiny_retinanet(), 'student')
    for reference in (tiny_retinanet(), tiny_faster_rcnn()):
        teacher = build_model(reference, 'teacher')
        before = set(teacher.state_dict())
        assert leave_out_masks(teacher, student) == []
        assert set(teacher.state_dict()) == before


class SemanticRoIHead(nn.Module):
    def __init__(self, fusion: tuple[str, ...]) -> None:
        super().__init__()
        self.semantic_fusion = fusion
        for name in ('mask_head', 'semantic_head', 'semantic_roi_extractor'):
            setattr(self, name, nn.Identity())


def test_semantic_heads_go_where_boxes_do_not_need_them() -> None:
    student = build_model(tiny_retinanet(), 'student')
    teacher = nn.Module()
    teacher.roi_head = SemanticRoIHead(('mask',))
    assert leave_out_masks(teacher, student) == [
        'roi_head.mask_head',
        'roi_head.semantic_head',
        'roi_head.semantic_roi_extractor',
    ]
    teacher.roi_head = SemanticRoIHead(('bbox', 'mask'))
    with pytest.raises(ConfigError, match='segmentation maps') as error:
        leave_out_masks(teacher, student)
    assert 'model.teacher.roi_head.semantic_head' in str(error.value)


def distill(teacher_ckpt: str, student: dict[str, Any]) -> Any:
    neck = dict(neck=dict(type='ModuleOutputs', source='neck'))
    return MODELS.build(
        dict(
            _scope_='mmrazor',
            type='mmtst.TSTDistill',
            architecture=student,
            teacher=tiny_cascade_mask_rcnn(16),
            teacher_ckpt=teacher_ckpt,
            distiller=dict(
                type='mmtst.DataAugmentationDistiller',
                student_recorders=neck,
                teacher_recorders=neck,
                distill_losses=dict(loss=dict(type='mmtst.MimicLoss')),
                loss_forward_mappings=dict(
                    loss=dict(
                        preds_S=dict(from_student=True, recorder='neck'),
                        preds_T=dict(from_student=False, recorder='neck'),
                    )
                ),
            ),
            seed=0,
        )
    )


def test_checkpoints_still_have_to_fit_exactly(tmp_path: Any) -> None:
    torch.manual_seed(1)
    whole = build_model(tiny_cascade_mask_rcnn(16), 'here').state_dict()
    assert any('mask_head' in name for name in whole)
    path = str(tmp_path / 'teacher.pth')
    torch.save(dict(state_dict=whole), path)
    model = distill(path, tiny_faster_rcnn())
    own = model.teacher.state_dict()
    assert own and not names(model.teacher)
    assert all(torch.equal(value, whole[name]) for name, value in own.items())
    boxes = {k: v for k, v in whole.items() if 'mask_head' not in k}
    torch.save(dict(state_dict=boxes), path)
    with pytest.raises(ConfigError, match='does not fit CascadeRCNN'):
        distill(path, tiny_faster_rcnn())


def cascade_student() -> dict[str, Any]:
    reference = tiny_cascade_mask_rcnn()
    reference['cfg_options']['roi_head'].update(
        mask_head=None, mask_roi_extractor=None
    )
    return reference


@pytest.mark.parametrize('student', [tiny_faster_rcnn, cascade_student])
def test_the_search_takes_all_box_losses_of_the_teacher(
    student: Any, tmp_path: Any
) -> None:
    path = str(tmp_path / 'teacher.pth')
    torch.manual_seed(1)
    teacher = build_model(tiny_cascade_mask_rcnn(16), 'here')
    torch.save(dict(state_dict=teacher.state_dict()), path)
    model = distill(path, student()).train()
    inputs, samples = detection_batch()
    heard: list[dict[str, Any]] = []
    model.teacher.register_forward_hook(lambda *call: heard.append(call[2]))
    policy = model.augmentation.policy.leaf()
    draw, _ = model.draw_views(inputs, samples, policy, model.generator)
    with model.search_mode():
        result = model.search_objective(inputs, samples, policy, draw)
        gradients = torch.autograd.grad(result.total, policy)
    assert set(heard[0]) - {'s0.acc', 's1.acc', 's2.acc'} == {
        'loss_rpn_cls',
        'loss_rpn_bbox',
        *(f's{i}.loss_{kind}' for i in range(3) for kind in ('cls', 'bbox')),
    }
    assert bool(result.total.isfinite())
    assert float(result.parts['T_other']) == pytest.approx(0, abs=1e-4)
    assert float(gradients[0].abs().sum()) > 0
