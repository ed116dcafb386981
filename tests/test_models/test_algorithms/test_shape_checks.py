"""Check that pairs which cannot be compared are refused when built."""

from __future__ import annotations

import copy

import pytest
import torch

from mmtst.registry import MODELS
from mmtst.testing.detection import (
    detection_batch,
    tiny_faster_rcnn,
    tiny_fcos,
    tiny_retinanet,
)
from mmtst.testing.segmentation import tiny_segmentor
from mmtst.utils.errors import ConfigError

PKD = dict(type='mmtst.LevelwiseLoss', loss=dict(type='mmrazor.PKDLoss'))


def retinanet(classes=3, width=8, **neck):
    cfg = copy.deepcopy(tiny_retinanet(8, width))
    cfg['cfg_options']['bbox_head']['num_classes'] = classes
    cfg['cfg_options']['neck'].update(neck)
    return cfg


def build(student, teacher, source='neck', other=None, loss=PKD, **record):
    connectors = record.pop('connectors', None)
    mine = dict(recorder='one', from_student=True, **record)
    if connectors:
        mine['connector'] = 'fit'
    torch.manual_seed(0)
    return MODELS.build(
        dict(
            _scope_='mmrazor',
            type='mmtst.TeacherStudentDistill',
            architecture=student,
            teacher=teacher,
            untrained_teacher=True,
            distiller=dict(
                type='mmtst.DataAugmentationDistiller',
                student_recorders=dict(
                    one=dict(type='ModuleOutputs', source=source)
                ),
                teacher_recorders=dict(
                    one=dict(type='ModuleOutputs', source=other or source)
                ),
                connectors=connectors,
                distill_losses=dict(loss=copy.deepcopy(loss)),
                loss_forward_mappings=dict(
                    loss=dict(
                        preds_S=mine,
                        preds_T=dict(
                            recorder='one', from_student=False, **record
                        ),
                    )
                ),
            ),
        )
    )


KL = dict(type='mmtst.DenseKLLoss')


@pytest.mark.parametrize('source', ['bbox_head', 'bbox_head.retina_cls'])
def test_class_maps_of_other_classes_name_num_classes(source):
    data = dict(data_idx=0) if source == 'bbox_head' else {}
    with pytest.raises(ConfigError, match='num_classes') as caught:
        build(retinanet(5), retinanet(80), source, loss=KL, **data)
    assert "'bbox_head.num_classes': 5" in str(caught.value)
    assert "'bbox_head.num_classes': 80" in str(caught.value)


def test_class_maps_of_a_segmentor_name_num_classes():
    student, teacher = tiny_segmentor(), tiny_segmentor()
    head = teacher['cfg_options']['decode_head']
    head['num_classes'] = head.get('num_classes', 4) + 3
    with pytest.raises(ConfigError, match='num_classes'):
        build(student, teacher, 'decode_head.conv_seg', loss=KL)


def test_box_maps_do_not_depend_on_the_classes():
    build(retinanet(5), retinanet(80), 'bbox_head.retina_reg', loss=KL)
    build(retinanet(5), retinanet(80))


def test_necks_of_other_strides_name_them_and_their_pairs():
    with pytest.raises(ConfigError, match='strides') as caught:
        build(retinanet(), tiny_faster_rcnn())
    said = str(caught.value)
    assert '[8, 16, 32, 64, 128]' in said and '[4, 8, 16, 32, 64]' in said
    assert "student's data_idx=0 with teacher's data_idx=1" in said
    # As it says; the other direction too.
    with pytest.raises(ConfigError, match='strides'):
        build(tiny_faster_rcnn(), retinanet())


def test_necks_of_other_numbers_of_levels():
    teacher = retinanet(num_outs=4)
    anchors = dict(strides=[8, 16, 32, 64])
    teacher['cfg_options']['bbox_head']['anchor_generator'] = anchors
    with pytest.raises(ConfigError, match='differ in number or stride'):
        build(retinanet(), teacher)


@pytest.mark.parametrize('width', [None, 4])
def test_other_channels_name_a_connector(width):
    fit = None
    if width is not None:
        fit = dict(
            fit=dict(
                type='mmtst.PyramidConnector', in_channels=4, out_channels=16
            )
        )
    with pytest.raises(ConfigError, match='PyramidConnector') as caught:
        build(retinanet(), retinanet(width=16), connectors=fit)
    assert 'in_channels=8, out_channels=16' in str(caught.value)


def test_a_pair_that_fits_is_left_as_it_is():
    fit = dict(type='mmtst.PyramidConnector', in_channels=8, out_channels=16)
    model = build(retinanet(), retinanet(width=16), connectors=dict(fit=fit))
    assert all(m.training for m in model.student.modules())
    counts = [b for n, b in model.named_buffers() if n.endswith('_tracked')]
    assert counts and not any(counts)
    assert all(
        not recorder.data_buffer
        for side in ('student', 'teacher')
        for recorder in getattr(
            model.distiller, f'{side}_recorders'
        ).recorders.values()
    )
    model.train()
    assert model.loss(*detection_batch())['distill.loss'] > 0


@pytest.mark.parametrize(
    ('student', 'teacher', 'source', 'other'),
    [
        (tiny_fcos, tiny_faster_rcnn, 'bbox_head.conv_cls', None),
        (
            tiny_fcos,
            tiny_faster_rcnn,
            'bbox_head.conv_cls',
            'roi_head.bbox_head.fc_cls',
        ),
        (
            tiny_faster_rcnn,
            tiny_fcos,
            'roi_head.bbox_head.fc_cls',
            'bbox_head.conv_cls',
        ),
        (tiny_faster_rcnn, tiny_fcos, 'rpn_head', None),
    ],
)
def test_one_stage_beside_two_stage_says_what_can_be_compared(
    student, teacher, source, other
):
    with pytest.raises(ConfigError, match='one-stage and a two-') as caught:
        build(student(), teacher(), source, other, loss=KL)
    assert "source='neck'" in str(caught.value)
