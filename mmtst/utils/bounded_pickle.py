"""Run the program that a pickle is within bounds.

Kilobytes of pickle can ask for minutes or for gigabytes: a declared length
that is allocated before it is read, keys whose hash takes for ever, one long
text that a thousand calls copy, and more. Here what a file declares is held
against the bytes it has, keys are plain, and calls pay for their arguments;
``bounded_tree`` looks at what comes out. Nothing is imported; subclasses say
what a name means.
"""

from __future__ import annotations

import errno
import os
import pickle
import stat
from collections.abc import Callable, Iterable
from math import isfinite
from os import PathLike
from pickle import UnpicklingError
from typing import IO, Any, ClassVar, NoReturn

from mmtst.utils.bounded_tree import BoundError

# What a file of ``n`` bytes may grow to, beside what every file may.
GROWTH = 8
ALLOWANCE = 1 << 26
# Of one pickle; a step may make an object of some 200 bytes out of one.
_MOST_STEPS = 5_000_000
_MOST_LINE = 1 << 28
_MOST_BITS = 4096
# Keys other than texts and numbers, whose hashes a file can make collide.
_MOST_ODD_KEYS = 4096
_MOST_KEY_PARTS = 16
_PLAIN_KEYS = (str, bytes, bool, type(None))


def open_regular(path: str | PathLike[str]) -> IO[bytes]:
    """Open a file to read its bytes.

    Raises:
        OSError: It is not there, cannot be read, or is a folder, or a pipe
            or device, for whose end one might wait.
    """
    # Not opened first: that waits for the other end of a pipe.
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, 'not a file', os.fspath(path))
    return open(path, 'rb')


class Source:
    """Read from a file no more than it has.

    Args:
        file: Where to read, in binary.
        size: Of the whole file, in bytes.
    """

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._size = file, size

    def read(self, count: int) -> bytes:
        """Return exactly so many bytes."""
        # Otherwise a length of terabytes would be allocated first.
        if count > 1 << 16 and count > self.left():
            raise EOFError
        data = self._file.read(count)
        if len(data) < count:
            raise EOFError
        return data

    def readline(self) -> bytes:
        """Return a line, its end included."""
        line = self._file.readline(_MOST_LINE)
        if not line.endswith(b'\n'):
            raise EOFError
        return line

    def left(self) -> int:
        """Return how many bytes follow."""
        return self._size - self._file.tell()


class _Counted(dict[int, Callable[[Any], None]]):
    """Look steps up, and count them."""

    left = _MOST_STEPS

    def __getitem__(self, code: int) -> Callable[[Any], None]:
        self.left -= 1
        if self.left < 0:
            raise BoundError('it has too many parts')
        step = self.get(code)
        if step is None:
            raise BoundError('it holds what no pickle has')
        return step


