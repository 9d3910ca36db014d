"""The arteries between the landmarks: hung, joined, and split where the definitions put the landmarks.

Curves that are continuous in the body (siphon, cerebral trunks) are built as one. Landmarks that a rule
defines are looked for on the finished curve, so that labels and landmarks agree to the vertex.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .atlas import Atlas, Template
from .curves import (
    arc_length,
    at_arc,
    hung,
    hung_to_tortuosity,
    joined,
    length,
    nearest_vertex,
    resampled,
    sharpest_turn,
    slow_noise,
    smoothed,
    spline,
    unit,
    wavy,
    with_vertex,
)
from .head_shape import point_index
from .patterns import SIDES
from .skeleton import Skeleton
from .variants import Variants

SIGN = {"R": 1.0, "L": -1.0}
PCA_RULE_MM = 7.0
"""10, 11 without a PCoA: this far along the PCA from the basilar tip."""
ICA_RULE_MM = 6.5
"""14, 15 without a PCoA: this far down the ICA from its terminus."""
OPHTHALMIC_RULE = 0.30
"""16, 17 without an ophthalmic artery: this part of the way from 18 to 14."""
TURN_ARM_MM = 5.0
TURN_REACH_MM = 4.0
TRUNKS_APART_MM = 7.0
"""Arc length at which the trunks of the middle cerebral artery are furthest apart."""
EARLY_TRUNKS_WIDER, EARLY_TRUNKS_APART_MM = 1.5, 10.0
"""After an early division they lie this many times as far from each other, over this length at least."""
GENU_REACH_MM = 7.0


@dataclass
class ArteryBuilder:
    """Draws the arteries of one head; `anchors` (19, 3) are the drawn landmarks."""

    rng: np.random.Generator
    atlas: Atlas
    anchors: np.ndarray
    variants: Variants
    waviness_mm: float
    skeleton: Skeleton

    def build(self) -> Skeleton:
        """Centrelines and landmarks of the whole circle."""
        for side in SIDES:
            self.carotid_and_middle_cerebral(side)
        self.anterior_cerebral()
        self.basilar_and_vertebral()
        for side in SIDES:
            self.posterior_cerebral(side)
        return self.skeleton

    def anchor(self, code: str) -> np.ndarray:
        return self.anchors[point_index(code)]

    def template(self, name: str) -> Template:
        return self.atlas.arteries[name]

    def shaped(self, name: str, side: str, spread: float = 1.0, shared: np.ndarray | None = None) -> np.ndarray:
        """Control points of one random individual of a template, on this side."""
        template = self.template(name)
        scores = np.clip(self.rng.normal(size=len(template.modes)), -2, 2)
        if shared is not None:
            scores = 0.8 * shared[: len(scores)] + 0.6 * scores
        points = template.median_points + spread * np.tensordot(scores, template.modes, axes=1)
        return points * (SIGN[side], 1.0, 1.0)

    def tortuosity(self, median: float, spread: float = 0.45) -> float:
        return 1.0 + (median - 1.0) * float(np.exp(np.clip(self.rng.normal(0, spread), -1.5, 1.2)))

    def finished(self, control: np.ndarray, sigma_mm: float, step: float = 0.5) -> np.ndarray:
        """Spline, smoothed over the joints, with the fine waviness of this head."""
        curve = smoothed(spline(control, step), sigma_mm)
        return resampled(wavy(curve, self.rng, self.waviness_mm, 9.0), step)

    def extreme(self, points: np.ndarray, outward: np.ndarray) -> int:
        """The vertex (of n) at which the curve `points` (n, 3) reaches furthest `outward` (n,)."""
        return int(np.argmax(outward))

    # Internal carotid and middle cerebral artery

    def carotid_and_middle_cerebral(self, side: str) -> None:
        carotid = self.carotid(side)
        terminus = carotid[-1]
        division = self.anchor(f"{side}-M1-M2")
        m1 = hung_to_tortuosity(self.shaped("MCA-M1", side), terminus, division, self.tortuosity(1.09))
        m1 = self.finished(m1, 0.6)
        terminus_by_rule = self.variants.a1[side] == "absent"
        if terminus_by_rule:
            whole = joined(carotid, m1)
            turn = sharpest_turn(whole, length(carotid), TURN_REACH_MM, TURN_ARM_MM)
            carotid, m1 = whole[: turn + 1], whole[turn:]
        self.skeleton.put(f"{side}-ICA-T", carotid[-1], terminus_by_rule)
        self.split_carotid(side, carotid)
        self.middle_cerebral(side, m1)

    def carotid(self, side: str) -> np.ndarray:
        genu, ophthalmic, communicating, terminus = (
            self.anchor(f"{side}-{name}") for name in ("C4-C5", "C5-C6", "C6-C7", "ICA-T")
        )
        c4 = self.template("ICA-C4").points * (SIGN[side], 1.0, 1.0)
        c4 = hung(c4, c4[0] + self.rng.normal(0, (2.5, 2.5, 0.0)), genu)
        # The bends of the petrous and cavernous part vary on a scale of centimetres.
        c4[1:-1] += slow_noise(self.rng, len(c4), 1.2)[1:-1]
        parts = [self.cavernous(side, c4)]
        for name, start, end in (
            ("ICA-C5", genu, ophthalmic),
            ("ICA-C6", ophthalmic, communicating),
            ("ICA-C7", communicating, terminus),
        ):
            control = self.shaped(name, side, 0.8)
            stretch = np.linalg.norm(end - start) / np.linalg.norm(control[-1] - control[0])
            parts.append(hung(control, start, end, float(np.clip(stretch, 0.6, 1.5))))
        return self.finished(joined(*parts), 0.9, 0.4)

    def cavernous(self, side: str, c4: np.ndarray) -> np.ndarray:
        """Control points of the petrous and cavernous carotid artery, bent to a siphon."""
        # How far the cavernous limb lies below the ophthalmic one opens or closes the genu (59 +- 17 degrees).
        before_genu = length(c4) - arc_length(c4)
        opening = np.clip(self.rng.normal(1.7, 1.4), -0.5, 5.0)
        c4[:, 2] -= opening * (before_genu / 6.0) * np.exp(1.0 - before_genu / 6.0)
        return c4

    def split_carotid(self, side: str, carotid: np.ndarray) -> None:
        pcoa_drawn = self.variants.pcoa[side] != "absent"
        ophthalmic_drawn = self.variants.ophthalmic[side]
        total = length(carotid)
        near_genu = arc_length(carotid)[nearest_vertex(carotid, self.anchor(f"{side}-C4-C5"), len(carotid) // 2)]
        if pcoa_drawn:
            window = np.flatnonzero(arc_length(carotid) > near_genu + 4)
            origin = nearest_vertex(carotid, self.anchor(f"{side}-C6-C7"), int(window[0]), len(carotid) - 5)
        else:
            carotid, origin = with_vertex(carotid, total - ICA_RULE_MM)
        along = arc_length(carotid)
        first = int(np.searchsorted(along, near_genu - 12.0))
        genu = first + self.extreme(carotid[first:origin], carotid[first:origin, 1])
        way = along[origin] - along[genu]
        if ophthalmic_drawn:
            nearest = nearest_vertex(carotid, self.anchor(f"{side}-C5-C6"), genu, origin)
            part = self.ophthalmic_part(side, float((along[nearest] - along[genu]) / way))
        else:
            part = OPHTHALMIC_RULE
        carotid, ophthalmic = with_vertex(carotid, along[genu] + part * way)
        origin += int(len(carotid) > len(along))
        curves = self.skeleton.curves
        curves[f"{side}-ICA-C4"] = carotid[: genu + 1]
        curves[f"{side}-ICA-C5"] = carotid[genu : ophthalmic + 1]
        curves[f"{side}-ICA-C6"] = carotid[ophthalmic : origin + 1]
        curves[f"{side}-ICA-C7"] = carotid[origin:]
        self.skeleton.put(f"{side}-C4-C5", carotid[genu])
        self.skeleton.put(f"{side}-C5-C6", carotid[ophthalmic], not ophthalmic_drawn)
        self.skeleton.put(f"{side}-C6-C7", carotid[origin], not pcoa_drawn)

    def ophthalmic_part(self, side: str, drawn: float) -> float:
        """Where between 18, 19 and 14, 15 the ophthalmic artery leaves, as a part of the way."""
        return float(np.clip(drawn, 0.18, 0.45))

    def middle_cerebral(self, side: str, m1: np.ndarray) -> None:
        form = self.variants.mca[side]
        rest = m1[-1:]
        if form == "early":
            cut = nearest_vertex(m1, at_arc(m1, self.rng.uniform(4.0, 8.0)))
            m1, rest = m1[: cut + 1], m1[cut:]
        lower = self.trunk(side, "MCA-M2", self.template("MCA-M2").median_points, m1, rest, -1.0, form)
        curves = self.skeleton.curves
        if form == "single":
            whole = joined(m1, lower)
            turn = sharpest_turn(whole, length(m1), GENU_REACH_MM, TURN_ARM_MM)
            m1, lower = whole[: turn + 1], whole[turn:]
        else:
            upper_points = self.atlas.branches["M2b"].points
            curves[f"{side}-MCA-M2b"] = self.trunk(side, "", upper_points, m1, rest, 1.0, form)
            if form == "trifurcation":
                middle = 0.5 * (upper_points + self.template("MCA-M2").points[: len(upper_points)])
                curves[f"{side}-MCA-M2c"] = self.trunk(side, "", middle, m1, rest, 0.0, form)
        curves[f"{side}-MCA-M1"], curves[f"{side}-MCA-M2a"] = m1, lower
        self.skeleton.put(f"{side}-M1-M2", m1[-1], form == "single")

    def trunk(
        self, side: str, name: str, points: np.ndarray, m1: np.ndarray, rest: np.ndarray, turn: float, form: str
    ) -> np.ndarray:
        """An insular trunk that leaves the end of M1 on the upper (turn > 0) or lower side, then follows its course."""
        control = self.shaped(name, side, 0.5) if name else points * (SIGN[side], 1.0, 1.0)
        end = control[-1] + self.rng.normal(0, 2.5, 3) + (0.0, -2.0 * turn, 3.0 * turn)
        control = hung(control, rest[-1], end)
        control[1:-1] += slow_noise(self.rng, len(control), 0.8)[1:-1]
        if len(rest) > 1:
            control = joined(rest[::4], control) if (len(rest) - 1) % 4 == 0 else joined(rest[::-4][::-1], control)
            control[0] = rest[0]
        if form != "single":
            # Trunks part at 66 +- 27 degrees and soon run side by side over the insula.
            direction = unit(m1[-1] - m1[-min(8, len(m1))])
            up = np.array([0.0, 0.25, 1.0]) + self.rng.normal(0, 0.35, 3)
            up = unit(up - np.dot(up, direction) * direction)
            side_way = np.cross(direction, up)
            slope = np.tan(np.radians(np.clip(self.rng.normal(41, 12), 12, 62)))
            along = arc_length(control)
            if form == "early":
                # They stay apart for as long as M1 would have run on, or the division could not be seen.
                slope *= EARLY_TRUNKS_WIDER
                held = max(length(rest), EARLY_TRUNKS_APART_MM)
                along = along - np.clip(along - TRUNKS_APART_MM, 0.0, held)
            bump = along * np.exp(-along / TRUNKS_APART_MM)
            push = turn * up if turn else 0.7 * self.rng.choice([-1.0, 1.0]) * side_way
            control = control + slope * bump[:, None] * push
        return self.finished(control, 0.6)

    # Anterior cerebral arteries

    def anterior_cerebral(self) -> None:
        azygos = self.variants.a2 == "azygos"
        anchors = {side: (self.anchor(f"{side}-A1-A2"), self.anchor(f"{side}-A2-A3")) for side in SIDES}
        if azygos:
            joint, front = (np.mean([anchors[side][k] for side in SIDES], axis=0) for k in (0, 1))
            anchors = dict.fromkeys(SIDES, (joint, front))
        shared = np.clip(self.rng.normal(size=5), -2, 2)
        trunks: dict[str, np.ndarray] = {}
        for side in SIDES:
            joint, front = anchors[side]
            terminus = self.skeleton.landmarks[point_index(f"{side}-ICA-T")]
            a1 = hung_to_tortuosity(self.shaped("ACA-A1", side), terminus, joint, self.tortuosity(1.23))
            a2 = self.shaped("ACA-A2", side, 0.9, shared) * ((0.5 if azygos else 1.0), 1.0, 1.0)
            a2 = hung(a2, joint, front, float(np.clip(np.linalg.norm(front - joint) / 29.0, 0.6, 1.4)))
            a3 = self.template("ACA-A3").points * (SIGN[side], 1.0, 1.0)
            a3 = hung(a3, front, a3[-1] + (front - a3[0]) * 0.7 + self.rng.normal(0, (0.5, 3.0, 3.0)))
            if azygos:
                self.skeleton.curves[f"{side}-ACA-A1"] = self.finished(a1, 0.6)
                trunks[side] = self.finished(joined(a2, a3), 0.8) if side == "R" else trunks["R"]
            else:
                trunks[side] = self.finished(joined(a1, a2, a3), 0.8)
        joints = dict.fromkeys(SIDES, 0)
        if not azygos:
            joints = {side: nearest_vertex(trunks[side], anchors[side][0], 8) for side in SIDES}
            self.keep_apart(trunks, joints)
        for side in SIDES:
            if self.variants.acoa == "absent" and not azygos:
                position = arc_length(trunks[side])[joints[side]]
                joints[side] = sharpest_turn(trunks[side], position, TURN_REACH_MM, TURN_ARM_MM)
            self.split_anterior(side, trunks[side], joints[side], azygos)
        self.anterior_communicating()

    def keep_apart(self, trunks: dict[str, np.ndarray], joints: dict[str, int]) -> None:
        """Let the two A2 run beside each other over the midline instead of through each other."""
        fractions = np.linspace(0.0, 1.0, 80)
        distal = {side: trunks[side][joints[side] :] for side in SIDES}
        paired = {side: at_arc(distal[side], fractions * length(distal[side])) for side in SIDES}
        gap = paired["R"][:, 0] - paired["L"][:, 0]
        wanted = np.clip(1.9 + slow_noise(self.rng, len(gap), 0.8)[:, 0], 1.4, 4.0)
        missing = np.clip(wanted - gap, 0.0, None) * np.clip(fractions * 12, 0.0, 1.0)
        missing = smoothed(np.stack([fractions * 60, missing, 0 * missing], axis=1), 3.0)[:, 1]
        sway = slow_noise(self.rng, len(gap), 1.0)[:, 0] * np.clip(fractions * 5, 0.0, 1.0)
        for side in SIDES:
            along = arc_length(distal[side])
            shift = np.interp(along / along[-1], fractions, 0.5 * SIGN[side] * missing + sway)
            trunks[side][joints[side] :, 0] += shift

    def split_anterior(self, side: str, trunk: np.ndarray, joint: int, azygos: bool) -> None:
        front = joint + self.extreme(trunk[joint:], trunk[joint:, 1])
        curves = self.skeleton.curves
        if not azygos:
            curves[f"{side}-ACA-A1"] = trunk[: joint + 1]
        curves[f"{side}-ACA-A2"] = trunk[joint : front + 1]
        curves[f"{side}-ACA-A3"] = trunk[front:]
        self.skeleton.put(f"{side}-A1-A2", trunk[joint], not azygos and self.variants.acoa == "absent")
        self.skeleton.put(f"{side}-A2-A3", trunk[front])

    def anterior_communicating(self) -> None:
        right, left = (self.skeleton.landmarks[point_index(f"{side}-A1-A2")] for side in SIDES)
        curves = self.skeleton.curves
        if self.variants.acoa != "absent":
            bow = np.array([0.0, self.rng.uniform(-0.3, 1.5), self.rng.normal(0, 0.7)])
            middle = 0.5 * (right + left)
            curves["ACoA"] = spline(np.stack([right, middle + bow, left]), 0.3)
            if self.variants.acoa == "double":
                curves["ACoA-2"] = spline(np.stack([right, middle + bow - (0.0, 2.6, 0.6), left]), 0.3)
            if self.variants.a2 == "three":
                start = curves["ACoA"][len(curves["ACoA"]) // 2]
                sides = [joined(curves[f"{side}-ACA-A2"], curves[f"{side}-ACA-A3"]) for side in SIDES]
                parts = np.linspace(0.12, self.rng.uniform(0.5, 0.95), 9)[:, None]
                course = np.mean([at_arc(curve, parts[:, 0] * length(curve)) for curve in sides], axis=0)
                course = course + np.array([self.rng.normal(0, 0.5), -1.8, 1.2])
                curves["ACA-A2-median"] = self.finished(np.concatenate([start[None], course]), 0.6)
        for side in SIDES:
            if self.variants.a1[side] == "absent":
                del curves[f"{side}-ACA-A1"]
                self.skeleton.lose(f"{side}-A1-A2")

    # Vertebrobasilar system

    def basilar_and_vertebral(self) -> None:
        template = self.template("BA").points
        old = self.waviness_mm / 0.2
        junction = template[0] + self.rng.normal(0, 1, 3) * (1.5 + 1.5 * old, 1.8, 4.8)
        basilar = hung(template, junction, np.zeros(3))
        u = np.linspace(0.0, 1.0, len(basilar))
        for harmonic, amplitude in ((1, 1.2 + 1.6 * old), (2, 0.6 + 0.4 * old)):
            bow = np.clip(self.rng.normal(0, 1, 2), -2, 2) * (amplitude, 0.5 * amplitude)
            basilar[:, :2] += np.sin(harmonic * np.pi * u)[:, None] * bow
        self.skeleton.curves["BA"] = self.finished(basilar, 0.6)
        self.skeleton.put("BA-T", self.skeleton.curves["BA"][-1])
        for side in SIDES:
            if self.variants.va[side] == "absent":
                continue
            control = self.template("VA").points * (SIGN[side], 1.0, 1.0)
            control = hung(control, junction, control[-1] + self.rng.normal(0, (2.0, 3.0, 2.0)))
            control[1:-1] += slow_noise(self.rng, len(control), 1.0 + old)[1:-1]
            self.skeleton.curves[f"{side}-VA"] = self.finished(control, 0.8)[::-1]

    # Posterior cerebral and posterior communicating artery

    def posterior_cerebral(self, side: str) -> None:
        form = self.variants.pcoa[side]
        tip = self.skeleton.landmarks[point_index("BA-T")]
        joint, lateral = self.anchor(f"{side}-P1-P2A"), self.anchor(f"{side}-P2A-P2P")
        p2a = self.shaped("PCA-P2A", side, 0.9)
        p2a = hung(p2a, joint, lateral, float(np.clip(np.linalg.norm(lateral - joint) / 21.3, 0.6, 1.4)))
        p2p = self.shaped("PCA-P2P", side, 0.7)
        p2p = p2p + (lateral - p2p[0])
        curves = self.skeleton.curves
        origin = self.skeleton.landmarks[point_index(f"{side}-C6-C7")]
        if form == "fetal-full":
            pcoa = hung_to_tortuosity(self.shaped("PCoA", side, 0.7), origin, joint, self.tortuosity(1.10))
            trunk = self.finished(joined(pcoa, p2a, p2p), 0.8)
            meeting = nearest_vertex(trunk, tip, 8, nearest_vertex(trunk, lateral) - 10)
            curves[f"{side}-PCoA"] = trunk[: meeting + 1]
        else:
            p1_median = 1.15 if np.linalg.norm(joint) > 7.5 else 1.07
            p1 = hung_to_tortuosity(self.shaped("PCA-P1", side), tip, joint, self.tortuosity(p1_median))
            trunk = self.finished(joined(p1, p2a, p2p), 0.8)
            if form == "absent":
                trunk, meeting = with_vertex(trunk, PCA_RULE_MM)
            else:
                meeting = nearest_vertex(trunk, joint, 4)
            curves[f"{side}-PCA-P1"] = trunk[: meeting + 1]
        outward = SIGN[side] * trunk[:, 0]
        widest = meeting + int(np.argmax(outward[meeting:]))
        curves[f"{side}-PCA-P2A"] = trunk[meeting : widest + 1]
        curves[f"{side}-PCA-P2P"] = trunk[widest:]
        if form not in ("absent", "fetal-full"):
            pcoa = self.shaped("PCoA", side)
            pcoa = hung_to_tortuosity(pcoa, origin, trunk[meeting], self.tortuosity(1.20))
            curves[f"{side}-PCoA"] = self.finished(pcoa, 0.5)
        self.skeleton.put(f"{side}-P1-P2A", trunk[meeting], form == "absent")
        self.skeleton.put(f"{side}-P2A-P2P", trunk[widest])
