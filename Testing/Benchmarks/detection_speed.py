"""Seconds and memory of a detection, stage by stage, and what bf16 changes.

    python Testing/Benchmarks/detection_speed.py                   a 512 x 512 x 160 TOF-MRA and CTA (phantoms)
    python Testing/Benchmarks/detection_speed.py --tall            a 512 x 512 x 800 CTA, from the aortic arch up
    python Testing/Benchmarks/detection_speed.py --precision 8     points in bf16 against fp32, 8 phantoms of each kind
    python Testing/Benchmarks/detection_speed.py --worker          first and second detection of a persistent worker

Reading the file and the arteries are not part of it. Each detection runs in a process of its own; memory is the
highest resident size above that after the scan and the model were loaded (on a GPU also what torch reserved there).
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PATHS = [str(ROOT / folder) for folder in ("CoWLandmarks", "CoWLandmarksTraining", "Testing")]
sys.path[:0] = PATHS
SEED = 7400


def main() -> int:
    """Measure and print a table with the machine's name."""
    from phantom_option import add_phantom_version

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3, help="detections in a process; the median counts")
    parser.add_argument("--tall", action="store_true")
    parser.add_argument("--precision", type=int, default=0, metavar="N")
    parser.add_argument("--worker", action="store_true")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    add_phantom_version(parser)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measured(arguments.one, arguments)))
        return 0
    print(f"{machine()}; {arguments.threads} threads; device {arguments.device}\n")
    if arguments.precision:
        compare_precision(arguments.precision, arguments.device, arguments.phantom_version)
    elif arguments.worker:
        time_worker()
    else:
        time_detections(arguments)
    return 0


def machine() -> str:
    """Processor, cores, Python and torch."""
    import torch

    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), name)
    gpu = f"; {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{name}, {os.cpu_count()} cores; Python {platform.python_version()}, torch {torch.__version__}{gpu}"


def time_detections(arguments: argparse.Namespace) -> None:
    """Table of seconds per stage and of memory."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, scan in scans(arguments.tall, arguments.phantom_version).items():
            path = Path(folder) / f"{name}.npz"
            save(scan, path)
            command = [sys.executable, __file__, "--one", str(path), "--device", arguments.device]
            command += ["--threads", str(arguments.threads), "--repeat", str(arguments.repeat)]
            environment = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads)}
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
            rows.append((name, scan.voxels, json.loads(done.stdout.splitlines()[-1])))
    stages = ["prepare", "localise", "refine", "judge"]
    print("| scan | voxels (i, j, k) | MB | " + " | ".join(stages) + " | whole, s | memory above the scan, MB |")
    print("|" + "---|" * (5 + len(stages)))
    for name, voxels, row in rows:
        shape = " x ".join(str(n) for n in voxels.shape[::-1])
        times = " | ".join(f"{row['stages'].get(stage, 0.0):.2f}" for stage in stages)
        gpu = f" (GPU {row['gpu_mb']:.0f})" if row["gpu_mb"] else ""
        memory = f"{row['memory_mb']:.0f}{gpu}"
        print(f"| {name} | {shape} | {voxels.nbytes / 1e6:.0f} | {times} | {row['whole']:.2f} | {memory} |")


def scans(tall: bool, version: int) -> dict[str, Any]:
    """Phantoms of the sizes to measure."""
    import bodies
    import numpy as np
    from CoWLandmarksLib.core.volume import Volume, apply_affine

    if tall:
        small, _ = bodies.head_and_neck(SEED, (0.9, 0.9, 1.0))
        voxels = np.repeat(np.repeat(np.repeat(small.voxels, 2, 0), 2, 1), 2, 2)[:800, :512, :512]
        matrix = small.ijk_to_ras.copy()
        matrix[:3, 3] = apply_affine(matrix, np.full(3, -0.25))
        matrix[:3, :3] /= 2.0
        return {"head and neck CTA": Volume(np.ascontiguousarray(voxels), matrix, "tall", small.modality)}
    return {name: case.volume for name, case in large_cases(version).items()}


def large_cases(version: int) -> dict[str, Any]:
    """A phantom of each modality with 512 x 512 x 160 voxels."""
    import numpy as np
    from CoWLandmarksLib.core.volume import Modality, apply_affine, axis_aligned_grid
    from CoWLandmarksTrainingLib.phantom.appearance import Family
    from CoWLandmarksTrainingLib.phantom.phantom_cohort import rendered_case
    from CoWLandmarksTrainingLib.phantom.training_cases import sample_scene

    made = {}
    for modality in Modality:
        rng = np.random.Generator(np.random.Philox(key=[SEED, 1]))
        scene = sample_scene(rng, modality, Family.TRAINING, "clinical", version=version)
        centre = np.nanmean(apply_affine(scene.pose, scene.phantom.landmarks), axis=0)
        grid = axis_aligned_grid(centre, np.array([0.43, 0.43, 0.6]), (160, 512, 512))
        made[modality.value] = rendered_case(scene, grid, modality.value, {}, 400.0)
    return made


def save(scan: Any, path: Path) -> None:
    """Keep a scan for another process."""
    import numpy as np

    np.savez(path, voxels=scan.voxels, ijk_to_ras=scan.ijk_to_ras, modality=np.array(scan.modality.value))


def measured(path: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Stage times (median over repeats) and memory of detections in this process."""
    import numpy as np
    import torch
    from CoWLandmarksLib.core.volume import Modality, Volume
    from CoWLandmarksLib.detect.detector import Detector
    from CoWLandmarksLib.detect.model import DEFAULT_MODEL_FILE, load_model

    torch.set_num_threads(arguments.threads)
    with np.load(path) as content:
        scan = Volume(content["voxels"], content["ijk_to_ras"], "scan", Modality(str(content["modality"])))
    detector = Detector(load_model(DEFAULT_MODEL_FILE), arguments.device)
    before = resident_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the high-water mark starts anew
    runs: list[dict[str, float]] = []
    for _ in range(arguments.repeat):
        marks: list[tuple[str, float]] = []
        detector.detect(scan, progress=lambda stage, *_, marks=marks: marks.append((stage, time.perf_counter())))
        run: dict[str, float] = {}
        for (stage, at), (_, until) in itertools.pairwise(marks):
            run[stage] = run.get(stage, 0.0) + until - at
        runs.append(run)
    stages = {stage: float(np.median([run[stage] for run in runs])) for stage in runs[0]}
    return {
        "stages": stages,
        "whole": sum(stages.values()),
        "memory_mb": resident_mb("VmHWM") - before,
        "gpu_mb": torch.cuda.max_memory_reserved() / 1e6 if arguments.device == "cuda" else 0.0,
    }


