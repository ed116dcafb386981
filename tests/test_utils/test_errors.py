"""The error names what, where, got, allowed and fix, and no empty line."""

import pytest

from mmtst.utils import ConfigError
from mmtst.utils.errors import TrainingError, explain


def test_all_parts_stand_in_order():
    error = ConfigError(
        'Unknown preset',
        where='model.augmentation.preset',
        got='papr',
        allowed='default, paper, official',
        fix='write one of them',
    )
    assert str(error).splitlines() == [
        'Unknown preset',
        '  where:   model.augmentation.preset',
        "  got:     'papr'",
        '  allowed: default, paper, official',
        '  fix:     write one of them',
    ]


def test_missing_parts_leave_no_line():
    assert str(ConfigError('Nothing to do')) == 'Nothing to do'


def test_values_that_are_falsy_are_still_shown():
    assert 'got:     0' in str(ConfigError('Too few', got=0))


def test_is_a_value_error():
    with pytest.raises(ValueError, match='Too few'):
        raise ConfigError('Too few')


def test_what_was_got_is_shown_if_it_can_be():
    class Shy:
        def __repr__(self):
            raise RuntimeError('no')

    assert 'a Shy that cannot be shown' in str(ConfigError('x', got=Shy()))
    assert 'a int that cannot' in str(ConfigError('x', got=10**5000))
    text = str(ConfigError('x', got=[1] * 10**6))
    assert len(text) < 2100 and '(3000000 characters)' in text


@pytest.mark.parametrize(
    ('error', 'message'),
    [
        (ConfigError('Too few', where='x'), 'Too few\n  where:   x'),
        (TrainingError('It has diverged'), 'It has diverged'),
        (
            PermissionError(13, 'Permission denied', 'a/b'),
            'Permission denied: a/b',
        ),
        (IsADirectoryError(21, 'Is a directory', 'a'), 'Is a directory: a'),
    ],
)
def test_what_a_user_can_mend_is_explained(error, message):
    assert explain(error) == message


def test_a_killed_worker_is_explained():
    message = explain(
        RuntimeError('DataLoader worker (pid 3) is killed by signal: Killed.')
    )
    assert message.startswith('DataLoader worker (pid 3) is killed')
    assert 'memory' in message


@pytest.mark.parametrize(
    'error',
    [
        RuntimeError('shapes differ'),
        ValueError('x'),
        KeyError('x'),
        OSError('of no file'),
    ],
)
def test_an_error_of_the_program_keeps_its_traceback(error):
    assert explain(error) is None
