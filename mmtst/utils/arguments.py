"""Check what a config gives to a class before the class runs.

Python's own words for a wrong key are a ``TypeError`` that names neither the
place in the config nor what would be right, and for a wrong type whatever the
constructor stumbles over. Signatures and annotations know both.
"""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from difflib import get_close_matches
from functools import cache, wraps
from pathlib import Path
from typing import (
    Any,
    Literal,
    NamedTuple,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from mmengine.registry import WEIGHT_INITIALIZERS

from mmtst.utils.errors import ConfigError

Checked = TypeVar('Checked', bound=Callable[..., Any])
# Words for the kinds that annotations name.
_WORDS = {
    bool: 'True, False',
    int: 'an integer',
    float: 'a finite number',
    str: 'a string',
    Path: 'a path',
    type(None): 'None',
}


class Option(NamedTuple):
    """Describe one argument.

    Attributes:
        hint: Its annotation; ``Any`` where there is none.
        needed: Whether it has no default.
    """

    hint: Any
    needed: bool


class Options(NamedTuple):
    """Describe what a class or function takes.

    Attributes:
        named: Its arguments by name.
        is_open: Whether it takes others too, without saying which.
    """

    named: dict[str, Option]
    is_open: bool


def check_keys(
    where: str, given: Collection[Any], allowed: Collection[str], of: str
) -> None:
    """Check that all keys are known.

    Args:
        where: Path of the dictionary in the config.
        given: Its keys.
        allowed: The keys that there are.
        of: Whose they are, for the message.

    Raises:
        ConfigError: A key is unknown; it names the nearest that are not.
    """
    for key in given:
        if key in allowed:
            continue
        near = get_close_matches(str(key), allowed, n=3)
        raise ConfigError(
            f'{of} has no option {key!r}',
            where=where,
            got=key,
            allowed=', '.join(sorted(allowed)) or 'none: it has no options',
            fix=f'did you mean {" or ".join(near)}?' if near else None,
        )


@cache
def options_of(module: Callable[..., Any]) -> Options:
    """Return the options of a class or function.

    Where ``__init__`` hands on ``**kwargs``, those of the next class in
    order are its own too.
    """
    if not inspect.isclass(module):
        return _parameters(module)
    named: dict[str, Option] = {}
    for kind in module.__mro__:
        if '__init__' not in vars(kind) or kind is object:
            continue
        found = _parameters(vars(kind)['__init__'])
        found.named.pop('self', None)
        named = found.named | named
        if not found.is_open:
            return Options(named, False)
    return Options(named, bool(named))


def check_arguments(
    name: str,
    where: str,
    options: Mapping[str, Option],
    given: Mapping[str, Any],
) -> None:
    """Check arguments against the options of a class or function.

    Args:
        name: Of the class or function, for the message.
        where: Path of its config.
        options: From :func:`options_of`.
        given: The arguments by name.

    Raises:
        ConfigError: One is unknown, missing or of another kind.
    """
    check_keys(where, given, options, name)
    for key, option in options.items():
        if key not in given:
            if option.needed:
                raise ConfigError(
                    f'{name} needs {key}',
                    where=f'{where}.{key}',
                    allowed=_words(option.hint),
                    fix='add it',
                )
            continue
        if not _fits(given[key], option.hint):
            kind = type(given[key]).__name__
            raise ConfigError(
                f'{key} of {name} is of the wrong kind ({kind})',
                where=f'{where}.{key}',
                got=given[key],
                allowed=_words(option.hint),
            )


def check_init_cfg(where: str, init_cfg: Any) -> None:
    """Check what initializes weights, which nothing reads before it does.

    Raises:
        ConfigError: A type is missing or unknown.
    """
    parts = init_cfg if isinstance(init_cfg, (list, tuple)) else [init_cfg]
    for part in parts if init_cfg else []:
        kind = part.get('type') if isinstance(part, Mapping) else None
        if not isinstance(kind, str) or not WEIGHT_INITIALIZERS.get(kind):
            raise ConfigError(
                'there is no such initialization',
                where=f'{where}.type',
                got=kind,
                allowed=', '.join(sorted(WEIGHT_INITIALIZERS.module_dict)),
            )


def checked(module: Checked, where: str) -> Checked:
    """Let a class or function check what it is called with.

    Args:
        module: A class, changed in place, so that it is checked whichever
            registry builds it; or a function, which is wrapped.
        where: Path of its config.
    """
    if inspect.isclass(module):
        module.__init__ = _checked_call(  # type: ignore[method-assign]
            module.__init__, module, where, 1
        )
        return module
    return _checked_call(module, module, where, 0)


def _checked_call(
    call: Checked, module: Callable[..., Any], where: str, bound: int
) -> Checked:
    # Without `self`, which may be named otherwise.
    names = list(inspect.signature(call).parameters)[bound:]

    @wraps(call)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        given = kwargs | dict(zip(names, args[bound:], strict=False))
        name = type(args[0]).__name__ if bound else module.__name__
        # What no class of the line names is taken by none, or by something
        # much later, such as the first save.
        check_arguments(name, where, options_of(module).named, given)
        check_init_cfg(f'{where}.init_cfg', given.get('init_cfg'))
        return call(*args, **kwargs)

    return wrapper  # type: ignore[return-value]


def _parameters(call: Callable[..., Any]) -> Options:
    bare = inspect.unwrap(call)
    try:
        hints = get_type_hints(bare)
    except (NameError, TypeError, AttributeError):
        # Of others: names that exist while types are checked alone.
        hints = {}
    named: dict[str, Option] = {}
    is_open = False
    for parameter in inspect.signature(bare).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            is_open = True
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            hint = hints.get(parameter.name, Any)
            if parameter.default is None:  # Those of others leave it out.
                hint = hint | None
            needed = parameter.default is parameter.empty
            named[parameter.name] = Option(hint, needed)
    return Options(named, is_open)


def _fits(value: Any, hint: Any) -> bool:
    """Tell whether a value is of an annotated kind, as far as it says."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, each) for each in inner)
    if origin is Literal:
        return any(type(value) is type(w) and value == w for w in inner)
    kind = origin or hint
    if kind in (Any, object) or not inspect.isclass(kind):
        return True
    if kind is bool or kind is type(None):
        return isinstance(value, kind)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind is float:
        number = isinstance(value, (int, float))
        return number and not isinstance(value, bool) and _is_finite(value)
    if kind is Path:
        return isinstance(value, (str, Path))
    if issubclass(kind, str):
        return isinstance(value, str)
    if issubclass(kind, Mapping):
        return isinstance(value, Mapping) and _all_fit(value, inner)
    if issubclass(kind, Sequence):
        # Configs do not tell tuples from lists.
        if not isinstance(value, (list, tuple, range)):
            return False
        return not inner or all(_fits(each, inner[0]) for each in value)
    return isinstance(value, kind) if _is_plain(kind) else True


def _all_fit(value: Mapping[Any, Any], inner: tuple[Any, ...]) -> bool:
    return len(inner) < 2 or all(
        _fits(key, inner[0]) and _fits(each, inner[1])
        for key, each in value.items()
    )


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond any float
        return False


def _is_plain(kind: type) -> bool:
    """Tell whether ``isinstance`` has an answer for a class."""
    return not getattr(kind, '_is_protocol', False)


def _words(hint: Any) -> str:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return ' or '.join(_words(each) for each in inner)
    if origin is Literal:
        return ', '.join(repr(word) for word in inner)
    kind = origin or hint
    if kind in (Any, object):
        return 'any value'
    if kind in _WORDS:
        return _WORDS[kind]
    if not inspect.isclass(kind):
        return 'any value'
    if issubclass(kind, Mapping):
        return 'a dict'
    if issubclass(kind, Sequence):
        return 'a list' + (f' ({_words(inner[0])} each)' if inner else '')
    return f'a {kind.__name__}'
