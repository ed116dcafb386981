"""Run the pickle of a torch file with stand-ins for all that it names.

What torch would make, and how large, is known then without making it.
"""

from __future__ import annotations

import _compat_pickle
import io
import math
from pickle import UnpicklingError
from typing import Any

import torch

from mmtst.utils.bounded_pickle import (
    ALLOWANCE,
    GROWTH,
    BoundedUnpickler,
    Source,
)
from mmtst.utils.bounded_tree import BoundError
from mmtst.utils.numpy_stand_ins import NUMPY_GLOBALS

NOT_OURS = 'it holds what torch.save does not write'
# Of mmengine's log history, the only attributes that a file may ask for.
HISTORY = 'mmengine.logging.history_buffer.HistoryBuffer'
STATISTICS = ('min', 'max', 'mean', 'current', 'statistics')
_PARAMETERS = (
    'torch._utils._rebuild_parameter',
    'torch._utils._rebuild_parameter_with_state',
)
# By the number of arguments that each needs.
_TENSORS = {
    'torch._utils._rebuild_tensor': 4,
    'torch._utils._rebuild_tensor_v2': 6,
    'torch._utils._rebuild_tensor_v3': 7,
}
_TABLES = ('collections.OrderedDict', 'collections.Counter')
_KINDS = ('torch.Tensor', 'torch.nn.parameter.Parameter')
_OF_TYPE = 'torch._tensor._rebuild_from_type_v2'
# Calls that take no memory to speak of.
_SMALL = (
    *_PARAMETERS,
    'torch.nn.parameter.Parameter',
    'torch.Size',
    'torch.device',
    'torch.serialization._get_layout',
    'builtins.complex',
)
_CREATED = (HISTORY, 'torch.nn.parameter.Parameter')
_ENCODINGS = ('latin1', 'latin-1', 'ascii', 'utf-8')
# What of these modules is not named here is refused: torch would take some
# of it, such as tensors that are sparse, or made to a size that a file names.
_WATCHED = ('torch', 'builtins', 'collections', '_codecs')


