"""Train the default model on a graphics card that is lent for some minutes at a time: one call a piece.

    python CoWLandmarksTraining/Scripts/gpu_session.py --work work/gpu --out $OUT
    python CoWLandmarksTraining/Scripts/gpu_session.py --work work/gpu --out $OUT --carried work/carried

renders cases, trains (coarse, circle and fine network), and at the end makes and evaluates the model. Exit code 75:
call again, with the same words; on another machine name the files that the last call left with --carried. Exit code
0: `model.cow.pt` and `evaluation.json` are there. At most 8 files, each but the model under 16 MiB, are left in --out.
Needs Python with torch, numpy and scipy alone.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

_SOURCES = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(_SOURCES / folder) for folder in ("CoWLandmarksTraining", "CoWLandmarks")]

DELIVERED, FAILED, CALL_AGAIN = 0, 1, 75


def main(argv: list[str] | None = None) -> int:
    """Run one piece; returns the exit code."""
    from CoWLandmarksLib.detector import choose_device
    from CoWLandmarksLib.errors import CoWLandmarksError
    from CoWLandmarksLib.model import load_model
    from CoWLandmarksTrainingLib.default_presets import PRESETS, continued
    from CoWLandmarksTrainingLib.gpu_session import Piece, run_piece

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="cases and checkpoints, for calls on this machine")
    parser.add_argument("--out", type=Path, required=True, help="what travels")
    parser.add_argument("--carried", type=Path, help="what an earlier call left in --out, on another machine")
    parser.add_argument("--start-from", type=Path, metavar="MODEL", help="train on from a model, all networks at once")
    parser.add_argument("--batch-size", type=int, metavar="N", help="instead of the preset's")
    parser.add_argument("--preset", choices=list(PRESETS), default="gpu")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--minutes", type=float, default=9.0, help="of this call (default: 9)")
    parser.add_argument("--coarse-minutes", type=float, default=5.0, help="training in all calls (default: 5)")
    parser.add_argument("--circle-minutes", type=float, default=8.0, help="training in all calls (default: 8)")
    parser.add_argument("--fine-minutes", type=float, default=10.0, help="training in all calls (default: 10)")
    parser.add_argument("--fewest-cases", type=int, default=200, help="cases to begin with (default: 200)")
    parser.add_argument("--calibrate", type=int, metavar="N", help="scans for the calibration (default: the preset's)")
    parser.add_argument("--evaluate", type=int, default=10, metavar="N", help="scans of each modality (default: 10)")
    arguments = parser.parse_args(argv)
    preset = PRESETS[arguments.preset]
    if arguments.calibrate:
        preset = replace(preset, validation_cases=arguments.calibrate)
    if arguments.batch_size:
        preset = replace(preset, batch_size=arguments.batch_size)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        if arguments.start_from:
            preset = continued(preset, load_model(arguments.start_from))
        piece = Piece(
            preset,
            arguments.work,
            arguments.out,
            choose_device(arguments.device),
            arguments.carried,
            arguments.minutes,
            (arguments.coarse_minutes, arguments.circle_minutes, arguments.fine_minutes),
            arguments.fewest_cases,
            arguments.evaluate,
            arguments.start_from,
        )
        delivered = run_piece(piece, show, stop.is_set)
    except CoWLandmarksError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    print("The model is delivered." if delivered else "Call again to go on.")
    return DELIVERED if delivered else CALL_AGAIN


def show(entry: dict[str, Any]) -> None:
    """Print a line of the log."""
    print(" ".join(f"{key}={value}" for key, value in entry.items() if key != "schema"), flush=True)


if __name__ == "__main__":
    sys.exit(main())
