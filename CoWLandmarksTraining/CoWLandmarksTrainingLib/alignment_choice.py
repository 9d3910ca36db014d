"""From the configuration to the way of alignment."""

from __future__ import annotations

from pathlib import Path

from .case_alignment import CohortAligner
from .landmark_alignment import LandmarkAligner
from .training_config import AlignConfig


def aligner_of(config: AlignConfig, out: Path) -> CohortAligner:
    """The aligner that `config.by` names; `out` is the aligned folder, where registrations are kept."""
    if config.by == "landmarks":
        return LandmarkAligner(config.largest_residual_mm)
    from .template import TemplateAligner

    return TemplateAligner(config, out)
