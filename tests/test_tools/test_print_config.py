"""Test the printing of configs."""

from __future__ import annotations

from mmengine.config import Config


def test_prints_overrides_and_saves(load_tool, plain_config, tmp_path, capsys):
    out = tmp_path / 'deep' / 'saved.py'
    load_tool('print_config').main(
        [
            str(plain_config),
            '--save-path',
            str(out),
            '--cfg-options',
            'train_cfg.max_epochs=9',
        ]
    )
    assert 'max_epochs=9' in capsys.readouterr().out
    saved = Config.fromfile(out)
    assert saved.train_cfg.max_epochs == 9
    assert saved.model.bbox_head.num_classes == 5


def test_resolve_shows_both_models(load_tool, distill_config, capsys):
    print_config = load_tool('print_config')
    print_config.main([str(distill_config)])
    assert 'cfg_path' in capsys.readouterr().out
    print_config.main([str(distill_config), '--resolve'])
    text = capsys.readouterr().out
    assert 'cfg_path' not in text
    assert text.count("type='RetinaNet'") == 2
