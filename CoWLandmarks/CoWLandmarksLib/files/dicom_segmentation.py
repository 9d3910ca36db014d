"""The arteries as a DICOM Segmentation that lies pixel for pixel on the images of the source series."""

from __future__ import annotations

from os import PathLike

import highdicom
import numpy as np
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from .. import __version__
from ..core.anatomy import Anatomy, Artery
from ..core.artery_map import ArteryMap
from ..core.detection import Detection
from .dicom_codes import RESEARCH_ONLY, artery_codes
from .dicom_object import MANUFACTURER, PRODUCT, Stamp, algorithm_parameters, building, save, stamp_of
from .dicom_source import SourceSeries, nearest_voxels, pixels_of

SERIES_NUMBER = 9701
"""Of the new series in the study; scanners number from 1."""


def write_dicom_segmentation(
    path: str | PathLike[str], arteries: ArteryMap, detection: Detection, anatomy: Anatomy, source: SourceSeries
) -> bool:
    """Write one segment for each artery that has voxels; where none has any there is no file, and False is returned.

    The segments lie on the pixels of the source (nearest voxel of the label map, which is the same voxel unless the
    scan had to be resampled); frames without any segment are left out. Raises ConfigurationError and OutputError.
    """
    labels = np.stack([labels_on_plane(arteries, plane, source.shape) for plane in source.planes])
    drawn = [artery for artery in anatomy.arteries if (labels == artery.label).any()]
    if not drawn:
        return False
    numbers = np.zeros(256, np.uint8)
    for number, artery in enumerate(drawn, start=1):
        numbers[artery.label] = number
    by_hand = any(estimate.corrected or estimate.reviewed for estimate in detection.landmarks)
    stamp = stamp_of("segmentation", source, detection, labels.tobytes())
    with building(path):
        dataset = highdicom.seg.Segmentation(
            source_images=list(source.headers),
            pixel_array=numbers[labels],
            segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[
                _segment(number, artery, detection, by_hand, stamp) for number, artery in enumerate(drawn, start=1)
            ],
            **stamp.origin(SERIES_NUMBER),
            content_label="COW_ARTERIES",
            content_description=RESEARCH_ONLY.partition(";")[0],
            series_description="Arteries of the Circle of Willis (research only)",
        )
        for item in (*dataset.DimensionOrganizationSequence, *dataset.DimensionIndexSequence):
            item.DimensionOrganizationUID = stamp.uid("dimensions")
    save(dataset, path, stamp)
    return True


def labels_on_plane(arteries: ArteryMap, plane: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Labels uint8 [row, column] at the pixels of a plane (see SourceSeries)."""
    found = np.zeros(shape, np.uint8)
    if arteries.labels.size == 0:
        return found
    crop = arteries.scan_grid.window(arteries.start, arteries.labels.shape)
    corners = pixels_of(plane, crop.corners())
    low = np.clip(np.floor(corners.min(axis=0)).astype(int) - 1, 0, None)
    high = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 2, None, shape[::-1])
    i, j = (axis.ravel() for axis in np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1])))
    voxels = nearest_voxels(arteries.scan_grid, plane, i, j) - np.array(arteries.start)[:, None]
    inside = ((voxels >= 0) & (voxels < crop.size[:, None])).all(axis=0)
    x, y, z = voxels[:, inside]
    found[j[inside], i[inside]] = arteries.labels[z, y, x]
    return found


def _segment(
    number: int, artery: Artery, detection: Detection, by_hand: bool, stamp: Stamp
) -> highdicom.seg.SegmentDescription:
    category, kind, site = artery_codes(artery)
    kinds = highdicom.seg.SegmentAlgorithmTypeValues
    description = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=artery.code,
        segmented_property_category=Code(*category),
        segmented_property_type=Code(*kind),
        algorithm_type=kinds.SEMIAUTOMATIC if by_hand else kinds.AUTOMATIC,
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name=PRODUCT,
            family=codes.DCM.ArtificialIntelligence,
            version=__version__,
            source=MANUFACTURER,
            parameters=algorithm_parameters(detection),
        ),
        tracking_uid=stamp.uid(artery.code),
        tracking_id=artery.code,
        anatomic_regions=[Code(*site.structure)],
        display_color=highdicom.color.CIELabColor.from_rgb(*artery.rgb),
    )
    description.SegmentDescription = artery.name[:64]
    if site.side is not None:
        side = highdicom.sr.CodedConcept.from_code(Code(*site.side))
        description.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = [side]
    return description
