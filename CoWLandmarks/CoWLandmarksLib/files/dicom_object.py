"""What our DICOM objects have in common: who made them and when, their UIDs, and how they become files."""

from __future__ import annotations

import hashlib
import os
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from os import PathLike
from typing import TYPE_CHECKING

from .. import __version__
from ..core.atomic_files import atomic_path
from ..core.detection import Detection
from ..core.errors import ConfigurationError, OutputError
from .dicom_codes import SCHEME, SCHEME_NAME
from .dicom_source import SourceSeries

if TYPE_CHECKING:
    from pydicom import Dataset

MANUFACTURER = "CoW Landmarks contributors"
PRODUCT = "CoW Landmarks"
_UIDS = uuid.UUID("87a37286-86b9-4b4a-8323-2d641af98cc3")
"""Namespace of our UIDs; made once, at random."""
_CLOCK = "SOURCE_DATE_EPOCH"


@dataclass(frozen=True)
class Stamp:
    """Time and UIDs of one object. The same content made at the same time is the same object, to the last byte.

    UIDs are derived from name-based UUIDs (PS3.5, B.2).
    """

    made: datetime
    seed: str

    def uid(self, name: str) -> str:
        """The UID of a part of the object."""
        return f"2.25.{uuid.uuid5(_UIDS, f'{self.seed} {name}').int}"

    def origin(self, series_number: int) -> dict[str, str | int]:
        """What highdicom asks of the object's series, instance and equipment."""
        return {
            "series_instance_uid": self.uid("series"),
            "series_number": series_number,
            "sop_instance_uid": self.uid("instance"),
            "instance_number": 1,
            "manufacturer": MANUFACTURER,
            "manufacturer_model_name": PRODUCT,
            "software_versions": __version__,
            "device_serial_number": "none",
        }

    def put_on(self, dataset: Dataset) -> None:
        """Set the times that highdicom took from the clock."""
        for prefix in ("InstanceCreation", "Content"):
            setattr(dataset, f"{prefix}Date", f"{self.made:%Y%m%d}")
            setattr(dataset, f"{prefix}Time", f"{self.made:%H%M%S}")
        for equipment in dataset.get("ContributingEquipmentSequence", ()):
            if "ContributionDateTime" in equipment and equipment.get("Manufacturer", "").startswith("Highdicom"):
                equipment.ContributionDateTime = f"{self.made:%Y%m%d%H%M%S}"


def stamp_of(kind: str, source: SourceSeries, detection: Detection, content: bytes = b"") -> Stamp:
    """The stamp of an object of this kind with this content, made now; raises ConfigurationError (see `made_now`)."""
    made = made_now()
    known = (
        kind,
        __version__,
        made.isoformat(),
        [header.SOPInstanceUID for header in source.headers],
        detection.landmarks,
        detection.verdict_label,
        detection.reasons,
        algorithm_parameters(detection),
    )
    return Stamp(made, hashlib.sha256(repr(known).encode() + content).hexdigest())


def made_now() -> datetime:
    """The time to the second: local, or that of SOURCE_DATE_EPOCH (seconds since 1970, as UTC) where it is set.

    Raises ConfigurationError where that is no time. Source: reproducible-builds.org/specs/source-date-epoch.
    """
    given = os.environ.get(_CLOCK)
    if not given:
        return datetime.now().replace(microsecond=0)
    try:
        return datetime.fromtimestamp(int(given), timezone.utc).replace(tzinfo=None)
    except (ValueError, OverflowError, OSError) as error:
        raise ConfigurationError(
            f"The environment variable {_CLOCK} is '{given}', which is no time; give seconds since 1970, or unset it."
        ) from error


@contextmanager
def building(path: str | PathLike[str]) -> Iterator[None]:
    """What highdicom says and raises about a source that breaks the standard becomes one OutputError about `path`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about values of the source, such as names in an unusual form
            yield
    except (TypeError, ValueError) as error:
        raise OutputError(  # without what highdicom says, which may quote the patient's data
            f"'{path}' cannot be made ({type(error).__name__}), because a header of the source series breaks the DICOM "
            "standard; leave out the DICOM files, or export the series from the archive again."
        ) from error


def save(dataset: Dataset, path: str | PathLike[str], stamp: Stamp) -> None:
    """Write a DICOM file that says what our private codes are, all at once; raises OutputError."""
    from pydicom import Dataset as Item  # start-up time

    stamp.put_on(dataset)
    scheme = Item()
    scheme.CodingSchemeDesignator = SCHEME
    scheme.CodingSchemeName = SCHEME_NAME
    scheme.CodingSchemeResponsibleOrganization = MANUFACTURER
    dataset.CodingSchemeIdentificationSequence = [scheme]
    with building(path), atomic_path(path) as temporary:
        dataset.save_as(temporary)


def plain_text(text: str) -> str:
    """A text in ASCII, which every character set of a source series holds; other letters become question marks."""
    return text.encode("ascii", "replace").decode("ascii")


def algorithm_parameters(detection: Detection) -> dict[str, str]:
    """What the result depends on, without anything of the patient."""
    known = {key: detection.provenance.get(key) for key in ("model", "device", "decoding")}
    verdict = {"verdict": detection.verdict_label, "modality": detection.modality.value}
    return {key: plain_text(str(value)) for key, value in (verdict | known).items() if value is not None}
