"""What a person may choose for a detection, as the words of `cowlandmarks detect`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MODALITIES = ("auto", "mra", "cta")
DEVICES = ("auto", "cpu", "cuda", "mps")
DECODINGS = ("subvoxel", "argmax")


@dataclass(frozen=True)
class DetectOptions:
    """Options of one detection; the defaults are those of the command line."""

    modality: str = "auto"
    device: str = "auto"
    decoding: str = "subvoxel"
    model: Path | None = None
    arteries: bool = True
    heatmaps: bool = False

    def words(self) -> list[str]:
        """The command line's words for them."""
        words = ["--modality", self.modality, "--device", self.device, "--decoding", self.decoding]
        if self.model is not None:
            words += ["--model", str(self.model)]
        if not self.arteries:
            words.append("--no-arteries")
        if self.heatmaps:
            words.append("--heatmaps")
        return words
