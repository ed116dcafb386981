"""Test that a teacher sees what it would see alone."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from mmdet.evaluation import CocoMetric
from mmengine.model import BaseModel

from mmtst.engine.hooks.teacher_check_hook import predict_teacher
from mmtst.models.algorithms.teacher_pass import TeacherPass
from mmtst.models.build import build_model
from mmtst.testing.detection import detection_batch, tiny_retinanet


class Pair:
    """A pytorch-style student and a caffe-style teacher of random weights."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.student = build_model(tiny_retinanet(), 'student')
        caffe = tiny_retinanet(base_channels=16)
        caffe['cfg_options']['data_preprocessor'] = dict(
            mean=[103.53, 116.28, 123.675],
            std=[1.0, 1.0, 1.0],
            bgr_to_rgb=False,
        )
        # Scores of random weights are low.
        caffe['cfg_options']['test_cfg'] = dict(score_thr=0.0)
        self.teacher: BaseModel = build_model(caffe, 'teacher').eval()
        self.teacher.init_weights()
        self.data_preprocessor = self.student.data_preprocessor
        self._pass = TeacherPass(
            self.teacher, self.data_preprocessor, ['neck']
        )

    def teacher_inputs(self, inputs: torch.Tensor, samples: Any) -> Any:
        return self._pass.inputs(inputs, samples)


@pytest.fixture
def pair() -> Pair:
    return Pair()


@pytest.fixture
def data() -> dict[str, Any]:
    """Two images of 80 x 50 pixels, padded to 96 x 64."""
    _, samples = detection_batch(size=(64, 96), valid=(50, 80))
    generator = torch.Generator().manual_seed(1)
    inputs = [
        torch.randint(0, 256, (3, 50, 80), generator=generator).byte()
        for _ in samples
    ]
    for number, sample in enumerate(samples):
        sample.set_metainfo(
            dict(img_id=number, ori_shape=(50, 80), scale_factor=(1.0, 1.0))
        )
    return dict(inputs=inputs, data_samples=samples)


def test_images_are_normalized_as_the_teachers_own(pair, data) -> None:
    theirs = pair.teacher.data_preprocessor(copy.deepcopy(data), False)
    mine = pair.data_preprocessor(copy.deepcopy(data), False)
    converted = pair.teacher_inputs(mine['inputs'], mine['data_samples'])
    assert not torch.allclose(mine['inputs'], theirs['inputs'])
    torch.testing.assert_close(
        converted, theirs['inputs'], rtol=1e-4, atol=1e-3
    )


def test_alike_preprocessors_change_nothing(pair, data) -> None:
    own = TeacherPass(pair.student, pair.data_preprocessor, ['neck'])
    mine = pair.data_preprocessor(data, False)
    assert own.inputs(mine['inputs'], mine['data_samples']) is mine['inputs']


def test_the_teachers_ap_inside_is_its_ap_alone(pair, data) -> None:
    """Its best detections alone are the ground truth, with AP 1."""
    with torch.no_grad():
        alone = pair.teacher.test_step(copy.deepcopy(data))
        inside = predict_teacher(pair, copy.deepcopy(data))
        unconverted = pair.teacher(
            pair.data_preprocessor(copy.deepcopy(data), False)['inputs'],
            copy.deepcopy(alone),
            mode='predict',
        )
    truths = [sample.pred_instances[:10] for sample in alone]
    assert all(len(truth) == 10 for truth in truths)

    def average_precision(samples: list[Any]) -> float:
        metric = CocoMetric(metric='bbox')
        metric.dataset_meta = dict(classes=('a', 'b', 'c'))
        rows = []
        for sample, truth in zip(samples, truths, strict=True):
            row = sample.to_dict()
            row['pred_instances'] = sample.pred_instances[:10].to_dict()
            row['instances'] = [
                dict(bbox=box.tolist(), bbox_label=int(label), ignore_flag=0)
                for box, label in zip(truth.bboxes, truth.labels, strict=True)
            ]
            rows.append(row)
        metric.process({}, rows)
        return float(metric.evaluate(len(rows))['coco/bbox_mAP'])

    reference = average_precision(alone)
    assert reference == pytest.approx(1.0, abs=1e-3)
    assert average_precision(inside) == pytest.approx(reference, abs=1e-3)
    assert average_precision(unconverted) < 0.9


@pytest.mark.parametrize(
    ('sources', 'head'), [(['neck'], False), (['neck', 'bbox_head'], True)]
)
def test_the_head_runs_only_where_it_is_listened_to(
    pair, data, sources: list[str], head: bool
) -> None:
    calls = []
    pair.teacher.bbox_head.register_forward_hook(
        lambda *_: calls.append(torch.is_grad_enabled())
    )
    mine = pair.data_preprocessor(data, False)
    TeacherPass(pair.teacher, pair.data_preprocessor, sources).run(
        mine['inputs'], mine['data_samples']
    )
    assert calls == [False] * head
