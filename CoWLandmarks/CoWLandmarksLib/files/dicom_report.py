"""The landmarks as a DICOM Structured Report: Comprehensive 3D SR, template TID 1500."""

from __future__ import annotations

from os import PathLike
from typing import Any

from highdicom import sr
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from .. import __version__
from ..core.anatomy import Anatomy
from ..core.detection import NOT_PLACED, Detection, LandmarkEstimate
from .dicom_codes import (
    CERTAINTY,
    EXPECTED_ERROR,
    REMARK,
    REMARKS,
    RESEARCH_ONLY,
    STATE,
    STATES,
    landmark_code,
    landmark_site,
)
from .dicom_object import MANUFACTURER, PRODUCT, Stamp, algorithm_parameters, building, plain_text, save, stamp_of
from .dicom_source import SourceSeries, points_to_lps

SERIES_NUMBER = 9702
"""Of the new series in the study; scanners number from 1."""
_DEVICE = "2.25.225681483835102448251477934758105656084"
"""Identifies the program as observer, whatever computer it runs on; made once, at random."""


def write_dicom_report(path: str | PathLike[str], detection: Detection, anatomy: Anatomy, source: SourceSeries) -> None:
    """Write a measurement group for every landmark: a point (SCOORD3D) where it is placed, state, confidence, error.

    A landmark that an annotation does not place is left out, as in a point list. Notes of a person are left out: they
    are free text, in which anything may stand. Raises ConfigurationError and OutputError.
    """
    stamp = stamp_of("report", source, detection)
    annotated = [estimate for estimate in detection.landmarks if estimate.note != NOT_PLACED]
    with building(path):
        report = sr.MeasurementReport(
            observation_context=sr.ObservationContext(observer_device_context=_observer()),
            procedure_reported=codes.SCT.Angiography,
            imaging_measurements=[_group(estimate, detection, anatomy, source, stamp) for estimate in annotated],
            title=codes.DCM.ImagingMeasurementReport,
        )
        for text in (RESEARCH_ONLY, _verdict(detection)):
            comment = sr.TextContentItem(codes.DCM.Comment, text, sr.RelationshipTypeValues.CONTAINS)
            report[0].ContentSequence.append(comment)
        dataset = sr.Comprehensive3DSR(
            evidence=list(source.headers),
            content=report[0],
            **stamp.origin(SERIES_NUMBER),
            series_description="Landmarks of the Circle of Willis (research only)",
        )
    save(dataset, path, stamp)


def _verdict(detection: Detection) -> str:
    return plain_text(" ".join([f"Verdict of the program: {detection.verdict_label}.", *detection.reasons]))


def _observer() -> sr.ObserverContext:
    return sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=_DEVICE, name=PRODUCT, manufacturer_name=MANUFACTURER, model_name=PRODUCT, serial_number="none"
        ),
    )


def _group(
    estimate: LandmarkEstimate, detection: Detection, anatomy: Anatomy, source: SourceSeries, stamp: Stamp
) -> Any:
    site = landmark_site(anatomy, estimate.code)
    common: dict[str, Any] = {
        "tracking_identifier": sr.TrackingIdentifier(uid=stamp.uid(estimate.code), identifier=estimate.code),
        "finding_type": Code(*landmark_code(anatomy, estimate.code)),
        "finding_sites": None
        if site is None
        else [sr.FindingSite(Code(*site.structure), None if site.side is None else Code(*site.side))],
        "algorithm_id": sr.AlgorithmIdentification(
            name=PRODUCT,
            version=__version__,
            parameters=[f"{key}={value}" for key, value in algorithm_parameters(detection).items()],
        ),
        "measurements": [
            sr.Measurement(Code(*CERTAINTY), round(100.0 * estimate.confidence, 2), codes.UCUM.Percent),
            sr.Measurement(Code(*EXPECTED_ERROR), round(estimate.error_mm, 3), codes.UCUM.Millimeter),
        ],
        "qualitative_evaluations": [
            sr.QualitativeEvaluation(Code(*STATE), Code(*STATES[estimate.state])),
            *(
                sr.QualitativeEvaluation(Code(*REMARK), Code(*code))
                for flag, code in REMARKS.items()
                if getattr(estimate, flag)
            ),
        ],
    }
    if estimate.position is None:
        return sr.MeasurementsAndQualitativeEvaluations(**common)
    region = sr.ImageRegion3D(sr.GraphicTypeValues3D.POINT, points_to_lps(estimate.position), source.frame_of_reference)
    return sr.PlanarROIMeasurementsAndQualitativeEvaluations(referenced_region=region, **common)
