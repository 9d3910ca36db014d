"""The vessels of a scan drawn by volume rendering after a detection, beside what a person has of it. MRML, no Qt.

A scan may have any number of volume renderings. Ours is a display node with a mark (`OURS`), with a property and a
region of its own. The mark says how we left them: where a person has changed them since, in the module Volume
Rendering, the rendering is theirs from then on.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import vtk

from ..core.volume import apply_affine
from .display import landmark_positions
from .nodes import ATTRIBUTE, add_node, all_or_nothing, volume_from_node

SOFTWARE_RENDERERS = (
    "llvmpipe",
    "lavapipe",
    "softpipe",
    "swrast",
    "software",
    "swiftshader",
    "swr (",
    "microsoft basic render",
    "gdi generic",
    "mesa offscreen",
    "mesa x11",
)
"""Parts of the names, in small letters, of the renderers of OpenGL that compute on the processor."""
SLOW_FRAME_SECONDS = 0.1
"""Where the name is unknown: a graphics card draws a frame of surfaces in a fraction of this."""
OURS = ATTRIBUTE + "vessels"
"""Attribute of our display node: a fingerprint of its property and region as we left them."""
CROP_MARGIN_MM = 14.0
VESSEL_PROPERTY = "CoW vessels"
_RENDERING = "vtkMRMLVolumeRenderingDisplayNode"
_OPACITIES = ((0.0, 0.0), (0.5, 0.0), (0.7, 0.05), (0.9, 0.16), (1.1, 0.28))
"""Brightness, as part of that of the vessels, and opacity."""


def show_vessels(rendering_logic: Any, volume_node: Any, markups_node: Any) -> Any | None:
    """Draw the vessels round the points by volume rendering; returns our display node.

    None, and nothing is drawn, without points, and where a person shows a volume rendering of the scan: two would hide
    each other. Those of other scans that we made are hidden.

    `rendering_logic` is that of Slicer's Volume Rendering module. Opacity follows the brightness that the scan has at
    the landmarks, so one preset fits TOF-MRA in any units as well as CTA; a box round the circle is drawn, which
    keeps the skull of a CTA out.
    """
    points = landmark_positions(markups_node)
    renderings = _renderings(volume_node)
    ours = next((display for display in renderings if _is_ours(display)), None)
    theirs_shown = any(display is not ours and display.GetVisibility() for display in renderings)
    if len(points) == 0 or theirs_shown:
        hide_vessels(volume_node.GetScene())
        return None
    hide_vessels(volume_node.GetScene(), but=ours)
    if ours is None:
        ours = _add_rendering(rendering_logic, volume_node)
    level = vessel_level(volume_node, points)
    fill_vessel_property(
        ours.GetVolumePropertyNode(), level, markups_node.GetAttribute(ATTRIBUTE + "modality") == "cta"
    )
    region = ours.GetROINode()
    low, high = points.min(axis=0) - CROP_MARGIN_MM, points.max(axis=0) + CROP_MARGIN_MM
    region.SetAndObserveTransformNodeID(None)
    region.SetCenterWorld(*((low + high) / 2.0))
    region.SetSizeWorld(*(high - low))
    ours.SetCroppingEnabled(True)
    ours.SetAttribute(OURS, _fingerprint(ours))
    ours.SetVisibility(True)
    return ours


def hide_vessels(scene: Any, but: Any | None = None) -> bool:
    """Hide the volume renderings that we made, `but` one; those of a person stay. Returns whether one was shown."""
    hidden = False
    for index in range(scene.GetNumberOfNodesByClass(_RENDERING)):
        display = scene.GetNthNodeByClass(index, _RENDERING)
        if display is not but and _is_ours(display):
            hidden |= bool(display.GetVisibility())
            display.SetVisibility(False)
    return hidden


def _renderings(volume_node: Any) -> list[Any]:
    displays = (volume_node.GetNthDisplayNode(index) for index in range(volume_node.GetNumberOfDisplayNodes()))
    return [display for display in displays if display is not None and display.IsA(_RENDERING)]


def _is_ours(display: Any) -> bool:
    """Whether we made a volume rendering and nobody changed its property or region since."""
    return display.GetAttribute(OURS) is not None and display.GetAttribute(OURS) == _fingerprint(display)


def _add_rendering(rendering_logic: Any, volume_node: Any) -> Any:
    scene = volume_node.GetScene()
    with all_or_nothing(scene) as undo:
        property_node = add_node(scene, "vtkMRMLVolumePropertyNode", VESSEL_PROPERTY, undo)
        region = add_node(scene, "vtkMRMLMarkupsROINode", f"{VESSEL_PROPERTY} region", undo)
        region.CreateDefaultDisplayNodes()
        undo.callback(scene.RemoveNode, region.GetDisplayNode())
        region.SetDisplayVisibility(False)
        display = rendering_logic.CreateVolumeRenderingDisplayNode()
        display.UnRegister(None)
        display.SetName(VESSEL_PROPERTY)
        display.SetVisibility(False)
        scene.AddNode(display)
        undo.callback(scene.RemoveNode, display)
        display.SetAndObserveVolumePropertyNodeID(property_node.GetID())
        display.SetAndObserveROINodeID(region.GetID())
        volume_node.AddAndObserveDisplayNodeID(display.GetID())
    return display


def _fingerprint(display: Any) -> str:
    """Changes with everything that the module Volume Rendering lets a person change."""
    property_node, region = display.GetVolumePropertyNode(), display.GetROINode()
    if property_node is None or region is None:
        return "incomplete"
    shading = property_node.GetVolumeProperty()
    functions = (property_node.GetScalarOpacity(), property_node.GetGradientOpacity(), property_node.GetColor())
    parts: list[float] = [shading.GetShade(), shading.GetAmbient(), shading.GetDiffuse(), shading.GetSpecular()]
    parts += [shading.GetSpecularPower(), shading.GetInterpolationType(), display.GetCroppingEnabled()]
    for function in functions:
        for index in range(function.GetSize()):
            node = [0.0] * (6 if function.IsA("vtkColorTransferFunction") else 4)
            function.GetNodeValue(index, node)
            parts += node
    bounds = [0.0] * 6
    region.GetRASBounds(bounds)
    # Scenes are written with fewer digits than a double has.
    text = " ".join(f"{part:.4g}" for part in parts) + " " + " ".join(f"{value:.1f}" for value in bounds)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def vessel_level(volume_node: Any, points: np.ndarray) -> float:
    """Brightness of the vessels: median over the voxels at the points (n, 3), world RAS mm, that lie in the scan."""
    volume = volume_from_node(volume_node, copy=False)
    ijk = np.rint(apply_affine(volume.grid.ras_to_ijk, points)).astype(int)
    inside = ijk[((ijk >= 0) & (ijk < volume.grid.size)).all(axis=1)]
    if len(inside) == 0:
        return float(volume.voxels.max())
    return float(np.median(volume.voxels[inside[:, 2], inside[:, 1], inside[:, 0]]))


def fill_vessel_property(property_node: Any, level: float, is_cta: bool) -> None:
    """Set opacity and colour of a volume property node for vessels of brightness `level`: dark to bright red.

    They are thin enough for the surfaces of the arteries to show.

    What is much brighter than blood in a CTA is bone or metal and drawn pale and thin.
    """
    property_node.SetName(VESSEL_PROPERTY)
    opacity, colour = vtk.vtkPiecewiseFunction(), vtk.vtkColorTransferFunction()
    for part, alpha in _OPACITIES:
        opacity.AddPoint(part * level, alpha)
    for part, rgb in ((0.5, (0.35, 0.05, 0.03)), (0.8, (0.75, 0.22, 0.12)), (1.1, (0.98, 0.66, 0.48))):
        colour.AddRGBPoint(part * level, *rgb)
    if is_cta:
        opacity.AddPoint(1.5 * level, 0.2)
        opacity.AddPoint(2.2 * level, 0.04)
        colour.AddRGBPoint(1.7 * level, 0.93, 0.90, 0.82)
    else:
        opacity.AddPoint(2.0 * level, 0.32)
        colour.AddRGBPoint(2.0 * level, 1.0, 0.95, 0.85)
    gradient = vtk.vtkPiecewiseFunction()
    gradient.AddPoint(0.0, 1.0)
    property_node.SetScalarOpacity(opacity)
    property_node.SetColor(colour)
    property_node.SetGradientOpacity(gradient)
    shading = property_node.GetVolumeProperty()
    shading.SetInterpolationTypeToLinear()
    shading.ShadeOn()
    shading.SetAmbient(0.25)
    shading.SetDiffuse(0.75)
    shading.SetSpecular(0.25)
    shading.SetSpecularPower(15.0)


def renderer_name(capabilities: str) -> str:
    """Name of the renderer in what vtkRenderWindow.ReportCapabilities() returns; empty where it is not given."""
    for line in (capabilities or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip().lower() == "opengl renderer string":
            return value.strip()
    return ""


def draws_in_software(renderer: str) -> bool:
    """Whether a renderer of this name computes on the processor."""
    return any(part in renderer.lower() for part in SOFTWARE_RENDERERS)
