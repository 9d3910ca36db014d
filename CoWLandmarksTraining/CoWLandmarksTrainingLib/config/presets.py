"""The presets: plans of a training under a name."""

from __future__ import annotations

from dataclasses import replace

from .settings import (
    ONLY_TRANSLATIONS,
    CircleSettings,
    CoarseSettings,
    DataSettings,
    DiscriminatorSettings,
    DiscriminatorView,
    FineSettings,
    Objective,
    TrainingSettings,
)
from .training_plan import TrainingPlan

_CPU = TrainingPlan()
_GPU = TrainingPlan(
    name="gpu",
    data=DataSettings(phantom_cases=12000),
    training=TrainingSettings(workers=12, validate_every=1000, calibration_scans=128),
    coarse=CoarseSettings(steps=12000, batch_size=16),
    circle=CircleSettings(steps=40000, batch_size=8),
    fine=FineSettings(steps=40000, batch_size=16),
)
_PAPER = TrainingPlan(
    name="paper",
    training=TrainingSettings(
        stages=("coarse", "fine"), continued_rate=1.0, mixed_precision=False, workers=8, validate_every=500
    ),
    coarse=CoarseSettings(steps=12000, batch_size=8),
    fine=FineSettings(
        steps=20000,
        adversarial_steps=10000,
        learning_rate=1e-4,
        final_learning_rate=1e-4,
        warm_up_steps=0,
        final_alpha=0.0,
        average_decay=0.0,
        gradient_norm=0.0,
        base_width=16,
        levels=5,
        max_width=192,
        fold=1,
        window=(0, 0, 0),
        priors=False,
        decode_with_prior=False,
        subvoxel_targets=False,
    ),
    discriminator=DiscriminatorSettings(objective=Objective.LOGISTIC, view=DiscriminatorView.PLAIN, r1=0.0),
    augmentation=ONLY_TRANSLATIONS,
)
_PAYER = replace(
    _PAPER,
    name="payer",
    fine=replace(_PAPER.fine, method="payer", steps=40000, adversarial_steps=0, batch_size=1, base_width=64, levels=4),
)
_NOOTHOUT = replace(
    _PAPER,
    name="noothout",
    fine=replace(
        _PAPER.fine,
        method="noothout",
        steps=300000,
        adversarial_steps=0,
        batch_size=4,
        learning_rate=1e-3,
        final_learning_rate=1e-3,
        base_width=16,
        levels=4,
        learn_absence=False,
    ),
)
_SMALL = TrainingPlan(
    name="small",
    data=DataSettings(phantom_cases=4),
    training=TrainingSettings(workers=0, validate_every=0, log_seconds=0.0, calibration_scans=2),
    coarse=CoarseSettings(steps=4, batch_size=1, base_width=8, levels=2),
    circle=CircleSettings(steps=4, batch_size=1, base_width=8, levels=2),
    fine=FineSettings(steps=4, batch_size=1, base_width=8, levels=2),
)
PRESETS = {plan.name: plan for plan in (_CPU, _GPU, _PAPER, _PAYER, _NOOTHOUT, _SMALL)}
"""cpu: about an hour and a quarter on two cores, from the model that ships or from nothing. gpu: the same networks and
batches for a graphics card. paper: the paper where it is explicit (whole crop as the only input after registration to a
template, Eqs. 2 to 4, alpha, Adam 1e-4, coordinate and distance channels, tiny translations), after a coarse network.
payer, noothout: the same whole crops, read by the methods of Payer et al. 2019 and of Noothout et al. 2020, with their
steps, batches and rates (Adam at 1e-4 instead of gradient descent for the former); to compare the paper's with.
small: a few steps, to try the commands."""
DEFAULT_PRESET = "cpu"
OWN_PLAN = "own"
"""Name of a plan of which a configuration file sets everything."""
