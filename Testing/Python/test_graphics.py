"""Which renderers of OpenGL compute on the processor."""

from __future__ import annotations

import pytest
from CoWLandmarksLib.scene.vessel_rendering import draws_in_software, renderer_name

CAPABILITIES = """OpenGL vendor string:  Mesa
OpenGL renderer string:  {name}
OpenGL version string:  4.5 (Core Profile) Mesa
OpenGL extensions:
  GL_ARB_software_nothing
"""


@pytest.mark.parametrize(
    "name",
    [
        "llvmpipe (LLVM 15.0.7, 256 bits)",
        "Gallium 0.4 on llvmpipe (LLVM 3.8, 128 bits)",
        "virgl (LLVMPIPE (LLVM 17.0.6, 256 bits))",
        "softpipe",
        "Software Rasterizer",
        "ANGLE (Google, Vulkan 1.3.0 (SwiftShader Device (Subzero) (0x0000C0DE)), SwiftShader driver)",
        "SWR (LLVM 12.0, 256 bits)",
        "D3D12 (Microsoft Basic Render Driver)",
        "GDI Generic",
        "Mesa OffScreen",
        "Mesa X11",
        "Apple Software Renderer",
    ],
)
def test_a_renderer_that_computes_on_the_processor_is_recognised(name: str) -> None:
    assert renderer_name(CAPABILITIES.format(name=name)) == name
    assert draws_in_software(name)


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA GeForce RTX 3060/PCIe/SSE2",
        "AMD Radeon RX 6600 (radeonsi, navi23, LLVM 15.0.7, DRM 3.54)",
        "Mesa Intel(R) UHD Graphics 620 (KBL GT2)",
        "Apple M2",
        "ANGLE (Intel, Intel(R) Iris(R) Xe Graphics Direct3D11 vs_5_0 ps_5_0, D3D11)",
        "D3D12 (NVIDIA GeForce GTX 1650)",
    ],
)
def test_a_gpu_is_none_of_them(name: str) -> None:
    assert not draws_in_software(renderer_name(CAPABILITIES.format(name=name)))


@pytest.mark.parametrize("text", ["", "display not set", "OpenGL vendor string:  Mesa"])
def test_where_no_renderer_is_known_there_is_no_name(text: str) -> None:
    assert renderer_name(text) == ""
