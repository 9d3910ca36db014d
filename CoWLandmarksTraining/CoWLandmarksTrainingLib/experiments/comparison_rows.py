"""The rows of the comparison: what each one trains on, for how long, and against which discriminator."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from CoWLandmarksLib.core.errors import ConfigurationError

from ..config.presets import PRESETS
from ..config.settings import DiscriminatorView, Objective, PriorModality
from ..config.training_plan import TrainingPlan
from .comparison_scale import ComparisonScale

BASELINE, CONTROL = "baseline", "baseline-longer"


@dataclass(frozen=True)
class ComparisonRow:
    """One row of the table.

    `title` as it stands there. `begins_from`: the row whose trained network it goes on with (""), so that the rows of
    one seed share its phase 1. `sets`: whose landmark sets the discriminator learns from beside those of the scans
    ("none", "other": the other modality's), None without a discriminator. `layouts`: nothing is trained; the peaks are
    chosen by the layouts of these sets ("own", "other", "both"). `labels`: scans without annotation are learnt from
    as well, with the highest "peaks" of the row before as labels, or those that "layouts" choose. `energy`: weight of
    the energy of layouts as a loss on scans without annotation. `judges_unannotated`: the discriminator judges what is
    predicted for scans without annotation, too. `share` of the training scans. `reverse`: also a row
    of the second table. `method`: of the fine stage; `small_steps` of phase 1 below full size,
    where a step takes much longer (0: as all).
    """

    name: str
    title: str
    begins_from: str = ""
    sets: str | None = None
    discriminator: dict[str, Any] = field(default_factory=dict)
    method: str = "heatmaps"
    small_steps: int = 0
    layouts: str = ""
    labels: str = ""
    energy: float = 0.0
    judges_unannotated: bool = False
    share: float = 1.0
    reverse: bool = False
    seeds: int = 3

    def plan(self, scale: ComparisonScale, image_modality: str, seed: int) -> TrainingPlan:
        """All settings of the row at a scale."""
        plan = scale.plan
        fine: dict[str, Any] = {"method": self.method}
        if self.method in PRESETS:  # the methods of others have widths and rates of their own
            own = PRESETS[self.method].fine
            fine |= {name: getattr(own, name) for name in _OF_A_METHOD} | {"steps": self.steps(scale)[0]}
        if self.begins_from and not self.layouts:
            rate = scale.phase_2_rate
            fine |= {"learning_rate": rate, "final_learning_rate": rate}
            if self.sets is None:
                fine["steps"] = plan.fine.steps + scale.phase_2_steps
            else:
                fine["adversarial_steps"] = scale.phase_2_steps
        prior: PriorModality = "none"
        if self.sets == "other":
            prior = "cta" if image_modality == "mra" else "mra"
        return plan.with_values(
            data={"image_modality": image_modality, "prior": prior},
            training={"seed": seed},
            fine=fine,
            discriminator=self.discriminator,
        )

    def steps(self, scale: ComparisonScale) -> tuple[int, int]:
        """Its own steps of phase 1 (0 where it goes on from another row), and of phase 2 or what is as long."""
        if self.layouts:
            return (0, 0)
        if self.begins_from:
            return (0, scale.phase_2_steps)
        steps = scale.plan.fine.steps
        return (min(self.small_steps, steps) if self.small_steps and scale.pooled > 1 else steps, 0)


_PLAIN = {
    "objective": Objective.LOGISTIC,
    "view": DiscriminatorView.PLAIN,
    "r1": 0.0,
    "coordinates": False,
    "distance": False,
}
_PLACES = _PLAIN | {"coordinates": True, "distance": True}

_OF_A_METHOD = (
    "learning_rate",
    "final_learning_rate",
    "warm_up_steps",
    "average_decay",
    "gradient_norm",
    "base_width",
    "levels",
    "fold",
    "learn_absence",
)

ROWS = {
    row.name: row
    for row in (
        ComparisonRow("payer", "Payer et al.", method="payer", small_steps=1500),
        ComparisonRow("noothout", "Noothout et al.", method="noothout"),
        ComparisonRow(BASELINE, "Baseline (generator alone)", reverse=True),
        ComparisonRow(CONTROL, "Baseline, trained as long as the rows below", BASELINE, reverse=True),
        ComparisonRow("d-mra", "D-MRA", BASELINE, "none", _PLAIN),
        ComparisonRow("d-mra-places", "D-MRA, coordinates and distance", BASELINE, "none", _PLACES),
        ComparisonRow("d-mra-cta", "D-MRA-CTA", BASELINE, "other", _PLAIN),
        ComparisonRow(
            "d-mra-cta-places",
            "D-MRA-CTA, coordinates and distance (Tan et al.)",
            BASELINE,
            "other",
            _PLACES,
            reverse=True,
        ),
        ComparisonRow("layouts-mra", "Baseline, peaks chosen by layouts of its own scans", BASELINE, layouts="own"),
        ComparisonRow("layouts-cta", "Baseline, peaks chosen by layouts of the CTA sets", BASELINE, layouts="other"),
        ComparisonRow("layouts", "Baseline, peaks chosen by both", BASELINE, layouts="both", reverse=True),
        ComparisonRow(
            "layouts-longer", "The longer baseline, peaks chosen by both", CONTROL, layouts="both", reverse=True
        ),
        ComparisonRow("labels-peaks", "Scans without annotation, labelled by highest peaks", BASELINE, labels="peaks"),
        ComparisonRow("labels-layouts", "Scans without annotation, labelled by layouts", BASELINE, labels="layouts"),
        ComparisonRow(
            "labels-and-layouts", "Labelled by layouts, and peaks chosen by them", "labels-layouts", layouts="both"
        ),
        ComparisonRow("energy", "Scans without annotation, energy of layouts as loss", BASELINE, energy=1e-5),
        ComparisonRow("energy-and-layouts", "Energy as loss, and peaks chosen by layouts", "energy", layouts="both"),
        ComparisonRow("baseline-75", "Baseline, 75 % of the scans", share=0.75, seeds=1),
        ComparisonRow("tan-75", "Tan et al., 75 % of the scans", "baseline-75", "other", _PLACES, share=0.75, seeds=1),
        ComparisonRow("baseline-50", "Baseline, 50 % of the scans", share=0.5, seeds=1),
        ComparisonRow("tan-50", "Tan et al., 50 % of the scans", "baseline-50", "other", _PLACES, share=0.5, seeds=1),
    )
}
"""All rows, those before that others begin from."""


def chosen_rows(names: list[str] | None) -> tuple[ComparisonRow, ...]:
    """The rows of these names (None: all) with those that they begin from, in the order of the table.

    Raises ConfigurationError.
    """
    wanted = set(ROWS if names is None else names)
    unknown = sorted(wanted - ROWS.keys())
    if unknown:
        raise ConfigurationError(f"There is no row '{unknown[0]}'; use some of {', '.join(ROWS)}.")
    for row in reversed(tuple(ROWS.values())):
        if row.name in wanted and row.begins_from:
            wanted.add(row.begins_from)
    return tuple(row for row in ROWS.values() if row.name in wanted)


_COORDINATES = {
    "objective": Objective.LEAST_SQUARES,
    "view": DiscriminatorView.RENDERED,
    "spectral_norm": True,
    "r1": 0.0,
    "jitter": True,
    "learning_rate": 5e-4,
    "rest_above": 0.85,
}
_LAYOUT = _COORDINATES | {"view": DiscriminatorView.DISPLACEMENTS}


def _cure(name: str, title: str, discriminator: dict[str, Any], *, unannotated: bool = True) -> ComparisonRow:
    return ComparisonRow(name, title, BASELINE, "other", discriminator, judges_unannotated=unannotated)


CURES = (
    ROWS[CONTROL],
    *(
        ComparisonRow(f"energy-{weight:g}", f"energy of layouts as loss, weight {weight:g}", BASELINE, energy=weight)
        for weight in (1e-3, 1e-4, 1e-5)
    ),
    ROWS["d-mra-cta-places"],
    _cure("plain-unannotated", "(a) the paper's form, scans without annotation as well", _PLACES),
    _cure("rendered", "(b) rendered from coordinates, jittered", _COORDINATES, unannotated=False),
    _cure("rendered-unannotated", "(a, b)", _COORDINATES),
    _cure("displacements", "(c) displacements between landmarks", _LAYOUT, unannotated=False),
    _cure("displacements-unannotated", "(a, c)", _LAYOUT),
    _cure("displacements-corrupted", "(a, c, d) and corrupted sets as negatives", _LAYOUT | {"corrupted": True}),
    _cure(
        "displacements-ambiguous",
        "(a, c, d, e) and acting on ambiguous points only",
        _LAYOUT | {"corrupted": True, "ambiguous_only": True},
    ),
    _cure(
        "rendered-ambiguous",
        "(a, b, d, e)",
        _COORDINATES | {"corrupted": True, "ambiguous_only": True},
    ),
    _cure(
        "displacements-stronger",
        "(a, c, d, e) with four times the weight",
        _LAYOUT | {"corrupted": True, "ambiguous_only": True, "gradient_share": 0.2},
    ),
)
"""What is screened on validation scans: the control, and ways to give the discriminator something to teach."""
SCREENING_STEPS = 1000
