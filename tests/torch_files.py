"""Write files of torch, and spoil them."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import torch


class Call:
    """Be pickled as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.reduced = function, arguments

    def __reduce__(self) -> Any:
        return self.reduced


def saved(value: Any, legacy: bool = False) -> bytes:
    """Return what torch writes, or wrote before 1.6."""
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=not legacy)
    return file.getvalue()


def zipped(
    content: bytes, change: Any = None, method: int = zipfile.ZIP_STORED
) -> bytes:
    """Write a checkpoint anew, with its parts changed."""
    with zipfile.ZipFile(io.BytesIO(content)) as source:
        parts = [(i.filename, source.read(i)) for i in source.infolist()]
    parts = change(parts) if change else parts
    target = io.BytesIO()
    with zipfile.ZipFile(target, 'w', method) as written:
        for name, data in parts:
            written.writestr(name, data)
    return target.getvalue()


def in_pickle(old: bytes, new: bytes) -> Any:
    """Return a change of the pickle; the old must be there."""

    def change(parts: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        assert any(old in data for name, data in parts if 'data.pkl' in name)
        return [
            (name, data.replace(old, new) if 'data.pkl' in name else data)
            for name, data in parts
        ]

    return change
