"""Opens a case of a cohort in the scene."""

from __future__ import annotations

import slicer
from CoWLandmarksLib.core.errors import AnnotationError
from CoWLandmarksLib.scene.display import look_at_circle
from CoWLandmarksTrainingLib.records.checked_cohort import CheckedCase
from slicer.i18n import tr as _

CASE_ATTRIBUTE = "CoWLandmarksTraining.Case"


def openCase(case: CheckedCase) -> None:
    """Load scan and landmarks and show them, or show them again; a scene file is added to the scene.

    Raises AnnotationError.
    """
    try:
        if case.scene is not None:
            slicer.util.loadScene(str(case.scene))
            return
        volume = None if case.volume is None else _loaded(str(case.volume), case.name, slicer.util.loadVolume)
        markups = None if case.annotation is None else _loaded(str(case.annotation), case.name, slicer.util.loadMarkups)
    except RuntimeError as error:
        raise AnnotationError(
            _("The case '{name}' cannot be opened; look at its files.").format(name=case.name)
        ) from error
    if volume is None and markups is None:
        raise AnnotationError(_("The case '{name}' has no file that can be opened.").format(name=case.name))
    if volume is not None:
        slicer.util.setSliceViewerLayers(background=volume, fit=True)
        if markups is not None:
            look_at_circle(slicer.mrmlScene, volume, markups)


def _loaded(path, name, load):
    """The node of a file, loaded now or before."""
    for className in ("vtkMRMLScalarVolumeNode", "vtkMRMLMarkupsFiducialNode"):
        for node in slicer.util.getNodesByClass(className):
            if node.GetAttribute(CASE_ATTRIBUTE) == path:
                return node
    node = load(path)
    node.SetName(name)
    node.SetAttribute(CASE_ATTRIBUTE, path)
    return node
