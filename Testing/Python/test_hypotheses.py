"""The variant of the circle is chosen as a whole: who feeds whom, who owns a vessel, and what a correction keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from CoWLandmarksLib.arteries.ends import Ends, Way
from CoWLandmarksLib.arteries.hypotheses import Hypotheses, Paths
from CoWLandmarksLib.arteries.lumen import RAYS, CrossSections, evenly_spaced
from CoWLandmarksLib.arteries.presence import PathEvidence, own_part
from CoWLandmarksLib.arteries.tracer import ArteryTracer
from CoWLandmarksLib.core.artery_map import ArteryState
from CoWLandmarksLib.core.circle_edges import POSTERIOR
from CoWLandmarksLib.core.circle_variant import summary_of
from CoWLandmarksLib.core.detection import LandmarkEstimate
from CoWLandmarksLib.core.volume import Modality
from drawn_arteries import drawn_arteries
from tube_circle import ANATOMY, landmarks, position, tube_scan

CODES = [str(code) for code in POSTERIOR.values()]
FIXED = ("BA", "R-PCA-P2A", "L-PCA-P2A")
SEEN, DOUBTFUL, UNSEEN = 0.8, 0.35, 0.02


def straight(code: str, radius: float = 1.0) -> CrossSections:
    """A straight artery between its landmarks of the tube circle."""
    artery = ANATOMY.artery(code)
    end = position(str(artery.end))
    start = position(artery.start) if artery.start else end - np.array([0.0, 0.0, 20.0])
    points = evenly_spaced(np.stack([start, end]))
    count = len(points)
    flat = np.ones(count)
    tangents, normals = np.tile([1.0, 0.0, 0.0], (count, 1)), np.tile(np.eye(3)[1:], (count, 1, 1))
    return CrossSections(points, tangents, normals, np.full((count, RAYS), radius), flat, 0.0 * flat, flat)


def posterior(
    contrast: Mapping[str, float], radius: Mapping[str, float] | None = None, same: tuple[str, str] | None = None
) -> Hypotheses:
    """Hypotheses where the paths have these contrasts; the second of the arteries `same` first runs in the first."""
    widths = radius or {}
    ends = {a.code: Ends(Way.BETWEEN, a.start, a.end) for a in ANATOMY.arteries}

    def find(code: str, taken: Sequence[CrossSections]) -> CrossSections:
        if same is not None and code == same[1] and len(taken) == len(FIXED):
            return straight(same[0], widths.get(same[0], 1.0))
        return straight(code, widths.get(code, 1.0))

    def evidence(code: str, own: CrossSections, others: Paths) -> PathEvidence:
        part = own_part(own, [other for other in others.values() if other is not own])
        elsewhere = same is not None and code == same[1] and not np.allclose(own.points, straight(same[0]).points)
        level = UNSEEN if elsewhere else contrast.get(code, SEEN)
        return PathEvidence(part, max(float(part.sum()) * 0.4, 3.0), level, level, 0.8, 0.9, 10.0 * level, 1.1)

    fixed = {code: straight(code, widths.get(code, 1.0)) for code in FIXED}
    return Hypotheses(ANATOMY, CODES, ends, fixed, {}, find, evidence)


def test_an_artery_that_nothing_else_could_feed_makes_a_doubtful_feeder_likely() -> None:
    fetal = posterior({"R-PCA-P1": SEEN, "R-PCoA": UNSEEN, "L-PCA-P1": DOUBTFUL, "L-PCoA": SEEN})
    alone = posterior({"R-PCA-P1": SEEN, "R-PCoA": UNSEEN, "L-PCA-P1": DOUBTFUL, "L-PCoA": UNSEEN})
    assert "L-PCA-P1" in alone.best({}).present
    assert alone.best({}).presence["L-PCA-P1"] > fetal.best({}).presence["L-PCA-P1"] + 0.15


def test_a_pcoa_too_thin_for_the_pca_does_not_feed_it_alone() -> None:
    contrast = {"R-PCA-P1": SEEN, "R-PCoA": UNSEEN, "L-PCA-P1": DOUBTFUL, "L-PCoA": SEEN}
    thin = posterior(contrast, {"L-PCoA": 0.45}).best({})
    wide = posterior(contrast, {"L-PCoA": 1.0}).best({})
    assert thin.presence["L-PCA-P1"] > wide.presence["L-PCA-P1"] + 0.1


def test_a_path_much_wider_than_what_it_would_feed_runs_in_another_vessel() -> None:
    contrast = {"R-PCA-P1": SEEN, "R-PCoA": DOUBTFUL, "L-PCA-P1": SEEN, "L-PCoA": SEEN}
    assert "R-PCoA" in posterior(contrast).best({}).present
    assert "R-PCoA" not in posterior(contrast, {"R-PCoA": 2.4}).best({}).present


def test_a_vessel_belongs_to_one_artery_only() -> None:
    contrast = {"R-PCA-P1": SEEN, "R-PCoA": SEEN, "L-PCA-P1": 0.7, "L-PCoA": SEEN}
    chosen = posterior(contrast, same=("R-PCA-P1", "L-PCA-P1")).best({})
    assert "R-PCA-P1" in chosen.present and "L-PCA-P1" in chosen.absent


def test_probabilities_are_those_of_all_hypotheses_and_what_is_settled_stays() -> None:
    hypotheses = posterior({"R-PCA-P1": SEEN, "R-PCoA": DOUBTFUL, "L-PCA-P1": SEEN, "L-PCoA": UNSEEN})
    free, settled = hypotheses.best({}), hypotheses.best({"R-PCA-P1": False, "L-PCoA": True})
    assert "R-PCA-P1" not in settled.present and "L-PCoA" in settled.present
    assert settled.score < free.score and settled.presence == free.presence
    assert settled.probability / free.probability == pytest.approx(np.exp(settled.score - free.score))
    assert 0.0 < free.probability <= min(p if code in free.present else 1.0 - p for code, p in free.presence.items())


def moved(code: str, shift: tuple[float, float, float]) -> list[LandmarkEstimate]:
    r, a, s = np.add(position(code), shift).tolist()
    return [replace(point, position=(r, a, s)) if point.code == code else point for point in landmarks()]


@pytest.mark.slow
def test_a_correction_keeps_the_variant_unless_the_scan_clearly_speaks_against_it() -> None:
    scan = tube_scan(left_out=("R-PCoA",), spacing=(0.8, 0.8, 0.9))
    first = ArteryTracer(scan, Modality.MRA, ANATOMY).trace(landmarks())
    assert first.artery("R-PCoA").state is ArteryState.ABSENT and first.artery("R-PCA-P1").traced
    assert first.probabilities["posterior"] > 0.5 and first.probabilities["anterior"] > 0.5

    changed = moved("L-P1-P2A", (0.4, 0.4, 0.0))
    kept = ArteryTracer(scan, Modality.MRA, ANATOMY, first).trace(changed)
    assert not kept.renewed
    assert kept.artery("R-PCA-P1").confidence == first.artery("R-PCA-P1").confidence

    # An earlier result that takes the right P1 for absent, although it is as clear as the left one.
    gone = replace(first.artery("R-PCA-P1"), state=ArteryState.ABSENT, centerline=np.zeros((0, 3)), radii=np.zeros(0))
    wrong = replace(first, arteries=tuple(gone if t.code == gone.code else t for t in first.arteries))
    renewed = ArteryTracer(scan, Modality.MRA, ANATOMY, wrong).trace(changed)
    afresh = ArteryTracer(scan, Modality.MRA, ANATOMY, replace(first, landmarks=())).trace(changed)
    assert renewed.renewed and renewed.artery("R-PCA-P1").traced
    assert renewed.anchors == first.anchors
    assert [t.state for t in renewed.arteries] == [t.state for t in afresh.arteries]


def test_the_summary_tells_a_doubt() -> None:
    traces = drawn_arteries(tube_scan(spacing=(1.2, 1.2, 1.2)).grid, {"R-PCA-P1": ArteryState.ABSENT}).arteries
    doubtful = [replace(t, confidence=0.82 if t.code in ("R-PCA-P1", "L-PCoA") else 0.97) for t in traces]
    assert "right PCA fetal (P1 absent, 82 %)" in summary_of(doubtful)
    assert "left PCoA present (82 %)" in summary_of(doubtful)
    assert "%" not in summary_of([replace(t, confidence=0.97) for t in traces])
