"""MkDocs hook: equations as MathML, which browsers set themselves, without scripts."""

import html
import re
from typing import Any

from latex2mathml.converter import convert

#: What pymdownx.arithmatex (generic) makes of $...$ and of $$...$$.
_FORMULA = re.compile(
    r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL
)  # fmt: skip


def on_page_content(content: str, **_: Any) -> str:
    """Return a page with its equations set; a formula that cannot be read fails the build."""
    return _FORMULA.sub(_set, content)


def _set(match: re.Match[str]) -> str:
    display = "block" if match[2] == "[" else "inline"
    return convert(html.unescape(match[3]).strip(), display=display)
