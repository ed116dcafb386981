"""Test the printing of configs."""

from __future__ import annotations

import pytest
from mmengine.config import Config

from mmtst.utils.errors import ConfigError


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


def test_modules_of_the_command_line_are_imported(
    load_tool, plain_config, tmp_path, monkeypatch, capsys
):
    (tmp_path / 'my_losses.py').write_text("print('my_losses is here')\n")
    monkeypatch.syspath_prepend(tmp_path)
    options = ['--cfg-options', "custom_imports.imports=['mmtst','my_losses']"]
    load_tool('print_config').main([str(plain_config), *options])
    assert 'my_losses is here' in capsys.readouterr().out


def test_a_module_that_is_not_there_is_named(load_tool, plain_config):
    options = ['--cfg-options', 'custom_imports.imports=no_such_module']
    with pytest.raises(ConfigError, match='no_such_module'):
        load_tool('print_config').main([str(plain_config), *options])
