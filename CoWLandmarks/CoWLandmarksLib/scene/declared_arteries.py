"""What a person says of the arteries of a detection, as its point list keeps it in a scene. No Qt.

It is an attribute of the point list, as JSON. Waypoints are kept in the coordinates of the list, so that they stay true
when it is put under a transform; here and everywhere else they are world RAS mm.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..core.anatomy import Anatomy
from ..core.declaration import (
    Declaration,
    Declarations,
    Position,
    artery_codes,
    declarations_from_list,
    declarations_to_list,
)
from ..core.errors import AnnotationError
from .nodes import ATTRIBUTE

DECLARED = ATTRIBUTE + "declared"


def declared_in(markups_node: Any, anatomy: Anatomy) -> dict[str, Declaration]:
    """What is declared of arteries in the scene, by code; raises AnnotationError where that is not readable."""
    text = markups_node.GetAttribute(DECLARED)
    name = f"The point list '{markups_node.GetName()}'"
    try:
        entries = json.loads(text) if text else []
    except ValueError as error:
        raise AnnotationError(f"{name} has a damaged attribute '{DECLARED}' ({error}); remove it.") from error
    declared = declarations_from_list(entries, artery_codes(anatomy), name)
    return {code: moved(entry, markups_node.TransformPointToWorld) for code, entry in declared.items()}


def keep_declared(markups_node: Any, declared: Declarations) -> None:
    """Write what is declared into the scene, in place of what was."""
    if not declared:
        markups_node.RemoveAttribute(DECLARED)
        return
    own = {code: moved(entry, markups_node.TransformPointFromWorld) for code, entry in declared.items()}
    markups_node.SetAttribute(DECLARED, json.dumps(declarations_to_list(own)))


def moved(declaration: Declaration, transform: Callable[[list[float], list[float]], None]) -> Declaration:
    """A declaration whose waypoints went through a transform of a node."""

    def there(point: Position) -> Position:
        result = [0.0, 0.0, 0.0]
        transform(list(point), result)
        return result[0], result[1], result[2]

    return replace(declaration, waypoints=tuple(there(point) for point in declaration.waypoints))
