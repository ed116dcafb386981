"""Test that the snippets of the documentation run and hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / 'docs' / 'en'
PAGES = sorted(
    page for page in DOCS.glob('*.md') if '```python' in page.read_text()
)
_BLOCK = re.compile(r'^```python\n(.*?)^```$', re.DOTALL | re.MULTILINE)


def test_the_conventions_are_shown_by_example() -> None:
    assert DOCS / 'conventions.md' in PAGES


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_the_python_of_a_page_runs(page: Path) -> None:
    """One page is one program; errors name the line of the page."""
    text = page.read_text()
    blocks = list(_BLOCK.finditer(text))
    assert len(blocks) == text.count('```python')
    names: dict[str, object] = {'__name__': page.stem}
    for block in blocks:
        above = text[: block.start(1)].count('\n')
        code = compile('\n' * above + block[1], str(page), 'exec')
        exec(code, names)
