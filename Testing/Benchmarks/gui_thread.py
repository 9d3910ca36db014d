"""How long the GUI thread is kept busy by a detection: the panel driven through the stand-in for Slicer.

    python Testing/Benchmarks/gui_thread.py [--size I J K] [--cpu] [--json]

A scan of 512 x 512 x 160 voxels (the sample MRA on a finer grid) is detected with one click, landmarks are accepted,
then one is moved and the arteries follow; a second detection is cancelled, the scene is saved and loaded again, and the
training panel looks at a long log. Slicer's displayable managers of three slice views and a 3-D view follow the scene.
Shown are the longest turns of the event loop while a job ran (limit: 100 ms), the turn in which the result entered the
scene, and whether torch, SimpleITK or scipy were loaded into this process. Frames of the views, which are drawn between
the turns, and the reading of the saved scene are printed beside, without a limit: they are OpenGL's and Slicer's own.
Ends with 1 where a limit is broken. `--cpu` measures the processor time of the GUI thread instead of
wall-clock time, so that other programs on the machine do not count.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "CoWLandmarks"), str(ROOT / "CoWLandmarksTraining"), str(ROOT / "Testing")]
LIMIT_SECONDS = 0.1
CANCELLED_AFTER_SECONDS = 1.0
REVIEW_STEPS = 6
FORBIDDEN = ("torch", "SimpleITK", "scipy")

MAKE_SCAN = """
import sys, numpy as np
from scipy import ndimage
from CoWLandmarksLib.cli.detect_command import SAMPLE_FILE
from CoWLandmarksLib.io.volume_io import read_volume
path, shape = sys.argv[1], tuple(int(size) for size in sys.argv[2:])
scan = read_volume(SAMPLE_FILE)
factors = np.array(shape) / scan.voxels.shape
matrix = scan.ijk_to_ras.copy()
matrix[:3, :3] /= factors[::-1]
np.savez(path, voxels=ndimage.zoom(scan.voxels, factors, order=1), matrix=matrix)
"""


clock: Callable[[], float] = time.perf_counter


def make_scan(path: Path, size: tuple[int, int, int]) -> None:
    """Write the scan in another process: what is needed for that must not be loaded here."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "CoWLandmarks")}
    shape = [str(n) for n in reversed(size)]
    subprocess.run([sys.executable, "-c", MAKE_SCAN, str(path), *shape], check=True, env=environment)


class Turns:
    """Turns of the event loop, with their lengths in seconds."""

    def __init__(self, process_events: Callable[[], None]) -> None:
        self._process_events = process_events
        self.seconds: list[float] = []

    def until(self, done: Callable[[], bool], limit: float = 600.0) -> list[float]:
        """Run the loop until `done`; returns the lengths of the turns, the last one being that which ended it."""
        turns: list[float] = []
        end = time.monotonic() + limit
        while not done():
            if time.monotonic() > end:
                raise SystemExit("The job did not end in time.")
            turns.append(timed(self._process_events))
            time.sleep(0.002)
        return turns


class Views:
    """Three slice views and a 3-D view, as Slicer draws them, of the stand-in's scene."""

    def __init__(self, scene: Any) -> None:
        import slicer
        from scene_view import SIZE, View

        scene.kept_alive[0].SetModuleLogic("Markups", slicer.modules.markups.logic())
        flat = ("Model", "Segmentations", "Markups")
        names = {
            "Model": "vtkMRMLModelSliceDisplayableManager",
            "Segmentations": "vtkMRMLSegmentationsDisplayableManager2D",
            "Markups": "vtkMRMLMarkupsDisplayableManager",
        }
        count = scene.GetNumberOfNodesByClass("vtkMRMLSliceNode")
        nodes = [scene.GetNthNodeByClass(index, "vtkMRMLSliceNode") for index in range(count)]
        for node in nodes:
            node.SetDimensions(SIZE, SIZE, 1)
        self.views = [View(scene, node, tuple(names[name] for name in flat)) for node in nodes]
        node = slicer.vtkMRMLViewNode()
        node.SetName("View1")
        node.SetLayoutName("1")
        node.SetSingletonTag("1")
        node = scene.AddNode(node)  # the one that the layout has made already, if it has
        managers = (
            "vtkMRMLCameraDisplayableManager",
            "vtkMRMLModelDisplayableManager",
            "vtkMRMLSegmentationsDisplayableManager3D",
            "vtkMRMLVolumeRenderingDisplayableManager",
            "vtkMRMLMarkupsDisplayableManager",
        )
        self.views.append(View(scene, node, managers))
        slicer.app.layoutManager()._windows = [self.views[-1].window]
        self.frame()

    def frame(self) -> float:
        """Seconds to draw all views once."""
        return timed(lambda: [view.window.Render() for view in self.views])


