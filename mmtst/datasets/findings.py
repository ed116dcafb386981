"""Hold what a look at data found, and refuse or report it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mmtst.utils.errors import ConfigError

SHOWN = 3
# From which share of a file on single faults (boxes without area, sizes that
# contradict the image) are the rule, and what is trained on is another set.
MOST_FAULTY_OBJECTS = 0.5
MOST_FAULTY_IMAGES = 0.01


@dataclass(frozen=True)
class Finding:
    """Say one thing that is wrong with the data.

    Attributes:
        what: What is wrong and how often, as a sentence without a full stop.
        where: Path of the option in the config that names the file.
        file: The annotation file, or the folder of the images.
        count: How many entries or files it concerns.
        places: The first of them, as index and id, or as paths.
        refused: Whether a training with it would stop, be pointless or go
            wrong; else it is only said.
        allowed: What would be accepted, in words.
        fix: What the user can do.
        error: The error to raise as it is, where there was one.
    """

    what: str
    where: str
    file: str
    count: int = 1
    places: tuple[str, ...] = ()
    refused: bool = True
    allowed: str | None = None
    fix: str | None = None
    error: ConfigError | None = None

    @classmethod
    def from_error(cls, error: ConfigError, where: str, file: str) -> Finding:
        """Return the finding that an error stands for."""
        what = str(error).partition('\n')[0]
        return cls(what, where, file, error=error)

    def note(self) -> str:
        """Return it as one line for the log."""
        places = f', for example {self.places[0]}' if self.places else ''
        return f'{self.what}{places} ({self.file}, {self.where})'


def name_places(names: Sequence[str], count: int | None = None) -> list[str]:
    """Return the first names, and how many more there are."""
    count = len(names) if count is None else count
    more = [f'{count - SHOWN} more'] * (count > SHOWN)
    return [*names[:SHOWN], *more]


def refuse_worst(findings: Iterable[Finding]) -> None:
    """Raise an error for the first finding that is to be refused.

    Args:
        findings: In the order of their weight.

    Raises:
        ConfigError: There is such a one; the message also says how many
            others there are.
    """
    refused = [finding for finding in findings if finding.refused]
    if not refused:
        return
    worst = refused[0]
    if worst.error is not None:
        raise worst.error
    got: object = worst.file
    if worst.places:
        places = ', '.join(name_places(worst.places, worst.count))
        got = f'{worst.file}: {places}'
    others = [
        f'{len(refused) - 1} more kinds of faults would stop the training: '
        'tools/check_data.py CONFIG lists them all'
    ] * (len(refused) > 1)
    raise ConfigError(
        worst.what,
        where=worst.where,
        got=got,
        allowed=worst.allowed,
        fix='; '.join([*filter(None, [worst.fix]), *others]) or None,
    )
