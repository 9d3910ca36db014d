"""What the program understands of a scan or a model file, without patient data: as text, and for programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..core.intensity import recognise_modality
from ..core.volume import Volume
from ..detect.modality_trial import other_modality
from ..detect.model import Model
from ..detect.orientation import orientation_code, tilt_degrees


def describe_scan(volume: Volume) -> str:
    """Size, spacing, extent, orientation, intensities, modality and warnings of a scan."""
    size, spacing = volume.grid.size, volume.grid.spacing
    tilt = tilt_degrees(volume.ijk_to_ras)
    oblique = f" (oblique, {tilt:.1f} degrees)" if tilt > 0.1 else ""
    lines = [
        f"kind         scan '{volume.name}'",
        f"modality     {_modality(volume)}",
        f"size         {_times(size, 'd')} voxels (i, j, k)",
        f"spacing      {_times(spacing, '.3f')} mm",
        f"extent       {_times(size * spacing, '.1f')} mm",
        f"orientation  {orientation_code(volume.ijk_to_ras)}{oblique}",
        f"intensities  {float(volume.voxels.min()):g} to {float(volume.voxels.max()):g} ({volume.voxels.dtype})",
    ]
    lines.extend(f"warning      {warning}" for warning in volume.warnings)
    return "\n".join(lines)


def scan_facts(volume: Volume, sha256: str) -> dict[str, Any]:
    """What `describe_scan` says as values: size (i, j, k), spacing and extent in mm, intensities, modality."""
    modality, certain = (volume.modality, True) if volume.modality is not None else recognise_modality(volume.voxels)
    return {
        "kind": "scan",
        "name": volume.name,
        "sha256": sha256,
        "modality": modality.value,
        "modality_certain": bool(certain),
        "size": volume.grid.size,
        "spacing_mm": volume.grid.spacing,
        "extent_mm": volume.grid.size * volume.grid.spacing,
        "orientation": orientation_code(volume.ijk_to_ras),
        "tilt_degrees": tilt_degrees(volume.ijk_to_ras),
        "ijk_to_ras": volume.ijk_to_ras,
        "intensities": [volume.voxels.min(), volume.voxels.max()],
        "voxel_type": str(volume.voxels.dtype),
        "sides": volume.sides.value,
        "warnings": volume.warnings,
    }


def model_facts(model: Model, file_bytes: int, sha256: str) -> dict[str, Any]:
    """What `describe_model` says as values, with the codes of the landmarks and the provenance as it was recorded."""
    return {
        "kind": "model",
        "name": model.name,
        "sha256": sha256,
        "format_version": model.format_version,
        "file_bytes": file_bytes,
        "anatomy": {"name": model.anatomy.name, "version": model.anatomy.version, "landmarks": model.anatomy.codes},
        "networks": [name for name, _ in model.stages],
        "provenance": model.provenance,
        "licence": model.licence,
        "description": model.description.strip(),
    }


def describe_model(model: Model, file_bytes: int) -> str:
    """What is in a model file of `file_bytes`, where it comes from, its licence and its description."""
    origin = model.provenance
    steps = [f"{name} {_of(_of(origin, name), 'steps')}" for name, _ in model.stages]
    cases = _of(origin, "cases" if "cases" in origin else "scans")
    return "\n".join(
        [
            f"kind         model '{model.name}', format version {model.format_version}",
            f"landmarks    {len(model.anatomy)} ({model.anatomy.name}, version {model.anatomy.version})",
            f"file         {file_bytes / 1e6:.1f} MB",
            f"trained on   {_of(origin, 'training_data')} (cases: {cases})",
            f"preset       {_of(origin, 'preset')}",
            f"steps        {', '.join(steps)}",
            f"calibration  {_of(_of(origin, 'calibration'), 'scans')} scans",
            f"licence      {model.licence}",
            "",
            model.description.strip(),
        ]
    )


def _of(entries: Any, key: str) -> Any:
    """An entry of a model's provenance, which is what whoever trained it recorded."""
    return entries.get(key, "not recorded") if isinstance(entries, Mapping) else "not recorded"


def _modality(volume: Volume) -> str:
    if volume.modality is not None:
        return volume.modality.value.upper()
    modality, certain = recognise_modality(volume.voxels)
    if certain:
        return f"{modality.value.upper()} (recognised by its values)"
    either = f"{modality.value.upper()} or {other_modality(modality).value.upper()}"
    return f"{either}: its values do not settle it; a detection reads it as both, unless --modality says which"


def _times(values: np.ndarray, form: str) -> str:
    return " x ".join(format(value.item(), form) for value in values)
