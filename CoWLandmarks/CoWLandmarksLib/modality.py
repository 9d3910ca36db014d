"""The two kinds of angiogram the program knows."""

from __future__ import annotations

from enum import Enum


class Modality(str, Enum):
    """MRA: time-of-flight MR angiography; CTA: CT angiography."""

    MRA = "mra"
    CTA = "cta"
