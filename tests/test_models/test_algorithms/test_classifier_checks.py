"""Check what pairs of classifiers are refused."""

from __future__ import annotations

from typing import Any

import mmtst  # noqa: F401  isort: skip
import pytest
import torch

from mmtst.registry import MODELS
from mmtst.structures import LabelBatch
from mmtst.utils.errors import ConfigError

PREPROCESSOR = dict(
    type='mmpretrain.ClsDataPreprocessor', mean=[0.0], std=[1.0], num_classes=5
)
MIXUP = dict(augments=[dict(type='Mixup', alpha=0.8)])


def build(
    classes: int = 5,
    source: str = 'head.fc',
    kind: str = 'TeacherStudentDistill',
    top: dict[str, Any] | None = None,
    **student: Any,
) -> Any:
    pair = [
        dict(
            _scope_='mmpretrain',
            type='ImageClassifier',
            data_preprocessor=PREPROCESSOR,
            backbone=dict(type='LeNet5'),
            head=dict(type='LinearClsHead', num_classes=n, in_channels=120),
            **options,
        )
        for n, options in ((5, student), (classes, {}))
    ]
    record = dict(recorder='it', data_idx=0 if source == 'backbone' else None)
    if record['data_idx'] is None:
        del record['data_idx']
    recorders = dict(it=dict(type='ModuleOutputs', source=source))
    cfg = dict(
        _scope_='mmrazor',
        type=f'mmtst.{kind}',
        architecture=pair[0],
        teacher=pair[1],
        untrained_teacher=True,
        data_preprocessor=top,
        distiller=dict(
            type='mmtst.DataAugmentationDistiller',
            student_recorders=recorders,
            teacher_recorders=recorders,
            distill_losses=dict(loss=dict(type='mmtst.MimicLoss')),
            loss_forward_mappings=dict(
                loss=dict(
                    preds_S=dict(from_student=True, **record),
                    preds_T=dict(from_student=False, **record),
                )
            ),
        ),
    )
    return MODELS.build(cfg)


def test_the_students_mixup_is_not_left_out_silently() -> None:
    assert build(train_cfg=MIXUP).data_preprocessor.batch_augments is not None
    # One at the top of a config is given to the algorithm.
    with pytest.raises(ConfigError, match='data_preprocessor = None'):
        build(train_cfg=MIXUP, top=PREPROCESSOR)
    mixing = dict(PREPROCESSOR, batch_augments=MIXUP)
    assert build(train_cfg=MIXUP, top=mixing).data_preprocessor.to_onehot
    assert not build(top=PREPROCESSOR).data_preprocessor.to_onehot


def test_mixup_of_one_sample_for_all_is_refused() -> None:
    labels = torch.tensor([3, 1])
    batch = LabelBatch(metainfo=dict(num_classes=5)).set_gt_label(labels)
    data = dict(inputs=torch.rand(2, 1, 32, 32), data_samples=[batch])
    with pytest.raises(ConfigError, match='batched=False'):
        build(train_cfg=MIXUP).data_preprocessor(data, True)
    done = build().data_preprocessor(data, True)
    assert torch.equal(done['data_samples'][0].gt_label, labels)


def test_a_teacher_of_other_classes_gives_no_scores() -> None:
    with pytest.raises(ConfigError, match='got:     7'):
        build(classes=7)
    # Of features a teacher of other classes has something to say.
    build(classes=7, source='backbone')
    with pytest.raises(ConfigError, match='got:     7'):
        build(classes=7, source='backbone', kind='TSTDistill')
