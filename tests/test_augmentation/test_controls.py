"""Check the controls that replace a searched policy."""

import json

import pytest
import torch

from mmtst.augmentation.base import (
    AFFINE_OPERATORS,
    MAGNITUDE_OPERATORS,
    OPERATORS,
    Policy,
)
from mmtst.augmentation.controls import (
    check_control,
    control_policy,
    permute_policy,
    read_policy,
)
from mmtst.engine.policy_log import PolicyLog, describe_policy
from mmtst.utils.errors import ConfigError


@pytest.fixture
def searched():
    generator = torch.Generator().manual_seed(1)
    return Policy(
        torch.randn(14, generator=generator),
        torch.randn(11, generator=generator),
    )


def test_same_mean_is_flat_and_keeps_the_means(searched):
    flat = control_policy('same_mean', searched, torch.Generator())
    assert flat.probabilities.std() < 1e-6 and flat.magnitudes.std() < 1e-6
    torch.testing.assert_close(
        flat.probabilities.mean(), searched.probabilities.mean()
    )
    torch.testing.assert_close(
        flat.magnitudes.mean(), searched.magnitudes.mean()
    )


def test_permuting_stays_within_kinds(searched):
    permuted = permute_policy(searched, torch.Generator().manual_seed(0))
    assert not torch.equal(permuted.th_p, searched.th_p)
    start = 0
    for size in (5, 6, 3):
        kind = slice(start, start + size)
        torch.testing.assert_close(
            permuted.th_p[kind].sort().values,
            searched.th_p[kind].sort().values,
        )
        start += size
    # Rate and magnitude of an operator move together.
    for i in range(len(MAGNITUDE_OPERATORS)):
        source = int((searched.th_p == permuted.th_p[i]).nonzero())
        assert permuted.th_m[i] == searched.th_m[source]
    assert len(AFFINE_OPERATORS) == 5


@pytest.mark.parametrize('seed', range(8))
def test_no_operator_keeps_its_own_parameters(searched, seed):
    permuted = permute_policy(searched, torch.Generator().manual_seed(seed))
    assert bool((permuted.th_p != searched.th_p).all())
    assert bool((permuted.th_m != searched.th_m).all())


def test_the_permuted_control_is_that_of_its_seed(searched):
    generator = torch.Generator()
    first, again, other = (
        control_policy('permuted', searched, generator, seed=seed)
        for seed in (1, 1, 2)
    )
    assert torch.equal(first.th_p, again.th_p)
    assert not torch.equal(first.th_p, other.th_p)


def test_randaugment_applies_all_with_new_magnitudes(searched):
    generator = torch.Generator().manual_seed(0)
    first = control_policy('randaugment', searched, generator)
    second = control_policy('randaugment', searched, generator)
    assert (first.probabilities > 0.999).all()
    assert not torch.equal(first.th_m, second.th_m)


def test_searched_comes_back_as_it_is(searched):
    assert control_policy('searched', searched, torch.Generator()) is searched


def test_unknown_words_are_refused():
    check_control('replay:somewhere.json')
    with pytest.raises(ConfigError, match='same_mean'):
        check_control('random')


def policy_file(tmp_path, lines, **changes):
    data = dict(
        probabilities={name: 0.25 for name in OPERATORS},
        magnitudes={name: 0.75 for name in MAGNITUDE_OPERATORS},
    )
    data.update(changes)
    path = tmp_path / 'policy.jsonl'
    path.write_text('{"step": 0}\n' * lines + json.dumps(data) + '\n')
    return path


@pytest.mark.parametrize('lines', [0, 2])
def test_reading_takes_the_last_line(tmp_path, lines):
    policy = read_policy(policy_file(tmp_path, lines))
    torch.testing.assert_close(policy.probabilities, torch.full((14,), 0.25))
    torch.testing.assert_close(policy.magnitudes, torch.full((11,), 0.75))


def test_a_searchs_own_log_can_be_replayed(tmp_path, searched):
    log = PolicyLog(tmp_path / 'policy.jsonl')
    log.append(dict(step=0, **describe_policy(searched)))
    read = read_policy(tmp_path / 'policy.jsonl')
    torch.testing.assert_close(read.probabilities, searched.probabilities)
    torch.testing.assert_close(read.magnitudes, searched.magnitudes)


def test_reading_refuses_what_is_no_policy(tmp_path):
    with pytest.raises(ConfigError, match='does not exist'):
        read_policy(tmp_path / 'none.json')
    with pytest.raises(ConfigError, match='must name exactly'):
        read_policy(policy_file(tmp_path, 0, probabilities={'Rotate': 0.5}))
    high = {name: 1.5 for name in MAGNITUDE_OPERATORS}
    with pytest.raises(ConfigError, match=r'lie in \[0, 1\]'):
        read_policy(policy_file(tmp_path, 0, magnitudes=high))
    broken = tmp_path / 'broken.json'
    broken.write_text('{')
    with pytest.raises(ConfigError, match='not JSON'):
        read_policy(broken)


def one(value, names=OPERATORS):
    return {name: 0.5 for name in names} | {'Rotate': value}


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'not JSON'),
        ('[' * 100_000, 'nested deeper'),
        ('{"step": 1}\n' + '[' * 100_000, 'nested deeper'),
        ('{"step": 1}\n{"a":' + '[' * 100_000, 'nested deeper'),
        ('1' * 5000, '5000 digits'),
        ('{"prob": ' + '1' * 5000 + '}', '5000 digits'),
        (b'\xff\xfe\x00', 'not text'),
        ('[1, 2]', 'must name exactly'),
        ('{"prob": []}', 'must name exactly'),
        (json.dumps(dict(prob=one(float('nan')))), 'NaN'),
        (json.dumps(dict(prob=one(float('nan'))), indent=1), 'NaN'),
        (json.dumps(dict(prob=one(None))), 'Rotate is None'),
        (json.dumps(dict(prob=one('0.5'))), "Rotate is '0.5'"),
        (json.dumps(dict(prob=one([0.5]))), r'Rotate is \[0.5\]'),
        (json.dumps(dict(prob=one(True))), 'Rotate is True'),
        (json.dumps(dict(prob=one({'a': 1}))), 'Rotate is {'),
        (json.dumps(dict(prob=one(-1))), 'Rotate is -1'),
    ],
    ids=lambda value: str(value)[:30],
)
def test_whatever_a_policy_file_holds_is_one_error(tmp_path, text, message):
    path = tmp_path / 'policy.json'
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_policy(path, where='--policy')
    said = str(caught.value)
    assert '--policy' in said and 'fix:' in said and 'trust' not in said


def test_what_is_no_file_is_no_policy(tmp_path):
    for path in (tmp_path, 'a\0b'):
        with pytest.raises(ConfigError, match='policy file'):
            read_policy(path)
