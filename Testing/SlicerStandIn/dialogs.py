"""Modal dialogs: nobody sits before a test, so the answers are laid out before."""

from __future__ import annotations

from typing import Any

answers: list[Any] = []
"""What the next dialogs return, first one first."""
asked: list[str] = []
"""Texts of the dialogs that were opened."""


def ask(title: str, text: str) -> Any:
    """The answer to a dialog; AssertionError where none was expected (in the application it would wait)."""
    asked.append(text or title)
    if not answers:
        raise AssertionError(f"a dialog that nobody answers was opened: '{title}: {text}'")
    return answers.pop(0)
