"""Read pickles of plain values and arrays without running what they name.

Data sets of old are pickles, many of them Python 2's. A pickle runs what it
names; here the only names with a meaning are those that numpy writes for an
array, and they lead to the stand-ins of ``numpy_stand_ins``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from os import PathLike
from pickle import UnpicklingError
from typing import Any, NoReturn

from mmtst.utils.bounded_pickle import (
    BoundedUnpickler,
    Source,
    open_regular,
)
from mmtst.utils.bounded_tree import BoundError, check_tree
from mmtst.utils.numpy_stand_ins import (
    NUMPY_GLOBALS,
    ArrayStandIn,
    DtypeStandIn,
    restore,
)


class _Maker:
    """Wrap a function, so that a file can call it and nothing else.

    Of a bare function a file could set the attributes, defaults among them.
    """

    __slots__ = ('_function',)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: object) -> NoReturn:
        raise UnpicklingError('a function that is to be changed')


class _Dtype(DtypeStandIn):
    """Take Python 2's strings too, which are read as bytes."""

    def __init__(
        self, code: object, align: object = False, copy: object = True
    ) -> None:
        super().__init__(_text(code), align, copy)

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple):
            state = tuple(_text(part) for part in state)
        super().__setstate__(state)


def _text(value: object) -> object:
    return value.decode('latin1') if isinstance(value, bytes) else value


def _encode(text: object, encoding: object = None) -> bytes:
    """Return the bytes that Python 3 writes as a text for Python 2."""
    if not isinstance(text, str) or encoding != 'latin1':
        raise UnpicklingError(f'a text to encode as {encoding!r}')
    return text.encode('latin1')


def _from_buffer(
    data: object, dtype: object, shape: object, order: object
) -> ArrayStandIn:
    """Begin and end an array of pickle's protocol 5."""
    if not isinstance(data, (bytes, bytearray)):
        raise UnpicklingError('a numpy array whose data lie elsewhere')
    array = ArrayStandIn()
    array.__setstate__((1, shape, dtype, order == 'F', bytes(data)))
    return array


_GLOBALS: dict[str, Any] = {
    name: entry if isinstance(entry, type) else _Maker(entry)
    for entry, name in [
        *NUMPY_GLOBALS,
        (_Dtype, 'numpy.dtype'),
        (_encode, '_codecs.encode'),
        (_from_buffer, 'numpy.core.numeric._frombuffer'),
        (_from_buffer, 'numpy._core.numeric._frombuffer'),
    ]
}
# As Python 3 names it to Python 2.
_GLOBALS['__builtin__.bytes'] = _GLOBALS['builtins.bytes']


class _Unpickler(BoundedUnpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Return a stand-in; nothing is imported."""
        full = f'{module}.{name}'
        if full not in _GLOBALS:
            return super().find_class(module, name)
        return _GLOBALS[full]


def read_plain_pickle(path: str | PathLike[str]) -> Any:
    """Read a pickle of containers, numbers, texts and arrays.

    Args:
        path: Of a file, written by Python 2 or 3 in any protocol. Python 2's
            strings come back as ``bytes``.

    Returns:
        The content, with real numpy arrays.

    Raises:
        UnpicklingError: The file asks for something else, is no pickle, is
            cut short, or would grow out of bounds; its message ends a
            sentence.
        OSError: The file is not there, or cannot be read.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            content = _Unpickler(Source(file, size), size).load()
            check_tree(content)
            return restore(content)
        except (OSError, UnpicklingError):
            raise
        except Exception as error:
            raise BoundError(
                f'it is no such pickle ({type(error).__name__}: {error})'
            ) from error
