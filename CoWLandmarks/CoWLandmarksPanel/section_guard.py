"""The sections of a panel are called one by one: an error in one does not keep the others from being called."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

logger = logging.getLogger(__name__)


class SectionGuard:
    """Calls sections and tells in `label` which of them failed, until the same step of them succeeds."""

    def __init__(self, label: Any) -> None:
        self._label = label
        self._failures: dict[tuple[str, str], str] = {}
        self._logged: set[tuple[str, str, str, int | None]] = set()
        self._showFailures()

    def call(self, title: str, step: Callable[..., Any], *arguments: Any) -> None:
        """Let the section called `title` take a step. Errors that it did not expect are logged once per place."""
        key = (title, step.__name__)
        try:
            step(*arguments)
        except Exception as error:  # whatever it is, the other sections have to get their turn
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = (title, type(error).__name__, place.filename, place.lineno)
            if where not in self._logged:
                self._logged.add(where)
                logger.exception("The section '%s' failed.", title)
            self._failures[key] = _(
                "The section '{title}' failed ({error}); the others work on. The error log tells more."
            ).format(title=title, error=f"{type(error).__name__}: {error}")
        else:
            self._failures.pop(key, None)
        self._showFailures()

    def _showFailures(self) -> None:
        self._label.text = "\n".join(dict.fromkeys(self._failures.values()))
        self._label.visible = bool(self._failures)
