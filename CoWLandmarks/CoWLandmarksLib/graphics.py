"""What draws the 3-D views: a graphics card, or the processor in its place, which takes seconds for a volume."""

from __future__ import annotations

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


def renderer_name(capabilities: str) -> str:
    """Name of the renderer in what vtkRenderWindow.ReportCapabilities() returns; empty where it is not told."""
    for line in (capabilities or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip().lower() == "opengl renderer string":
            return value.strip()
    return ""


def draws_in_software(renderer: str) -> bool:
    """Whether a renderer of this name computes on the processor."""
    return any(part in renderer.lower() for part in SOFTWARE_RENDERERS)
