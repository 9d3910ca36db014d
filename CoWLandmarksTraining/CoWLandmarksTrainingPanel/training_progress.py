"""What is shown of a training: a row for each of its parts, what it will take, and what it is at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from CoWLandmarksTrainingLib.panel.log_following import Part, current_part
from CoWLandmarksTrainingLib.panel.training_effort import GPU, PROCESSOR, effort, first_step_seconds, seconds_left
from slicer.i18n import tr as _

_ROWS = {
    ("coarse", 1): "coarse",
    ("circle", 1): "circle",
    ("circle", 2): "circleAdversarial",
    ("fine", 1): "fine",
    ("fine", 2): "fineAdversarial",
}
"""(stage, phase) -> what the names of its widgets begin with."""
_WIDGETS = ("PhaseLabel", "ProgressBar", "FiguresLabel")


class PartRows:
    """Bars and figures of the networks, and of their adversarial phases, that a recipe has."""

    def __init__(self, ui: Any) -> None:
        self._ui = ui

    def show(self, parts: Sequence[Part], active: bool, finished: bool) -> None:
        """Show these parts and no others; `active`: figures may still come; `finished`: all steps are made."""
        self._ui.phasesFrame.visible = bool(parts)
        awaited = current_part(parts) if active else None
        shown = {(part.stage, part.phase): part for part in parts}
        for key, name in _ROWS.items():
            label, bar, figures = (getattr(self._ui, f"{name}{what}") for what in _WIDGETS)
            part = shown.get(key)
            label.visible = figures.visible = part is not None
            bar.visible = part is not None and part.steps > 0
            if part is not None:
                step = part.steps if finished else part.step
                bar.value = round(100 * step / max(1, part.steps))
                figures.text = _figures(part, step, part is awaited)


def expectedSentence(plan: Mapping[str, Any], device: str) -> str:
    """Time and disk space of a training with these settings; `device` is "auto", "cpu" or "cuda"."""
    wanted = effort(plan)
    core = _("{time} on {core}").format(time=_duration(wanted.processor_seconds), core=PROCESSOR.name)
    gpu = _("{time} on a graphics card ({gpu})").format(time=_duration(wanted.gpu_seconds), gpu=GPU.name)
    either = _("{core}, or {gpu}").format(core=core, gpu=gpu)
    return _("Expected, roughly: {time}; {disk:.1f} GB of disk space.").format(
        time={"cpu": core, "cuda": gpu}.get(device, either), disk=wanted.disk_mb / 1000
    )


def waitingSentence(plan: Mapping[str, Any] | None, parts: Sequence[Part] | None) -> str:
    """What a running training is at while no figures tell it, and how long it takes still."""
    if plan is None or parts is None:
        return _("The aligned cases are read.")
    current = current_part(parts)
    if current is None:
        if not plan["training"].get("start_from"):
            return _("All steps are made: the model is calibrated on validation cases and written.")
        return _(
            "All steps are made: the model is calibrated on validation cases, compared with the one it began from, "
            "and written."
        )
    texts, left = [], seconds_left(plan, parts)
    if not current.step:
        first = _duration(first_step_seconds(plan, parts))
        texts.append(_("The first step of this part is made after about {time}.").format(time=first))
    if left is not None:
        texts.append(_("About {time} left in all.").format(time=_duration(left)))
    return " ".join(texts)


def _figures(part: Part, step: int, awaited: bool) -> str:
    if not part.steps:
        return _("stays as in the model it begins from")
    if not step:
        return (_("{steps} steps, no figures yet") if awaited else _("{steps} steps")).format(steps=part.steps)
    texts = [_("{step} of {steps}").format(step=step, steps=part.steps)]
    if "loss" in part.figures:
        texts.append(_("loss {loss:.2g}").format(loss=part.figures["loss"]))
    if "mre_mm" in part.figures:
        texts.append(_("{error:.1f} mm").format(error=part.figures["mre_mm"]))
    if part.seconds_per_step:
        texts.append(_("{seconds:.2g} s a step").format(seconds=part.seconds_per_step))
        left = part.seconds_left(part.seconds_per_step)
        if step < part.steps and left >= 1:
            texts.append(_("{time} left").format(time=_duration(left)))
    return ", ".join(texts)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return _("{n} s").format(n=round(seconds))
    if seconds < 5400:
        return _("{n} min").format(n=round(seconds / 60))
    return _("{n:.1f} h").format(n=seconds / 3600)
