"""`cowlandmarks export`: the reviewed annotation of a Slicer scene as a case of a training cohort."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.anatomy import default_anatomy
from ..core.consent import CONSENT_LINE
from ..core.errors import AnnotationError, ConfigurationError, ExitCode
from ..jobs.progress import Event, EventKind, EventSink
from .command_line import add_debug, add_json_progress, path_argument

if TYPE_CHECKING:
    from ..core.anatomy import Anatomy
    from ..jobs.interruption import Interruption


def add_export(commands: Any) -> argparse.ArgumentParser:
    """Add the command to the parsers of `cowlandmarks`; returns its parser."""
    export: argparse.ArgumentParser = commands.add_parser(
        "export",
        help="reviewed annotation of a scene -> case of a training cohort",
        description="Add the annotation of a Slicer scene to a training cohort, as COHORT/<case>/. " + CONSENT_LINE,
    )
    export.add_argument("scene", metavar="SCENE.mrb", type=path_argument, help="scene (.mrb or .mrml) with a detection")
    export.add_argument(
        "--to", metavar="COHORT", type=path_argument, required=True, help="folder of the cohort; made if needed"
    )
    export.add_argument("--case", metavar="NAME", help="pseudonym of the case (default: the next of case-001, ...)")
    export.add_argument("--patient", metavar="NAME", help="pseudonym of the patient (default: that of the case)")
    export.add_argument("--annotator", metavar="INITIALS", default="", help="used where the review names none")
    export.add_argument("--landmarks", metavar="NODE", help="name of the point list, where the scene holds several")
    add_json_progress(export)
    add_debug(export)
    export.set_defaults(run=run_export)
    return export


def run_export(
    arguments: argparse.Namespace, events: EventSink, _: object, interruption: Interruption, *_unused: object
) -> int:
    """Write the case; tells what it wrote, and warns where nobody has reviewed all landmarks."""
    from ..files.case_folder import free_pseudonym  # start-up time
    from ..pipeline.delivery import scene_support_missing  # start-up time

    if scene_support_missing():
        raise ConfigurationError("Reading a scene needs the package 'slicer-core'; run 'pip install slicer-core'.")
    from ..scene.annotation_export import adding_to_cohort, annotation_of  # optional
    from ..scene.scene_files import load_scene  # optional

    anatomy = default_anatomy()
    events = interruption.watching(events)
    name = arguments.scene.name
    events(Event(EventKind.STAGE, "reading the scene", "read", 0.0, scan=name))
    scene = load_scene(arguments.scene)
    markups = _chosen(scene, arguments.scene, arguments.landmarks, anatomy)
    case = arguments.case or free_pseudonym(arguments.to)
    landmarks = annotation_of(markups, anatomy).detection.landmarks
    steps = adding_to_cohort(markups, anatomy, arguments.to, case, arguments.patient or "", arguments.annotator)
    for done in steps:
        events(Event(EventKind.PROGRESS, f"writing {case}", "write", 0.2 + 0.8 * done, scan=name))
    reviewed = sum(estimate.reviewed for estimate in landmarks)
    if reviewed < len(landmarks):
        warning = f"Only {reviewed} of {len(landmarks)} landmarks are reviewed by a person; case.json says so."
        events(Event(EventKind.WARNING, warning, scan=case))
    message = f"{case}: {reviewed} of {len(landmarks)} landmarks reviewed"
    events(Event(EventKind.RESULT, message, fraction=1.0, path=arguments.to / case))
    return ExitCode.DELIVERED


def _chosen(scene: Any, path: Path, name: str | None, anatomy: Anatomy) -> Any:
    """The detection to export: the named one, else the only one, else the only one that is reviewed at all."""
    from ..scene.nodes import detection_nodes  # optional
    from ..scene.review import Review  # optional

    nodes = detection_nodes(scene)
    if name is not None:
        nodes = [node for node in nodes if node.GetName() == name]
    if not nodes:
        what = "no detection" if name is None else f"no detection called '{name}'"
        raise AnnotationError(
            f"The scene '{path}' holds {what}; load the point list for review in the module CoW Landmarks first."
        )
    if len(nodes) > 1:
        reviewed = [node for node in nodes if Review(node, anatomy).progress()[0]]
        if len(reviewed) != 1:
            names = ", ".join(f"'{node.GetName()}'" for node in nodes)
            raise AnnotationError(f"The scene '{path}' holds several detections ({names}); choose with --landmarks.")
        nodes = reviewed
    return nodes[0]