def timed(action: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    started = clock()
    action()
    return clock() - started


def look_at_a_training(application: Any, folder: Path) -> float:
    """Seconds of the longest reading of a log of 6000 entries by the training panel, which takes it in chunks."""
    from CoWLandmarksTrainingLib.jobs.job_files import TrainingJob, TrainingJobState, beat, write_job
    from long_log import write_long_log

    folder.mkdir()
    write_job(
        folder,
        TrainingJob("token", ("train", "aligned", "--out", str(folder)), time.time(), TrainingJobState.RUNNING, pid=1),
    )
    beat(folder, "token")
    write_long_log(folder)
    widget = application.load_module("CoWLandmarksTraining")

    def choose_folder() -> None:
        widget.ui.outputFolderEdit.currentPath = str(folder)

    actions = (choose_folder, widget.ui.lossButton.click, *[widget.panel.training.advance] * 12)
    return max(timed(action) for action in actions)


def measure(scan: Path, application: Any, folder: Path) -> dict[str, object]:
    """Detect, move a point, cancel a second detection, look at a training; measure."""
    import slicer
    from CoWLandmarksLib.core.volume import Volume
    from CoWLandmarksLib.scene.nodes import add_volume
    from CoWLandmarksLib.scene.scene_files import save_scene

    stored = np.load(scan)
    add_volume(slicer.mrmlScene, Volume(stored["voxels"], stored["matrix"], "scan"))
    views = Views(slicer.mrmlScene)
    widget = application.load_module("CoWLandmarks")
    application.process_events()
    turns = Turns(application.process_events)
    started = time.monotonic()
    click = timed(widget.ui.detectButton.click)
    detecting = turns.until(lambda: not widget.panel.detecting)
    whole = time.monotonic() - started
    begun = time.monotonic()
    drawing = turns.until(lambda: time.monotonic() - begun > 1.0)
    points = widget.panel.detection
    if points is None:
        raise SystemExit(widget.ui.messageLabel.text)
    frames = {"first frame with the result": views.frame(), "frame": views.frame()}
    review = widget.panel.review
    steps, following, first = [], [], review.selectedCode
    for _step in range(REVIEW_STEPS):
        steps.append(timed(review.ui.acceptButton.click))
        steps.append(timed(application.process_events))
        following.append(views.frame())
    frames["frame after a review step"] = statistics.median(following)
    review.select(first)
    undone = timed(review.ui.undoButton.click)
    place = np.zeros(3)
    points.GetNthControlPointPositionWorld(4, place)
    moved = timed(lambda: points.SetNthControlPointPositionWorld(4, place[0] + 2.0, place[1], place[2]))
    started = time.monotonic()
    moved += timed(lambda: widget.panel.onLandmarksChanged(points, (points.GetNthControlPointLabel(4),)))
    updating = turns.until(lambda: not widget.logic.runs.busy)
    update = time.monotonic() - started
    frames["frame with the new arteries"] = views.frame()
    widget.ui.detectButton.click()
    begun = time.monotonic()
    turns.until(lambda: time.monotonic() - begun > CANCELLED_AFTER_SECONDS)
    if not widget.panel.detecting:
        raise SystemExit("The second detection was over before it could be cancelled.")
    cancelled = timed(widget.ui.detectButton.click)
    cancelling = turns.until(lambda: not widget.panel.detecting)
    saved = folder.with_name("saved.mrb")
    save_scene(slicer.mrmlScene, saved)
    reading = timed(lambda: slicer.util.loadScene(str(saved)))
    begun = time.monotonic()
    loading = turns.until(lambda: time.monotonic() - begun > 1.0)
    loaded = [name for name in FORBIDDEN if name in sys.modules]
    milliseconds = {
        "click": click,
        "longest turn while detecting": max(detecting[:-1], default=0.0),
        "turn in which the result appears": detecting[-1],
        "longest turn after that (drawing)": max(drawing),
        "review step (accept; go on to the next)": max(steps),
        "review step (undo)": undone,
        "moving a point": moved,
        "longest turn while arteries follow": max(updating[:-1], default=0.0),
        "turn in which the new arteries appear": updating[-1],
        "cancel": cancelled,
        "longest turn while cancelling": max(cancelling, default=0.0),
        "longest turn after a scene was loaded": max(loading),
        "longest look at a long training": look_at_a_training(application, folder),
    }
    return {
        "voxels": list(stored["voxels"].shape[::-1]),
        "detection_s": round(whole, 1),
        "arteries_s": round(update, 1),
        "ms": {name: round(1000.0 * value, 1) for name, value in milliseconds.items()},
        "loaded": loaded,
        "beside_ms": {name: round(1000.0 * value, 1) for name, value in {**frames, "loading a scene": reading}.items()},
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, default=(512, 512, 160), metavar=("I", "J", "K"))
    parser.add_argument("--cpu", action="store_true", help="processor time of the GUI thread, not wall-clock time")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    arguments = parser.parse_args()
    if arguments.cpu:
        global clock
        clock = time.thread_time
    with tempfile.TemporaryDirectory() as folder:
        scan = Path(folder) / "scan.npz"
        make_scan(scan, tuple(arguments.size))
        from SlicerStandIn import Application

        application = Application(Path(folder) / "application")
        result = measure(scan, application, Path(folder) / "training")
        application.close()
    if arguments.json:
        print(json.dumps(result))
    else:
        print(f"scan {result['voxels']}, detection {result['detection_s']} s, arteries {result['arteries_s']} s")
        for name, value in result["ms"].items():  # type: ignore[attr-defined]
            print(f"{value:8.1f} ms  {name}")
        for name, value in result["beside_ms"].items():  # type: ignore[attr-defined]
            print(f"{value:8.1f} ms  {name} (no limit)")
        print(f"loaded here: {', '.join(result['loaded']) or 'neither torch nor SimpleITK nor scipy'}")  # type: ignore[call-overload]
    slow = max(result["ms"].values()) > 1000.0 * LIMIT_SECONDS  # type: ignore[attr-defined]
    return 1 if slow or result["loaded"] else 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # Qt and VTK do not agree on the order of their ends
