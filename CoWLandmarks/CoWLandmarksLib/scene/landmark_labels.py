"""Which landmarks of a detection are labelled in 3-D views: the selected and the doubtful ones, or all. MRML, no Qt.

All points of a markups node share text size and label visibility of a display node, and 19 codes in one 3-D view hide
each other. So the point list has a second display node: the first draws it in slice views, with all labels, the second
in 3-D without them. The labels there are those of two short lists of their own, at the same places, which are locked,
hidden from editors, not saved with the scene, and made anew when they are needed.
"""

from __future__ import annotations

from typing import Any

from .nodes import ATTRIBUTE, UNCERTAIN_COLOUR, all_or_nothing

LABELS = ATTRIBUTE + "labels"
"""Attribute of the lists of labels (which one), and of the display node that draws a point list in 3-D."""
TEXT_SCALE, SELECTED_TEXT_SCALE = 2.5, 4.5
_SELECTED_COLOUR = (1.0, 1.0, 1.0)
_NO_GLYPH_MM = 0.01
_LISTS = {"doubtful": (UNCERTAIN_COLOUR, TEXT_SCALE), "selected": (_SELECTED_COLOUR, SELECTED_TEXT_SCALE)}


def show_labels(markups_node: Any, selected: str | None, everything: bool = False) -> None:
    """Label the selected landmark (large) and the doubtful ones in 3-D; `everything`: all the others as well.

    Called again, it brings the labels to where the points are now; what fits already is not touched.
    """
    in_3d = _display_in_3d(markups_node)
    if bool(in_3d.GetPointLabelsVisibility()) != everything:
        in_3d.SetPointLabelsVisibility(everything)
    large, small = {}, {}
    for index in range(markups_node.GetNumberOfControlPoints() if in_3d.GetVisibility() else 0):
        if markups_node.GetNthControlPointPositionStatus(index) == markups_node.PositionDefined:
            code = markups_node.GetNthControlPointLabel(index).strip()
            place = tuple(markups_node.GetNthControlPointPositionWorld(index))
            if code == selected:
                large[code] = place
            elif not everything and not markups_node.GetNthControlPointSelected(index):  # as show_estimate leaves it
                small[code] = place
    _fill(markups_node.GetScene(), "selected", large)
    _fill(markups_node.GetScene(), "doubtful", small)


def hide_labels(scene: Any) -> None:
    """Take the labels of the selected and the doubtful landmarks away."""
    for name in _LISTS:
        _fill(scene, name, {})


def _display_in_3d(markups_node: Any) -> Any:
    displays = [markups_node.GetNthDisplayNode(index) for index in range(markups_node.GetNumberOfDisplayNodes())]
    known = next((display for display in displays if display is not None and display.GetAttribute(LABELS)), None)
    if known is not None:
        return known
    scene = markups_node.GetScene()
    in_slices = markups_node.GetDisplayNode()
    display = scene.CreateNodeByClass(in_slices.GetClassName())
    display.UnRegister(None)
    display.CopyContent(in_slices)
    display.SetAttribute(LABELS, "3-D")
    display.SetVisibility2D(False)
    display.SetTextScale(TEXT_SCALE)
    scene.AddNode(display)
    markups_node.AddAndObserveDisplayNodeID(display.GetID())  # first: observers of what follows find it
    in_slices.SetVisibility3D(False)
    return display


def _fill(scene: Any, name: str, places: dict[str, tuple[float, ...]]) -> None:
    node = _label_list(scene, name)
    if node is None:
        if not places:
            return
        node = _add_label_list(scene, name)
    held = [node.GetNthControlPointLabel(index) for index in range(node.GetNumberOfControlPoints())]
    if held != list(places):
        node.SetFixedNumberOfControlPoints(False)
        node.RemoveAllControlPoints()
        for code, place in places.items():
            node.AddControlPoint(*place, code)
        node.SetFixedNumberOfControlPoints(True)  # nobody else places points in it
        return
    for index, place in enumerate(places.values()):
        if tuple(node.GetNthControlPointPositionWorld(index)) != place:
            node.SetNthControlPointPositionWorld(index, *place)


def _add_label_list(scene: Any, name: str) -> Any:
    colour, size = _LISTS[name]
    node = scene.CreateNodeByClass("vtkMRMLMarkupsFiducialNode")
    node.UnRegister(None)
    node.SetName(f"CoW labels ({name})")
    node.SetAttribute(LABELS, name)
    node.SetSaveWithScene(False)
    node.SetHideFromEditors(True)
    node.SetSelectable(False)
    node.SetLocked(True)
    with all_or_nothing(scene):  # outside a batch Slicer makes a new list the one that a person places points in
        scene.AddNode(node)
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        display.SetSaveWithScene(False)
        display.SetVisibility2D(False)
        display.SetUseGlyphScale(False)
        display.SetGlyphSize(_NO_GLYPH_MM)
        display.SetTextScale(size)
        display.SetSelectedColor(*colour)
        display.SetPropertiesLabelVisibility(False)
        display.SetPointLabelsVisibility(True)
        display.SetOccludedVisibility(True)
    return node


def _label_list(scene: Any, name: str) -> Any | None:
    count = scene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode")
    nodes = (scene.GetNthNodeByClass(index, "vtkMRMLMarkupsFiducialNode") for index in range(count))
    return next((node for node in nodes if node.GetAttribute(LABELS) == name), None)
