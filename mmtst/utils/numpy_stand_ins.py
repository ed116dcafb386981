"""Read the numpy parts of a checkpoint without numpy's own unpickling.

numpy believes what a pickle says of a dtype: a file can declare raw bytes to
be object pointers, and whoever looks at such an array follows them. So none
of numpy's functions is handed to the reader. The names that a file asks for
lead to the stand-ins below, which take plain numbers, booleans and strings
alone, and :func:`restore` puts real arrays in their places afterwards.
"""

from __future__ import annotations

import math
import re
from pickle import UnpicklingError
from typing import Any

import numpy as np
from mmengine.logging import HistoryBuffer

# What numpy writes for numbers, booleans and strings of a fixed length.
_CODE = re.compile(r'b1|[iu][1248]|f(2|4|8|12|16)|c(8|16|24|32)|[SU]\d{1,6}')

_MOST_EMPTY = 4096


class DtypeStandIn:
    """Stand for a ``numpy.dtype`` in a file.

    Args:
        code: Kind and size, for example ``'f8'``.
        align: As for ``numpy.dtype``; not used.
        copy: Likewise.
    """

    _code: object = None
    _order: object = '='

    def __init__(
        self, code: object, align: object = False, copy: object = True
    ) -> None:
        self._code = code

    def __setstate__(self, state: Any) -> None:
        plain = (
            isinstance(state, tuple)
            and len(state) == 8
            # No parts, no fields: nothing that holds pointers.
            and all(part is None for part in state[2:5])
        )
        if not plain:
            raise UnpicklingError(f'a numpy dtype of the kind {self._code!r}')
        self._order = state[1]

    def resolve(self) -> np.dtype[Any]:
        """Return the dtype that is meant.

        Raises:
            UnpicklingError: It is none of numbers, booleans or strings.
        """
        code, order = self._code, self._order
        if (
            not isinstance(code, str)
            or not _CODE.fullmatch(code)
            or not isinstance(order, str)
            or order not in ('<', '>', '=', '|')
        ):
            raise UnpicklingError(f'a numpy dtype of the kind {code!r}')
        resolved: np.dtype[Any] = np.dtype(order + code)
        return resolved


class ArrayStandIn:
    """Stand for a ``numpy.ndarray`` in a file."""

    _array: np.ndarray[Any, Any] | None = None

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise UnpicklingError('a numpy array of an unknown format')
        _, shape, dtype, fortran, data = state
        self._array = _read_array(shape, dtype, data, 'F' if fortran else 'C')

    def resolve(self) -> np.ndarray[Any, Any]:
        """Return the array that is meant.

        Raises:
            UnpicklingError: The file says nothing of its content.
        """
        if self._array is None:
            raise UnpicklingError('a numpy array without content')
        return self._array


def _read_array(
    shape: Any, dtype: Any, data: Any, order: Any
) -> np.ndarray[Any, Any]:
    if not isinstance(dtype, DtypeStandIn):
        raise UnpicklingError(f'a numpy array of {dtype!r}')
    resolved = dtype.resolve()
    fits = (
        isinstance(shape, tuple)
        and all(type(size) is int and size >= 0 for size in shape)
        and isinstance(data, bytes)
        and math.prod(shape) * resolved.itemsize == len(data)
    )
    if not fits:
        raise UnpicklingError('a numpy array whose data do not fill its shape')
    if not data:
        # Of no elements, or of empty strings, which numpy makes room for.
        if math.prod(shape) > _MOST_EMPTY:
            raise UnpicklingError('a numpy array of many empty strings')
        return np.zeros(shape, resolved)
    array: np.ndarray[Any, Any] = np.empty(shape, resolved, order)
    array[...] = np.ndarray(shape, resolved, data, order=order)
    return array


def _reconstruct(kind: object, shape: object, code: object) -> ArrayStandIn:
    """Begin an array, of which the state follows."""
    if kind is not ArrayStandIn:
        raise UnpicklingError(f'a numpy array of the class {kind!r}')
    return ArrayStandIn()


def _scalar(dtype: object, data: object = b'') -> Any:
    return _read_array((), dtype, data, 'C')[()]


def _empty_bytes() -> bytes:
    """Return what the data of an empty array are pickled as."""
    return b''


# By the names under which numpy 1 and numpy 2 write them.
NUMPY_GLOBALS: list[tuple[Any, str]] = [
    (DtypeStandIn, 'numpy.dtype'),
    (ArrayStandIn, 'numpy.ndarray'),
    (_empty_bytes, 'builtins.bytes'),
    *(
        (function, f'numpy.{core}.multiarray.{name}')
        for core in ('core', '_core')
        for function, name in (
            (_reconstruct, '_reconstruct'),
            (_scalar, 'scalar'),
        )
    ),
]


def restore(content: Any) -> Any:
    """Put real arrays and dtypes in the place of the stand-ins.

    Args:
        content: What was read; containers are changed in place, tuples
            made anew.

    Returns:
        The content without stand-ins.

    Raises:
        UnpicklingError: A stand-in stands for nothing.
    """
    return _restore(content, {})


def _restore(value: Any, done: dict[int, tuple[Any, Any]]) -> Any:
    if isinstance(value, (ArrayStandIn, DtypeStandIn)):
        return value.resolve()
    if not isinstance(value, (dict, list, tuple, HistoryBuffer)):
        return value
    # The original is kept with the result, or its id could be given anew.
    if id(value) in done:
        return done[id(value)][1]
    done[id(value)] = (value, value)
    if type(value) is tuple:
        result = tuple(_restore(item, done) for item in value)
        done[id(value)] = (value, result)
        return result
    if isinstance(value, list):
        value[:] = [_restore(item, done) for item in value]
    elif isinstance(value, (dict, HistoryBuffer)):
        table = value if isinstance(value, dict) else vars(value)
        for key in list(table):
            table[key] = _restore(table[key], done)
    return value
