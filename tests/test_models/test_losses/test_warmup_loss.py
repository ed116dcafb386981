"""Check that a weight grows with a training and with a resumed one."""

import copy
import logging
from inspect import signature

import pytest
import torch
from mmengine.logging import MessageHub, MMLogger
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from mmtst.models.losses import WarmupLoss
from mmtst.registry import MODELS
from mmtst.utils.errors import ConfigError
from mmtst.utils.safe_loading import install_safe_loading

MIMIC = dict(type='mmtst.MimicLoss')
ONES = torch.ones(1, 1, 1, 1)
ZEROS = torch.zeros(1, 1, 1, 1)


@pytest.fixture
def hub(request):
    """Give a hub of its own, the current one, as a runner makes it."""
    hub = MessageHub.get_instance(request.node.name)
    yield hub
    del MessageHub._instance_dict[request.node.name]


def test_epochs_by_hand(hub):
    # The loss is 1; of a warm-up over 4 epochs the first has 1/4.
    loss = WarmupLoss(MIMIC, epochs=4)
    expected = {0: 0.25, 1: 0.5, 2: 0.75, 3: 1.0, 4: 1.0, 100: 1.0}
    for epoch, value in expected.items():
        hub.update_info('epoch', epoch)
        assert float(loss(ONES, ZEROS)) == value
        assert float(loss(preds_S=ONES, preds_T=ZEROS)) == value


def test_iterations_by_hand(hub):
    loss = WarmupLoss(MIMIC, iters=10)
    hub.update_info('epoch', 7)
    for now, value in {0: 0.1, 4: 0.5, 9: 1.0, 10: 1.0}.items():
        hub.update_info('iter', now)
        assert loss.factor == pytest.approx(value)


def test_without_a_training_the_weight_is_full(hub):
    assert float(WarmupLoss(MIMIC, epochs=20)(ONES, ZEROS)) == 1.0


def test_the_gradient_is_weighted_too(hub):
    hub.update_info('epoch', 0)
    student = ONES.clone().requires_grad_()
    WarmupLoss(MIMIC, epochs=4)(student, ZEROS).backward()
    assert float(student.grad) == pytest.approx(0.25 * 2)


def test_it_has_the_arguments_of_the_loss_within():
    inner = dict(type='mmtst.CRDLoss', num_samples=8, num_negatives=2)
    loss = WarmupLoss(inner, epochs=2)
    assert list(signature(loss.forward).parameters) == [
        'preds_S',
        'preds_T',
        'data_samples',
    ]
    # What the loss keeps is kept in checkpoints.
    assert 'loss.student_memory' in loss.state_dict()


def test_a_copy_does_not_call_the_original(hub):
    first = WarmupLoss(MIMIC, epochs=2)
    second = copy.deepcopy(first)
    second.loss.loss_weight = 3.0
    assert float(second(ONES, ZEROS)) == 3.0
    assert float(first(ONES, ZEROS)) == 1.0


@pytest.mark.parametrize(
    'length',
    [{}, dict(epochs=2, iters=2), dict(epochs=0), dict(iters=1.5)],
    ids=str,
)
def test_lengths_that_are_none_are_refused(length):
    with pytest.raises(ConfigError, match='distill_losses'):
        WarmupLoss(MIMIC, **length)


def test_a_warm_up_that_never_ends_is_logged_once(hub, caplog):
    logger = MMLogger.get_instance('never-ends')
    logger.addHandler(caplog.handler)
    hub.update_info_dict(dict(epoch=0, max_epochs=1))
    loss = WarmupLoss(MIMIC, epochs=20)
    assert loss.factor == loss.factor == 0.05
    (line,) = [r for r in caplog.records if 'stays below' in r.message]
    assert line.levelno == logging.WARNING and 'set iters' in line.message


class Toy(BaseModel):
    """Notes the weight that each step has."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, 1, 1, 1))
        self.loss = MODELS.build(
            dict(type='mmtst.WarmupLoss', loss=MIMIC, epochs=4)
        )
        self.seen = []

    def forward(self, inputs, mode='loss', **_):
        self.seen.append(self.loss.factor)
        return dict(loss=self.loss(self.weight, ZEROS))


def train(work_dir, name, epochs, resume=False):
    model = Toy()
    Runner(
        model=model,
        work_dir=str(work_dir),
        experiment_name=name,
        train_dataloader=dict(
            dataset=[dict(inputs=torch.zeros(1)) for _ in range(2)],
            sampler=dict(type='DefaultSampler', shuffle=False),
            batch_size=1,
        ),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
        resume=resume,
        log_level='ERROR',
    ).train()
    return model.seen


def test_a_resumed_training_goes_on_with_the_weight_it_had(
    tmp_path, checkpoints_as_before
):
    install_safe_loading()
    whole = train(tmp_path / 'whole', 'whole', 5)
    # Two steps of an epoch have the same weight.
    assert whole == [0.25] * 2 + [0.5] * 2 + [0.75] * 2 + [1.0] * 4
    first = train(tmp_path / 'broken', 'broken-0', 2)
    second = train(tmp_path / 'broken', 'broken-1', 5, resume=True)
    assert first + second == whole
