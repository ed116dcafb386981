"""A compiled model computes what it did before, gradients included."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from mmtst.engine.hooks import CompileHook
from mmtst.models.algorithms import TSTDistill
from mmtst.registry import MODELS
from mmtst.structures import LabelBatch
from mmtst.utils.errors import ConfigError

CONFIG = (
    Path(__file__).parents[3]
    / 'configs/tst/mmpretrain'
    / 'tst_logits_resnet56_resnet20_1xb128-240e_cifar100.py'
)


@pytest.fixture
def model() -> TSTDistill:
    cfg = Config.fromfile(CONFIG)
    init_default_scope(cfg.default_scope)
    for side in ('architecture', 'teacher'):
        cfg.model[side].backbone.depth = 8
    cfg.model.update(teacher_ckpt=None, untrained_teacher=True, seed=0)
    torch.manual_seed(0)
    built: TSTDistill = MODELS.build(cfg.model)
    return built.train()


def batch() -> tuple[Tensor, list[Any]]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(4, 3, 32, 32, generator=generator)
    return images, [LabelBatch().set_gt_label(torch.arange(4))]


def compiled(model: TSTDistill, **options: Any) -> TSTDistill:
    twin = copy.deepcopy(model)
    CompileHook(options=options).before_train(SimpleNamespace(model=twin))
    return twin


def step(model: TSTDistill) -> tuple[dict[str, float], list[Tensor]]:
    loss, logged = model.parse_losses(model.loss(*batch()))
    model.zero_grad()
    loss.backward()
    values = {name: float(value.detach()) for name, value in logged.items()}
    gradients = [p.grad for p in model.student.parameters()]
    return values, [g for g in gradients if g is not None]


def search(model: TSTDistill) -> tuple[Tensor, tuple[Tensor, ...]]:
    inputs, samples = batch()
    with model.search_mode():
        policy = model.augmentation.policy.leaf()
        draw, _ = model.draw_views(
            inputs, samples, policy.detach(), torch.Generator().manual_seed(1)
        )
        result = model.search_objective(inputs, samples, policy, draw)
        assert result is not None
        return result.total, torch.autograd.grad(result.total, list(policy))


def test_losses_and_gradients_stay(model: TSTDistill) -> None:
    twin = compiled(model, backend='aot_eager')
    for _ in range(2):
        expected, gradients = step(model)
        found, others = step(twin)
        assert found == pytest.approx(expected, rel=1e-5)
        assert found['distill.loss_kl'] > 0
        for one, other in zip(gradients, others, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(model.state_dict(), twin.state_dict())


def test_the_gradient_of_the_policy_stays(model: TSTDistill) -> None:
    twin = compiled(model, backend='aot_eager')
    step(twin)  # Compiled for the training before.
    step(model)
    total, gradients = search(model)
    other, others = search(twin)
    torch.testing.assert_close(total, other)
    assert all(bool(gradient.abs().max() > 0) for gradient in gradients)
    torch.testing.assert_close(gradients, others, rtol=1e-3, atol=1e-6)


def test_networks_are_compiled_whole_and_each_alone(
    model: TSTDistill,
) -> None:
    graphs: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        graphs.append(graph)
        return graph.forward

    step(compiled(model, backend=backend))
    assert len(graphs) == 2
    layers = [
        sum(
            node.op == 'call_function' and 'conv2d' in str(node.target)
            for node in graph.graph.nodes
        )
        for graph in graphs
    ]
    convolutions = sum(
        isinstance(m, nn.Conv2d) for m in model.student.backbone.modules()
    )
    assert layers == [convolutions, convolutions]


def test_a_graph_can_be_differentiated_twice() -> None:
    """The compiler proper would give its memory away in the first pass."""
    part = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1))
    inputs = torch.randn(2, 4, requires_grad=True)
    (expected,) = torch.autograd.grad(part(inputs).sum(), inputs)
    model = nn.Module()
    model.part = part
    runner = SimpleNamespace(model=model)
    CompileHook(modules=['part']).before_train(runner)
    total = part(inputs).sum()
    for _ in range(2):
        (found,) = torch.autograd.grad(total, inputs, retain_graph=True)
        torch.testing.assert_close(found, expected)


def test_a_part_that_is_not_there_is_named(model: TSTDistill) -> None:
    hook = CompileHook(modules=['student.neck.last'])
    with pytest.raises(ConfigError, match=r'student\.neck\.last'):
        hook.before_train(SimpleNamespace(model=model))
