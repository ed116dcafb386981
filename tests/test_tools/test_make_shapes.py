"""Test the command that writes the shapes set."""

from __future__ import annotations

import json

import pytest


def test_writes_once_and_refuses_other_settings(load_tool, tmp_path, capsys):
    make = load_tool('make_shapes').main
    out = str(tmp_path / 'set')
    arguments = [out, '--num-train', '3', '--num-val', '2', '--size', '48']
    make(arguments)
    assert '5/5 images' in capsys.readouterr().out
    stamp = json.loads((tmp_path / 'set' / 'shapes.json').read_text())
    assert stamp['size'] == 48
    make(arguments)
    assert 'already' in capsys.readouterr().out
    with pytest.raises(SystemExit, match='other settings'):
        make([*arguments, '--seed', '1'])
    with pytest.raises(SystemExit, match='from 32'):
        make([str(tmp_path / 'tiny'), '--size', '8'])