def resident_mb(kind: str) -> float:
    """Resident memory of this process (VmRSS) or its highest value (VmHWM), from Linux."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith(kind))


def compare_precision(count: int, device: str, version: int) -> None:
    """How far points move between bf16 and fp32 arithmetic, and how far both are from the truth."""
    import numpy as np
    from CoWLandmarksLib.core.volume import Modality
    from CoWLandmarksLib.detect.detector import Detector
    from CoWLandmarksLib.detect.model import DEFAULT_MODEL_FILE, load_model
    from CoWLandmarksLib.networks import generator
    from CoWLandmarksTrainingLib.phantom.phantom_cohort import make_case

    detector = Detector(load_model(DEFAULT_MODEL_FILE), device)
    pays = generator.bf16_pays
    moved, errors = [], {True: [], False: []}
    for index in range(count):
        for modality in Modality:
            case = make_case(SEED, index, modality, version=version)
            truth = np.array([e.position if e.position else (np.nan,) * 3 for e in case.truth], float)
            found = {}
            for bf16 in (True, False):
                generator.bf16_pays = lambda device, bf16=bf16: bf16
                found[bf16] = detector.measure(case.volume).positions("subvoxel")
                errors[bf16].append(np.linalg.norm(found[bf16] - truth, axis=1))
            moved.append(np.linalg.norm(found[True] - found[False], axis=1))
    generator.bf16_pays = pays
    apart = np.concatenate(moved)
    print(f"bf16 is used on this device: {pays(detector.device)}")
    median, most = np.median(apart), apart.max()
    print(f"moved by bf16 (mm): median {median:.3f}, 95 % {np.quantile(apart, 0.95):.3f}, most {most:.3f}")
    for bf16, name in ((True, "bf16"), (False, "fp32")):
        error = np.concatenate(errors[bf16])
        print(f"{name}: MRE {np.nanmean(error):.3f} mm, median {np.nanmedian(error):.3f} mm")


def time_worker() -> None:
    """Seconds of the first and the second detection of the sample in one worker."""
    from CoWLandmarksLib.jobs.child_process import Worker

    options = ["--no-scene", "--no-pictures", "--no-arteries"]
    with tempfile.TemporaryDirectory() as folder, Worker() as worker:
        for name in ("first (starts Python, torch and the model)", "second", "third"):
            started = time.perf_counter()
            worker.wait(worker.submit(["detect", "--sample", "--out", str(Path(folder) / name[:5]), *options]))
            print(f"{name}: {time.perf_counter() - started:.2f} s")


if __name__ == "__main__":
    sys.exit(main())
