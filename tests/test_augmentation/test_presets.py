from __future__ import annotations

from mmtst.augmentation.gates import GATE_FORMS
from mmtst.augmentation.presets import NETWORKS, PRESETS


def test_presets_differ_where_paper_and_code_do():
    default, paper, official = (
        PRESETS[name] for name in ('default', 'paper', 'official')
    )
    assert len(PRESETS) == 3
    assert (default.gate, paper.gate, official.gate) == GATE_FORMS
    assert (default.network, paper.network, official.network) == NETWORKS
    # Only the printed Eq. 4 gates magnitudes.
    assert paper.magnitude_gate
    assert not default.magnitude_gate
    assert not official.magnitude_gate
    # Only the code adds noise and puts color first.
    assert official.encoder_noise_std == 0.01
    assert default.encoder_noise_std == paper.encoder_noise_std == 0
    assert official.color_first
    assert not default.color_first
    assert not paper.color_first
    # Only the default draws for each image and does without more gates.
    assert default.per_sample
    assert not paper.per_sample
    assert not official.per_sample
    assert default.apply_prob == 1
    assert paper.apply_prob == official.apply_prob == 0.98
