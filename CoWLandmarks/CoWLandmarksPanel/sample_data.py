"""The synthetic sample scans that come with the extension, for the Sample Data module; no internet is needed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from slicer.i18n import tr as _

RESOURCES = Path(__file__).resolve().parent.parent
CATEGORY = "CoW Landmarks"


@dataclass(frozen=True)
class SampleScan:
    """A sample scan: `name` is that of its volume node."""

    sample: str
    name: str
    file: Path
    thumbnail: Path


_FOLDER = RESOURCES / "CoWLandmarksLib" / "Resources"
_ICONS = RESOURCES / "Resources" / "Icons"
MRA = SampleScan("CoWLandmarksMRA", "Phantom MRA", _FOLDER / "sample_mra.nii.gz", _ICONS / "SampleMRA.png")
CTA = SampleScan("CoWLandmarksCTA", "Phantom CTA", _FOLDER / "sample_cta.nii.gz", _ICONS / "SampleCTA.png")


def registerSampleData() -> None:
    """Offer the samples in the Sample Data module."""
    import SampleData  # load order

    for sample in (MRA, CTA):
        if SampleData.SampleDataLogic().sourceForSampleName(sample.sample) is not None:
            continue
        SampleData.SampleDataLogic.registerCustomSampleDataSource(
            category=_(CATEGORY),
            sampleName=sample.sample,
            uris=sample.file.as_uri(),
            fileNames=f"{sample.sample}.nii.gz",
            nodeNames=sample.name,
            thumbnailFileName=str(sample.thumbnail),
            checksums=f"SHA256:{hashlib.sha256(sample.file.read_bytes()).hexdigest()}",
        )
