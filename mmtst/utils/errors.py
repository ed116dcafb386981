"""Word the errors that users meet."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

_MOST_SHOWN = 2000


class ConfigError(ValueError):
    """Report an option that cannot be used.

    The message has one line each for what is wrong, where it stands in the
    config, what was got, what is allowed and how to fix it; lines whose
    argument is ``None`` are left out.

    Args:
        what: What is wrong, as a sentence without a full stop.
        where: Path of the option in the config, for example
            ``model.augmentation.preset``.
        got: The offending value.
        allowed: What would be accepted, in words.
        fix: What the user can do.
    """

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        got: object = None,
        allowed: str | None = None,
        fix: str | None = None,
    ) -> None:
        lines = [what]
        if where is not None:
            lines.append(f'  where:   {where}')
        if got is not None:
            lines.append(f'  got:     {_show(got)}')
        if allowed is not None:
            lines.append(f'  allowed: {allowed}')
        if fix is not None:
            lines.append(f'  fix:     {fix}')
        super().__init__('\n'.join(lines))


def _show(value: object) -> str:
    """Return a value's text, unless it has none, and not without end."""
    try:
        text = repr(value)
    except Exception:
        # Of a number of thousands of digits, or an object of another's.
        return f'a {type(value).__name__} that cannot be shown'
    if len(text) > _MOST_SHOWN:
        return f'{text[:_MOST_SHOWN]} ... ({len(text)} characters)'
    return text


class TrainingError(RuntimeError):
    """Report why a training that has begun cannot go on, and what may help."""


def run_tool(tool: Callable[[], object]) -> None:
    """Run a tool; end with the message alone where a user can mend it."""
    try:
        tool()
    except Exception as error:
        message = explain(error)
        if message is None:
            raise
        sys.exit(f'{Path(sys.argv[0]).stem}: {message}')


def explain(error: BaseException) -> str | None:
    """Return the message of an error that a user can do something about.

    Args:
        error: What has ended a tool.

    Returns:
        The message; ``None`` for an error of the program, of which the
        traceback is wanted.
    """
    if isinstance(error, (ConfigError, TrainingError)):
        return str(error)
    if isinstance(error, OSError) and error.filename is not None:
        # No room, no rights, a folder in a file's place.
        return f'{error.strerror}: {error.filename}'
    # torch's own, when the system kills a process that loads data.
    if isinstance(error, RuntimeError) and 'DataLoader worker' in str(error):
        return (
            f'{error}\n  fix:     look whether the system has run out of '
            'memory (of /dev/shm, too); with num_workers=0 the error of a '
            'transform shows itself'
        )
    return None
