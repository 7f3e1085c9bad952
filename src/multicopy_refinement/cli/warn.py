"""Warnings as the terminal shows them."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape


def print_warning(console: Console, text: str) -> None:
    """Print a warning on lines as long as it is; brackets in it are no markup."""
    console.print(f"[yellow]Warning:[/] {escape(text)}", highlight=False, soft_wrap=True)
