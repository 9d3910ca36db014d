"""Detections started from a script (Slicer's Python console, `--python-script`, notebooks)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from CoWLandmarksLib.core.errors import ConfigurationError, CoWLandmarksError
from CoWLandmarksLib.jobs.job_queue import DECODINGS, DEVICES, MODALITIES, DetectOptions
from slicer.i18n import tr as _

from .detection_runs import DetectionRuns, Run
from .machine_settings import MachineSettings
from .pytorch_setup import torchInstalled


def detectFromScript(
    runs: DetectionRuns,
    settings: MachineSettings,
    volumeNode: Any,
    *,
    modality: str,
    hint: dict[str, tuple[float, float, float]] | None,
    arteries: bool,
    device: str | None,
    modelFile: str | Path | None,
    decoding: str,
    heatmaps: bool,
    waitForCompletion: bool,
    onProgress: Callable[[Run], None] | None,
    onEnd: Callable[[Run], None] | None,
) -> Run:
    """What `CoWLandmarksLogic.detect` describes."""
    device = settings.device if device is None else device
    for name, value, known in (
        ("modality", modality, MODALITIES),
        ("device", device, DEVICES),
        ("decoding", decoding, DECODINGS),
    ):
        if value not in known:
            raise ConfigurationError(f"'{value}' is no {name}; use one of {', '.join(known)}.")
    if volumeNode is None or volumeNode.GetScene() is None:
        raise ConfigurationError(_("There is no volume in the scene to look at; load a scan first."))
    if not torchInstalled():
        raise ConfigurationError(
            _("PyTorch is not installed yet; open the module CoW Landmarks once and press 'Detect landmarks'.")
        )
    model = settings.modelFile if modelFile is None else Path(modelFile)
    options = DetectOptions(modality, device, decoding, model, arteries, heatmaps)
    more = {name: callback for name, callback in (("onProgress", onProgress), ("onEnd", onEnd)) if callback is not None}
    run = runs.detect(volumeNode, options, hint, **more)
    if waitForCompletion:
        runs.wait(run)
        if run.error is not None:
            raise CoWLandmarksError(run.error)
        if run.cancelled:
            raise CoWLandmarksError(_("The detection was cancelled, or its volume left the scene."))
    return run