class Named:
    """Stand for what a name of a file leads to."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


class Made:
    """Stand for an object that a file makes, with what it is made of."""

    def __init__(self, *parts: Any) -> None:
        self.parts = list(parts)


class Table(dict[Any, Any]):
    """Stand for a dictionary of a class, which may have attributes."""

    attributes: object = None


class Storage:
    """Stand for a storage: its bytes, and those of an element."""

    def __init__(self, size: int, item: int) -> None:
        self.size, self.item = size, item


class _Reader(BoundedUnpickler):
    """Run a pickle of torch with stand-ins for all that it names."""

    def __init__(self, source: Source, size: int) -> None:
        # Python 2's texts are read as by torch.
        super().__init__(source, size, encoding='utf-8')
        self._tensors_left = ALLOWANCE + GROWTH * size
        self._others = {
            name_of(entry) for entry in torch.serialization.get_safe_globals()
        }

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in of a name.

        torch refuses what is allowed nowhere, by its own list.
        """
        # As torch does, whatever the protocol.
        module, name = _compat_pickle.NAME_MAPPING.get(
            (module, name),
            (_compat_pickle.IMPORT_MAPPING.get(module, module), name),
        )
        full = f'{module}.{name}'
        if full in _NUMPY:
            return _NUMPY[full]
        if (
            full not in _KNOWN
            and full not in self._others
            and module.partition('.')[0] in _WATCHED
        ):
            raise UnpicklingError(f'GLOBAL {full}')
        return Named(full)

    def call(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        """Return the stand-in of what a call makes."""
        if function in _NUMPY_VALUES:
            return function(*arguments)
        if not isinstance(function, Named):
            raise BoundError('it calls what is no function')
        name = function.name
        if name in _TENSORS:
            return self._make_tensor(name, arguments)
        if name in _TABLES:
            return self._make_table(arguments)
        if name == _OF_TYPE:
            return self._make_of_type(*arguments)
        if name == '_codecs.encode':
            return _encode(*arguments)
        if name == 'builtins.bytearray':
            return _make_byte_array(*arguments)
        if name == 'builtins.set':
            return self._make_set(*arguments)
        if name == 'builtins.getattr':
            return _look_up(*arguments)
        if name in _SMALL or name not in _KNOWN:
            return Made(*arguments)
        raise UnpicklingError(f'a call of {name}')

    def create(self, kind: Any, arguments: tuple[Any, ...]) -> Any:
        """Return the stand-in of an object."""
        if kind in _NUMPY_VALUES:
            return super().create(kind, arguments)
        if not isinstance(kind, Named):
            raise BoundError('it makes an object of what is no class')
        if kind.name in _TABLES and not arguments:
            return Table()
        if kind.name in _CREATED or kind.name not in _KNOWN:
            return Made(*arguments)
        raise UnpicklingError(f'an object of {kind.name}')

    def build(self, value: Any, state: Any) -> None:
        """Give a stand-in its state."""
        if isinstance(value, Made):
            value.parts.append(state)
        elif isinstance(value, Table):
            value.attributes = state
        else:
            super().build(value, state)

    def _make_tensor(self, name: str, arguments: tuple[Any, ...]) -> Made:
        if len(arguments) < _TENSORS[name]:
            raise BoundError('it holds a tensor without a shape')
        storage, offset, size, stride = arguments[:4]
        if not (
            isinstance(storage, Storage)
            and isinstance(size, (tuple, list))
            and isinstance(stride, (tuple, list))
            and len(size) == len(stride) <= 64
            and all(_is_count(value) for value in (offset, *size, *stride))
        ):
            raise BoundError('it holds a tensor whose shape is none')
        if len(arguments) > 5 and arguments[5]:
            # What runs in each backward pass.
            raise BoundError('it holds a tensor with hooks')
        item = storage.item
        if name.endswith('_v3'):
            item = _item_of(arguments[6])
        count = math.prod(size)
        last = sum(
            (own - 1) * step for own, step in zip(size, stride, strict=True)
        )
        if count and (offset + last + 1) * item > storage.size:
            raise BoundError(
                'it holds a tensor that is larger than its storage'
            )
        # Of expanded tensors, and of many that share one storage.
        self._tensors_left -= count * item
        if self._tensors_left < 0:
            raise BoundError('its tensors are many times larger than it is')
        return Made()

    def _make_table(self, arguments: tuple[Any, ...]) -> Table:
        table = Table()
        if not arguments:
            return table
        (content,) = arguments
        items: list[Any] = []
        if isinstance(content, dict):
            items = [part for pair in content.items() for part in pair]
        elif isinstance(content, (list, tuple)):
            # Of Python 2.
            for key, value in content:
                items += [key, value]
        else:
            raise BoundError('it holds a dictionary of no entries')
        self._set_items_of(table, items)
        return table

    def _make_of_type(
        self, function: Any, kind: Any, arguments: Any, state: Any
    ) -> Made:
        if not isinstance(function, Named) or function.name not in (
            *_TENSORS,
            *_PARAMETERS,
        ):
            raise UnpicklingError(f'a tensor made by {function!r}')
        known = (*_KINDS, *self._others)
        if not isinstance(kind, Named) or kind.name not in known:
            raise UnpicklingError(f'a tensor of the class {kind!r}')
        return Made(self.call(function, tuple(arguments)), state)

    def _make_set(self, members: Any = ()) -> Made:
        if not isinstance(members, (list, tuple, set)):
            raise BoundError('it holds a set of no members')
        self._check_keys(members)
        return Made(*members)


class ZipReader(_Reader):
    """Run the pickle of a zip, whose storages are parts beside it.

    Args:
        program: The pickle.
        size: Of the whole file, in bytes.
        folder: In which the storages lie.
        sizes: Of the zip's parts, in bytes, by name.
    """

    def __init__(
        self, program: bytes, size: int, folder: str, sizes: dict[str, int]
    ) -> None:
        source = Source(io.BytesIO(program), len(program))
        super().__init__(source, size)
        self._folder, self._sizes = folder, sizes
        self._found: dict[str, Storage] = {}

    def persistent_load(self, pid: Any) -> Storage:
        """Return the stand-in of a storage, which is a part of its own."""
        kind, key, count = _storage_of(pid, 5)
        if key not in self._found:
            item = _item_of(kind)
            there = self._sizes.get(f'{self._folder}{key}')
            if there is None or count * item > there:
                # torch would read on, past the end of what it has.
                raise BoundError('it holds less of a tensor than it says')
            self._found[key] = Storage(count * item, item)
        return self._found[key]


class LegacyReader(_Reader):
    """Run one of the pickles of torch's old format.

    Args:
        source: Where to read.
        size: Of the whole file, in bytes.

    Attributes:
        roots: The storages by key; their content follows the pickles.
    """

    def __init__(self, source: Source, size: int) -> None:
        super().__init__(source, size)
        self.roots: dict[Any, Storage] = {}
        self._views: dict[Any, Storage] = {}
        self._bytes_left = size

    def persistent_load(self, pid: Any) -> Storage:
        """Return the stand-in of a storage, which follows the pickles."""
        kind, key, count = _storage_of(pid, 6)
        if key not in self.roots:
            item = _item_of(kind)
            self._bytes_left -= count * item
            if self._bytes_left < 0:
                raise BoundError('it holds less of a tensor than it says')
            self.roots[key] = Storage(count * item, item)
        root = self.roots[key]
        if pid[5] is None:
            return root
        view, offset, length = pid[5]
        whole = _is_count(offset) and _is_count(length)
        if type(view) is not str or view in self.roots or not whole:
            raise BoundError('it holds part of a storage that is none')
        if (offset + length) * root.item > root.size:
            raise BoundError('it holds less of a tensor than it says')
        found = Storage(length * root.item, root.item)
        return self._views.setdefault(view, found)


def _storage_of(pid: Any, count: int) -> tuple[Any, str, int]:
    """Return kind, key and number of elements of a storage."""
    if not isinstance(pid, tuple) or len(pid) != count:
        raise BoundError(NOT_OURS)
    if pid[0] == 'module':
        raise UnpicklingError('the code of a module')
    _, kind, key, _, elements = pid[:5]
    if type(key) is not str or not _is_count(elements):
        raise BoundError(NOT_OURS)
    return kind, key, elements


def _item_of(kind: Any) -> int:
    if not isinstance(kind, Named) or kind.name not in _SIZES:
        raise BoundError(f'it holds a tensor of the kind {kind!r:.80}')
    return _SIZES[kind.name]


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 62


def _encode(text: object, encoding: object = 'utf-8') -> bytes:
    if not isinstance(text, str) or encoding not in _ENCODINGS:
        raise UnpicklingError(f'a text to encode as {encoding!r:.80}')
    return text.encode(str(encoding))


def _make_byte_array(*arguments: Any) -> bytearray:
    # Of a number, it would take that many bytes.
    if not arguments or isinstance(arguments[0], (bytes, bytearray)):
        return bytearray(*arguments)
    return bytearray(_encode(*arguments))


def _look_up(owner: object, name: object) -> Made:
    is_history = isinstance(owner, Named) and owner.name == HISTORY
    if is_history and isinstance(name, str) and name in STATISTICS:
        return Made()
    raise UnpicklingError(f'attribute {name!r:.80} of {owner!r:.200}')


def name_of(entry: Any) -> str:
    """Return the name under which torch's list of names has an entry."""
    if isinstance(entry, tuple):
        return str(entry[1])
    return f'{entry.__module__}.{entry.__qualname__}'


def _sizes_of_elements() -> dict[str, int]:
    """Return the bytes of an element, by names of dtypes and storages."""
    sizes = {
        str(value): value.itemsize
        for value in vars(torch).values()
        if isinstance(value, torch.dtype)
    }
    for name, dtype in torch.storage._storage_type_to_dtype_map().items():
        sizes[f'torch.{name}'] = sizes[f'torch.cuda.{name}'] = dtype.itemsize
    sizes['torch.storage.UntypedStorage'] = 1
    return sizes


_SIZES = _sizes_of_elements()
_NUMPY = {name: entry for entry, name in NUMPY_GLOBALS}
_NUMPY_VALUES = tuple(_NUMPY.values())
_KNOWN = {
    *_SIZES,
    *_TENSORS,
    *_TABLES,
    *_KINDS,
    *_SMALL,
    _OF_TYPE,
    HISTORY,
    '_codecs.encode',
    'builtins.bytearray',
    'builtins.set',
    'builtins.getattr',
}
