"""Kill trainings and resume them: the short form of ``make drill``."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from trainings import Training, Variant, differences

from mmtst.datasets import ShapesSettings, write_shapes


@pytest.fixture(scope='module')
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a shapes set of a few images of 64 pixels."""
    out = tmp_path_factory.mktemp('drill') / 'shapes'
    write_shapes(out, ShapesSettings(24, 6, 64, seed=5))
    return out


@pytest.mark.slow
@pytest.mark.parametrize(
    ('variant', 'other', 'moments'),
    [
        (
            Variant(by_epoch=True, workers=2, persistent=True),
            Variant(by_epoch=True),
            ('in a search', 'during a save'),
        ),
        (
            Variant(by_epoch=False),
            Variant(by_epoch=False, workers=2),
            ('during a validation', 'in a search'),
        ),
        (
            Variant(by_epoch=False, task='seg'),
            Variant(by_epoch=False, workers=2, task='seg'),
            ('in a search', 'in a search'),
        ),
    ],
    ids=str,
)
def test_a_killed_training_ends_as_one_that_was_not(
    data: Path,
    tmp_path: Path,
    variant: Variant,
    other: Variant,
    moments: tuple[str, ...],
) -> None:
    """Resumed with other workers, too: these make no difference."""
    whole = Training(variant, data, tmp_path / 'whole')
    whole.finish()
    expected = whole.result()
    policy = expected['state_dict']['augmentation.th_p']
    assert policy.abs().max() > 0.05, 'the searches have found nothing'
    killed = Training(other, data, tmp_path / 'killed')
    rng = random.Random(0)
    struck = [killed.kill(moment, rng) for moment in moments]
    assert any(struck)
    killed.finish()
    assert differences(expected, killed.result()) == []


@pytest.mark.slow
def test_resuming_with_another_teacher_is_refused(
    data: Path, tmp_path: Path
) -> None:
    """The seed decides the weights of this teacher, which is not trained."""
    variant = Variant(by_epoch=True)
    first = Training(
        variant, data, tmp_path / 'work', ('train_cfg.max_epochs=1',)
    )
    first.options += ('custom_hooks.0.at=[0]',)
    first.finish()
    other = Training(variant, data, tmp_path / 'work', ('randomness.seed=1',))
    with pytest.raises(RuntimeError, match='another teacher') as caught:
        other.finish()
    assert 'Traceback' not in str(caught.value)
    assert 'model.teacher_ckpt' in str(caught.value)
