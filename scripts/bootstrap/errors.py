"""Word what keeps set-up from going on."""

from __future__ import annotations


class SetupError(Exception):
    """Report what is missing on the machine and how to mend it.

    Args:
        what: What is wrong, a sentence without a full stop.
        got: What was found.
        fix: What the user can do, one line each.
    """

    def __init__(self, what: str, *, got: str = '', fix: str = '') -> None:
        lines = [what]
        for label, text in (('got', got), ('fix', fix)):
            for number, line in enumerate(text.splitlines()):
                head = f'{label}:' if number == 0 else ''
                lines.append(f'  {head:<5} {line}')
        super().__init__('\n'.join(lines))
