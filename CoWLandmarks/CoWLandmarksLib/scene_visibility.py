"""Which of the results of a scene are drawn. MRML only, no Qt."""

from __future__ import annotations

from typing import Any

from .scene import detection_nodes
from .scene_results import set_shown


def show_only_result(scene: Any, markups_node: Any) -> None:
    """Draw this result (points, balls of the regions, arteries) in all views, and hide every other detection."""
    for node in detection_nodes(scene):
        set_shown(node, node is markups_node)
