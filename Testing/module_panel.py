"""Shows a module as Slicer's module panel does, and says what of it is squeezed or lies over another."""

from __future__ import annotations

import itertools
from typing import Any

from PySide6 import QtCore, QtWidgets

_areas: list[Any] = []


def _going_by_minimum_sizes() -> Any:
    return type("Container", (QtWidgets.QWidget,), {"hasHeightForWidth": lambda self: False})()


def in_module_panel(application: Any, widget: Any, size: tuple[int, int]) -> Any:
    """Show a module as Slicer's module panel does: in a scroll area of that size.

    A container between them goes by the minimum sizes of its children: that is where rows were squeezed.
    """
    content, between, area = QtWidgets.QWidget(), _going_by_minimum_sizes(), QtWidgets.QScrollArea()
    for outer, inner in ((content, between), (between, widget.parent)):
        layout = QtWidgets.QVBoxLayout(outer)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(inner)
    area.setHorizontalScrollBarPolicy(QtCore.Qt.ScrollBarAlwaysOff)
    area.setWidgetResizable(True)
    area.setWidget(content)
    area.show()
    QtWidgets.QWidget.show(widget.parent)
    area.resize(*size)
    _areas.append(area)
    for _round in range(4):
        application.process_events()
    return area


def named(ui: Any) -> dict[str, Any]:
    """The widgets of the panel that are visible, by their names."""
    widgets = {name: own for name, own in vars(ui).items() if isinstance(own, QtWidgets.QWidget)}
    return {name: own for name, own in widgets.items() if QtWidgets.QWidget.isVisible(own)}


def needed_height(own: Any) -> int:
    """What a widget needs at its width so that its text can be read."""
    text = QtWidgets.QWidget.fontMetrics(own).height()
    if own.className() == "ctkCollapsibleGroupBox" and own.collapsed:
        return text
    if own.className() == "QLabel" and own.wordWrap:
        return int(QtWidgets.QLabel.heightForWidth(own, own.width))
    return int(max(text if getattr(own, "text", "") else 0, type(own)._real_class.minimumSizeHint(own).height()))


def squeezed(shown: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Widgets that are lower than their text needs: their height, and what they need."""
    return {name: (own.height, needed_height(own)) for name, own in shown.items() if own.height < needed_height(own)}


def overlapping(shown: dict[str, Any]) -> list[tuple[str, str]]:
    """Pairs of widgets that lie over each other."""
    parents = {name: QtWidgets.QWidget.parentWidget(own) for name, own in shown.items()}
    return [
        (one, other)
        for one, other in itertools.combinations(shown, 2)
        if parents[one] is parents[other] and shown[one].geometry.intersects(shown[other].geometry)
    ]


def taken_out(widget: Any) -> None:
    """Take a module out of its place, which goes."""
    QtWidgets.QWidget.setParent(widget.parent, None)
    _areas.clear()
