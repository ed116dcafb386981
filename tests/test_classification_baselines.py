"""Check the classifiers' distillers: their values, and a step of each."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import Any

import mmtst  # noqa: F401  isort: skip
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmpretrain.structures import DataSample
from torch import Tensor

from mmtst.models import TeacherStudentDistill
from mmtst.registry import MODELS

BASE = (
    Path(__file__).parents[1] / 'configs/_base_/distillers/classification.py'
)
METHODS = ('kd', 'dkd', 'dist', 'fitnet', 'at', 'crd', 'reviewkd')
# Of a student with stages of 4, 8, 16, 32 channels and a teacher of twice.
STUDENT, TEACHER = [4, 8, 16, 32], [8, 16, 32, 64]
FILLED_IN = f"""
fitnet_distiller = dict(
    connectors=dict(stage=dict(in_channel=8, out_channel=16))
)
crd_distiller = dict(
    connectors=dict(student=dict(dim_in=32), teacher=dict(dim_in=64)),
    distill_losses=dict(loss_crd=dict(num_samples=20, num_negatives=7)),
)
reviewkd_distiller = dict(
    connectors=dict(
        stages=dict(
            in_channels={[*STUDENT, 32]}, out_channels={[*TEACHER, 64]}
        )
    ),
    distill_losses=dict(loss_reviewkd=dict(loss=dict(loss_weight=2.0))),
)
"""


@pytest.fixture(autouse=True)
def hub(request: pytest.FixtureRequest) -> Any:
    """Give each test a hub of its own: no training has started there."""
    yield MessageHub.get_instance(request.node.name)
    del MessageHub._instance_dict[request.node.name]


def distiller_of(method: str, folder: Path) -> dict[str, Any]:
    """Complete a distiller as a pair's and a method's config do."""
    pair, final = folder / 'pair.py', folder / f'{method}.py'
    pair.write_text(f'_base_ = {str(BASE)!r}\n{FILLED_IN}')
    final.write_text(
        textwrap.dedent(
            f"""
            _base_ = './pair.py'
            model = dict(distiller={{{{_base_.{method}_distiller}}}})
            """
        )
    )
    cfg: dict[str, Any] = Config.fromfile(final).model.distiller.to_dict()
    return cfg


def classifier(channels: int) -> dict[str, Any]:
    return dict(
        _scope_='mmpretrain',
        type='ImageClassifier',
        data_preprocessor=dict(
            type='ClsDataPreprocessor', num_classes=5, mean=[0.0], std=[1.0]
        ),
        backbone=dict(
            type='ResNet_CIFAR',
            depth=18,
            base_channels=channels,
            stem_channels=channels,
            out_indices=(0, 1, 2, 3),
        ),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(
            type='LinearClsHead', num_classes=5, in_channels=8 * channels
        ),
    )


class TwoViews(TeacherStudentDistill):
    """Trains on each image as it is and mirrored, as TST on two views."""

    def views(
        self, inputs: Tensor, samples: Any
    ) -> tuple[Tensor, list[Any], dict[str, float]]:
        """Put both into one batch, the originals first."""
        views = torch.cat([inputs, inputs.flip(3)])
        return views, [*samples, *samples], {}


def build(distiller: dict[str, Any]) -> TwoViews:
    torch.manual_seed(0)
    model = TwoViews(
        architecture=classifier(4),
        teacher=classifier(8),
        untrained_teacher=True,
        distiller=distiller,
    )
    model.train()
    return model


def batch(step: int = 0) -> tuple[Tensor, list[DataSample]]:
    generator = torch.Generator().manual_seed(step)
    samples = []
    for i in range(4):
        index = 4 * step + i
        sample = DataSample(sample_idx=torch.tensor(index))
        samples.append(sample.set_gt_label(index % 5))
    return torch.randn(4, 3, 16, 16, generator=generator), samples


@pytest.mark.parametrize('method', METHODS)
def test_a_step_trains_student_and_connectors(
    method: str, tmp_path: Path
) -> None:
    model = build(distiller_of(method, tmp_path))
    losses = model.loss(*batch())
    (name,) = [name for name in losses if name.startswith('distill.')]
    assert bool(losses[name].isfinite()) and losses[name] > 0
    losses[name].backward()
    gradients = {
        n: p.grad
        for n, p in model.student.backbone.named_parameters()
        # FitNet ends at its stage.
        if method != 'fitnet' or n.split('.')[0] not in ('layer3', 'layer4')
    }
    assert all(
        g is not None and g.isfinite().all() for g in gradients.values()
    )
    assert sum(g.abs().sum() for g in gradients.values()) > 0
    for n, parameter in model.distiller.named_parameters():
        assert parameter.grad is not None, n
        assert parameter.grad.abs().sum() > 0, n
    assert all(p.grad is None for p in model.teacher.parameters())
    # The class scores of KD, DKD and DIST, and no others.
    scores = method in ('kd', 'dkd', 'dist')
    assert (model.student.head.fc.weight.grad is not None) == scores


@pytest.mark.parametrize('method', METHODS)
def test_the_loss_falls_when_it_is_trained(
    method: str, tmp_path: Path
) -> None:
    model = build(distiller_of(method, tmp_path))
    modules = [model.student, model.distiller]
    parameters = [p for m in modules for p in m.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=3e-3)
    values = []
    for _ in range(12):
        losses = model.loss(*batch())
        (value,) = [v for n, v in losses.items() if n.startswith('distill.')]
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(float(value.detach()))
    assert values[-1] < 0.9 * values[0]


def test_crd_keeps_one_memory_of_two_views(tmp_path: Path) -> None:
    model = build(distiller_of('crd', tmp_path))
    loss = model.distiller.distill_losses['loss_crd']
    before = loss.student_memory.clone()
    model.loss(*batch(step=1))
    moved = (loss.student_memory != before).any(dim=1).nonzero().flatten()
    assert moved.tolist() == [4, 5, 6, 7]
    assert loss.labels[4:8].tolist() == [4, 0, 1, 2]
    names = [n for n in model.state_dict() if 'memory' in n]
    assert len(names) == 2  # Checkpoints hold both.


def test_warm_up_follows_the_training(hub: Any, tmp_path: Path) -> None:
    for method in ('dkd', 'reviewkd'):
        model = build(distiller_of(method, tmp_path))
        hub.update_info('epoch', 19)
        whole = model.loss(*batch())[f'distill.loss_{method}']
        hub.update_info('epoch', 0)
        first = model.loss(*batch())[f'distill.loss_{method}']
        torch.testing.assert_close(first, whole / 20)


def test_numbers_are_those_of_the_tables(tmp_path: Path) -> None:
    def losses(method: str) -> dict[str, Any]:
        found = distiller_of(method, tmp_path)['distill_losses']
        (loss,) = found.values()
        return dict(loss)

    assert losses('kd')['tau'] == 4 and losses('kd')['loss_weight'] == 1
    dkd = losses('dkd')
    assert dkd['epochs'] == 20
    assert dkd['loss']['alpha'] == 1 and dkd['loss']['beta'] == 8
    assert losses('fitnet')['loss_weight'] == 100
    assert losses('at')['loss_weight'] == 1000
    crd = losses('crd')
    assert crd['loss_weight'] == 0.8 and crd['channels'] == 128
    # What a pair gives comes on top of the rest.
    assert crd['num_samples'] == 20 and crd['temperature'] == 0.07
    assert losses('reviewkd')['loss']['loss_weight'] == 2.0


# mmrazor's losses, as the base config sets them, against the papers.


def loss_of(method: str, folder: Path) -> Any:
    found = distiller_of(method, folder)['distill_losses']
    return MODELS.build(
        dict(found[f'loss_{"kl" if method == "kd" else method}'])
    )


def logits(seed: int = 0, rows: int = 6, classes: int = 5) -> Any:
    generator = torch.Generator().manual_seed(seed)
    pair = torch.randn(2, rows, classes, generator=generator).double() * 3
    labels = torch.randint(classes, (rows,), generator=generator)
    return pair[0], pair[1], labels


def softmax(values: list[float], tau: float) -> list[float]:
    powers = [math.exp(v / tau) for v in values]
    return [p / sum(powers) for p in powers]


def divergence(student: list[float], teacher: list[float]) -> float:
    pairs = zip(student, teacher, strict=True)
    return sum(t * math.log(t / s) for s, t in pairs)


@pytest.mark.parametrize('seed', [0, 1])
def test_kd_is_tau_squared_times_the_mean_divergence(
    seed: int, tmp_path: Path
) -> None:
    student, teacher, _ = logits(seed)
    rows = zip(student.tolist(), teacher.tolist(), strict=True)
    terms = [divergence(softmax(s, 4), softmax(t, 4)) for s, t in rows]
    expected = 16 * sum(terms) / len(terms)
    value = loss_of('kd', tmp_path)(student, teacher)
    assert float(value) == pytest.approx(expected, rel=1e-9)


@pytest.mark.filterwarnings('ignore:size_average')
@pytest.mark.parametrize('seed', [0, 1])
def test_dkd_splits_target_and_other_classes(
    seed: int, tmp_path: Path
) -> None:
    # DKD, Eq. 7: alpha TCKD + beta NCKD, times tau^2, a mean over images.
    student, teacher, labels = logits(seed)
    total = 0.0
    for s, t, label in zip(
        student.tolist(), teacher.tolist(), labels.tolist(), strict=True
    ):
        p, q = softmax(s, 4)[label], softmax(t, 4)[label]
        target = divergence([p, 1 - p], [q, 1 - q])
        others = [
            softmax([v for i, v in enumerate(row) if i != label], 4)
            for row in (s, t)
        ]
        total += 16 * (1 * target + 8 * divergence(*others))
    value = loss_of('dkd', tmp_path)(student, teacher, labels)
    assert float(value) == pytest.approx(total / len(labels), rel=1e-6)


def correlation(a: list[float], b: list[float]) -> float:
    a = [x - sum(a) / len(a) for x in a]
    b = [x - sum(b) / len(b) for x in b]
    shared = sum(x * y for x, y in zip(a, b, strict=True))
    return shared / math.sqrt(sum(x * x for x in a) * sum(x * x for x in b))


@pytest.mark.parametrize('seed', [0, 1])
def test_dist_correlates_rows_and_columns(seed: int, tmp_path: Path) -> None:
    student, teacher, _ = logits(seed)
    rows = [[softmax(r, 4) for r in x.tolist()] for x in (student, teacher)]
    columns = [list(map(list, zip(*x, strict=True))) for x in rows]
    total = 0.0
    for s, t in (rows, columns):
        pairs = list(zip(s, t, strict=True))
        total += 1 - sum(correlation(*pair) for pair in pairs) / len(pairs)
    value = loss_of('dist', tmp_path)(student, teacher)
    assert float(value) == pytest.approx(2 * 16 * total, rel=1e-4)


def test_fitnet_is_the_mean_squared_error(tmp_path: Path) -> None:
    # Errors 1 and 3: 100 * (1 + 9) / 2.
    student = torch.tensor([1.0, 3.0]).view(1, 2, 1, 1)
    loss = loss_of('fitnet', tmp_path)
    assert float(loss(student, torch.zeros(1, 2, 1, 1))) == 500.0
    # mmrazor's L2Loss, set so, gives the same, but pairs any shapes.
    plain = MODELS.build(
        dict(
            type='mmrazor.L2Loss',
            normalize=False,
            div_element=True,
            loss_weight=100.0,
        )
    )
    assert float(plain(student, torch.zeros(1, 2, 1, 1))) == 500.0


@pytest.mark.parametrize(
    ('options', 'side'),
    [
        (dict(kernel_size=3, stride=2, padding=1), 8),
        (
            dict(
                kernel_size=4,
                stride=2,
                padding=1,
                conv_cfg=dict(type='deconv'),
            ),
            32,
        ),
    ],
    ids=['halved', 'doubled'],
)
def test_fitnets_connector_can_change_the_stride(
    options: dict[str, Any], side: int, tmp_path: Path
) -> None:
    cfg = distiller_of('fitnet', tmp_path)['connectors']['stage']
    connector = MODELS.build(dict(cfg, **options))
    assert connector(torch.randn(2, 8, 16, 16)).shape == (2, 16, side, side)