class BoundedUnpickler(pickle._Unpickler):
    """Unpickle within bounds.

    Args:
        source: Where to read.
        size: Bytes of the file that the result is held against.
        encoding: Of Python 2's strings; ``bytes`` leaves them such.
    """

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        **pickle._Unpickler.dispatch
    }
    # Of pickle's own.
    stack: list[Any]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]
    read: Callable[[int], bytes]
    readline: Callable[[], bytes]

    def __init__(
        self, source: Source, size: int, encoding: str = 'bytes'
    ) -> None:
        super().__init__(source, encoding=encoding)
        # Looked up once for each step.
        self.dispatch = _Counted(self.dispatch)  # type: ignore[misc]
        self._budget = ALLOWANCE + GROWTH * size
        self._odd_keys = 0

    def load(self) -> Any:
        """Return the content.

        Raises:
            BoundError: It is broken, or beyond the bounds.
            UnpicklingError: It asks for what it does not get.
        """
        try:
            return super().load()
        except UnpicklingError:
            raise
        except EOFError as error:
            raise BoundError('it ends too early') from error
        except Exception as error:
            # Whatever bytes at random may ask of the reader.
            raise BoundError(
                f'it is no such pickle ({type(error).__name__}: '
                f'{str(error):.200})'
            ) from error

    def find_class(self, module: str, name: str) -> Any:
        """Say what a name means; here, nothing."""
        raise UnpicklingError(
            f'it asks for {module}.{name}, and giving it that could run code'
        )

    def call(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        """Make a call; what is called is of :meth:`find_class`."""
        return function(*arguments)

    def create(self, kind: Any, arguments: tuple[Any, ...]) -> Any:
        """Make an object without initializing it."""
        if not isinstance(kind, type):
            raise BoundError('it makes an object of what is no class')
        return kind.__new__(kind, *arguments)

    def build(self, value: Any, state: Any) -> None:
        """Give an object its state."""
        if not hasattr(value, '__setstate__'):
            raise BoundError('it holds a value that is to be changed')
        value.__setstate__(state)

    def spend(self, count: int) -> None:
        """Pay for bytes.

        Raises:
            BoundError: The file has had all that its size allows.
        """
        self._budget -= count
        if self._budget < 0:
            raise BoundError(
                'it would grow to many times its size when it is read'
            )

    def _pay(self, value: Any, depth: int = 2) -> None:
        if isinstance(value, (str, bytes, bytearray)):
            self.spend(len(value))
        elif isinstance(value, (list, tuple, dict, set, frozenset)):
            self.spend(100 * len(value))
            if depth and isinstance(value, tuple):
                for item in value:
                    self._pay(item, depth - 1)

    def _check_keys(self, keys: Iterable[Any]) -> None:
        for key in keys:
            if type(key) in _PLAIN_KEYS:
                continue
            if type(key) is int and abs(key) < 1 << 53:
                continue
            if type(key) is float and isfinite(key):
                continue
            if type(key) is tuple and (
                len(key) > _MOST_KEY_PARTS
                or any(isinstance(part, (tuple, frozenset)) for part in key)
            ):
                # A hash goes through all of it, each time.
                raise BoundError('it holds a key that is nested')
            self._odd_keys += 1
            if self._odd_keys > _MOST_ODD_KEYS:
                raise BoundError('it holds too many keys that are no texts')

    # What follows takes the place of pickle's own, by the opcode's name.

    def _call(self) -> None:
        arguments = self.stack.pop()
        self._check_arguments(arguments)
        self.stack[-1] = self.call(self.stack[-1], arguments)

    def _create(self) -> None:
        arguments = self.stack.pop()
        self._check_arguments(arguments)
        self.stack[-1] = self.create(self.stack[-1], arguments)

    def _instance(self) -> None:
        module = self.readline()[:-1].decode('ascii')
        name = self.readline()[:-1].decode('ascii')
        function = self.find_class(module, name)
        arguments = tuple(self.pop_mark())
        self._check_arguments(arguments)
        self.append(self.call(function, arguments))

    def _object(self) -> None:
        function, *arguments = self.pop_mark()
        self._check_arguments(tuple(arguments))
        self.append(self.call(function, tuple(arguments)))

    def _check_arguments(self, arguments: Any) -> None:
        if type(arguments) is not tuple:
            raise BoundError('it makes a call without arguments')
        self._pay(arguments)

    def _build(self) -> None:
        state = self.stack.pop()
        self._pay(state)
        self.build(self.stack[-1], state)

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set_items_of(self.stack[-1], [key, value])

    def _set_items(self) -> None:
        items = self.pop_mark()
        self._set_items_of(self.stack[-1], items)

    def _new_dict(self) -> None:
        table: dict[Any, Any] = {}
        self._set_items_of(table, self.pop_mark())
        self.append(table)

    def _set_items_of(self, table: Any, items: list[Any]) -> None:
        if not isinstance(table, dict) or len(items) % 2:
            raise BoundError('it holds entries of what is no dictionary')
        keys = items[::2]
        self._check_keys(keys)
        table.update(zip(keys, items[1::2], strict=True))

    def _add_items(self) -> None:
        items = self.pop_mark()
        if not isinstance(self.stack[-1], set):
            raise BoundError('it holds members of what is no set')
        self._check_keys(items)
        self.stack[-1].update(items)

    def _frozen_set(self) -> None:
        items = self.pop_mark()
        self._check_keys(items)
        self.append(frozenset(items))

    def _append(self) -> None:
        value = self.stack.pop()
        self._extend_list(self.stack[-1], [value])

    def _appends(self) -> None:
        items = self.pop_mark()
        self._extend_list(self.stack[-1], items)

    def _extend_list(self, target: Any, items: list[Any]) -> None:
        if type(target) is not list:
            raise BoundError('it holds items of what is no list')
        target.extend(items)

    def _byte_array(self) -> None:
        count = int.from_bytes(self.read(8), 'little')
        self.append(bytearray(self.read(count)))

    def _refuse(self) -> NoReturn:
        raise BoundError('it holds what lies outside of it')

    def _whole_number(self, load: Callable[[Any], None]) -> None:
        load(self)
        value = self.stack[-1]
        if value.bit_length() > _MOST_BITS:
            raise BoundError('it holds a number of thousands of digits')


def _of_number(load: Callable[[Any], None]) -> Callable[[Any], None]:
    return lambda reader: reader._whole_number(load)


BoundedUnpickler.dispatch.update(
    {
        code[0]: function
        for code, function in (
            (pickle.REDUCE, BoundedUnpickler._call),
            (pickle.NEWOBJ, BoundedUnpickler._create),
            (pickle.NEWOBJ_EX, BoundedUnpickler._refuse),
            (pickle.INST, BoundedUnpickler._instance),
            (pickle.OBJ, BoundedUnpickler._object),
            (pickle.BUILD, BoundedUnpickler._build),
            (pickle.SETITEM, BoundedUnpickler._set_item),
            (pickle.SETITEMS, BoundedUnpickler._set_items),
            (pickle.DICT, BoundedUnpickler._new_dict),
            (pickle.ADDITEMS, BoundedUnpickler._add_items),
            (pickle.FROZENSET, BoundedUnpickler._frozen_set),
            (pickle.APPEND, BoundedUnpickler._append),
            (pickle.APPENDS, BoundedUnpickler._appends),
            (pickle.BYTEARRAY8, BoundedUnpickler._byte_array),
            (pickle.EXT1, BoundedUnpickler._refuse),
            (pickle.EXT2, BoundedUnpickler._refuse),
            (pickle.EXT4, BoundedUnpickler._refuse),
            (pickle.NEXT_BUFFER, BoundedUnpickler._refuse),
            (pickle.READONLY_BUFFER, BoundedUnpickler._refuse),
            *(
                (code, _of_number(pickle._Unpickler.dispatch[code[0]]))
                for code in (
                    pickle.INT,
                    pickle.LONG,
                    pickle.LONG1,
                    pickle.LONG4,
                )
            ),
        )
    }
)
