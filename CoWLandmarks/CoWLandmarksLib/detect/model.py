"""A Model: its networks and everything that inference needs, in one file that is safe to load."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..core.alignment import CIRCLE_SHAPE, ShapeModel, shape_model_from_dict, shape_model_to_dict
from ..core.anatomy import Anatomy, anatomy_from_dict
from ..core.atomic_files import atomic_path
from ..core.calibration import Calibration, calibration_from_dict
from ..core.errors import ConfigurationError, ModelError
from ..core.intensity import IntensityRule
from ..core.volume import Grid, Modality, axis_aligned_grid
from ..networks.generator import GeneratorConfig
from ..networks.network_config import HEATMAPS, NetworkConfig, network_config
from ..networks.packed_weights import pack_weights, unpack_weights
from .coarse import WINDOW as COARSE_WINDOW
from .verdict import LEAST_RECOGNITION

FORMAT = "cow-landmarks-model"
FORMAT_VERSION = 3
_HEATMAPS_VERSION = 2
READABLE_VERSIONS = (1, 2, 3)
"""In 3 the fine network may belong to another method than heatmaps."""
MOST_LEVELS, MOST_WIDTH, MOST_FOLD = 8, 512, 8
MOST_WEIGHTS = 2**28
MOST_WINDOW_VOXELS = 2**24
"""Far beyond any model of use; a file that asks for more is damaged or made to fill the memory."""
DEFAULT_MODEL_FILE = Path(__file__).parent.parent / "Resources" / "Models" / "default.cow.pt"


@dataclass(frozen=True)
class GridSpec:
    """The reference grid of a model: `shape` (K, J, I), `spacing` (3,) mm along R, A, S, `centre` (3,) RAS mm."""

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    centre: tuple[float, float, float]

    def grid(self) -> Grid:
        """As a sampling grid in the reference frame."""
        return axis_aligned_grid(np.array(self.centre), np.array(self.spacing), self.shape)


@dataclass(frozen=True)
class NetworkPart:
    """One trained network: its weights, the width of its target heatmaps and its calibration.

    Methods other than heatmaps have their own idea of that width.
    """

    config: NetworkConfig
    weights: dict[str, torch.Tensor]
    sigma_mm: float
    calibration: Calibration

    def build(self, device: torch.device) -> torch.nn.Module:
        """The network in evaluation mode, fp32."""
        network = self.config.build()
        network.load_state_dict({name: value.to(torch.float32) for name, value in self.weights.items()})
        return network.eval().to(device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]


@dataclass(frozen=True)
class Model:
    """Everything that turns a Volume into a Detection.

    `coarse` finds the landmarks roughly in any field of view; `fine` refines them in windows of `window`
    (K, J, I) voxels of the reference grid (which may be the whole of it), given heatmaps of width `prior_sigma_mm` of
    the rough positions; one with a single input channel reads the image alone. `decode_with_prior`: a maximum far
    from where the landmark is expected counts less. `read_mirrored`: the fine network was trained on mirror images
    too, so it may read them. `least_recognition`: a scan below it (`verdict.recognition`) shows no circle of Willis.
    A fine network of another method than heatmaps reads the whole of the grid, from the image alone.
    `shape` is the landmark shape model in the reference frame. `circle` (None: the model has none) reads the whole
    circle between the two and gives the fine network its expected places.
    """

    name: str
    anatomy: Anatomy
    coarse: NetworkPart
    fine: NetworkPart
    window: tuple[int, int, int]
    prior_sigma_mm: float
    shape: ShapeModel
    grid: GridSpec
    intensity: dict[Modality, IntensityRule]
    provenance: dict[str, Any]
    licence: str
    description: str
    decode_with_prior: bool = True
    read_mirrored: bool = True
    least_recognition: float = LEAST_RECOGNITION
    circle: NetworkPart | None = None

    @property
    def stages(self) -> tuple[tuple[str, NetworkPart], ...]:
        """Its networks with their names, in the order in which a detector runs them."""
        circle = () if self.circle is None else (("circle", self.circle),)
        return (("coarse", self.coarse), *circle, ("fine", self.fine))

    @property
    def format_version(self) -> int:
        """Of its file; a model of heatmaps alone keeps the one that earlier programs read."""
        return _HEATMAPS_VERSION if self.fine.config.method == HEATMAPS else FORMAT_VERSION

    @property
    def eight_bit(self) -> bool:
        """Whether its weights were read from 8 bits (see packed_weights), and lose nothing when written so again."""
        return any(value.dtype != torch.float16 for _, part in self.stages for value in part.weights.values())

    @property
    def reads_priors(self) -> bool:
        """Whether the fine network reads where the landmarks are expected."""
        return self.fine.config.in_channels > 1


def save_model(model: Model, path: Path, *, eight_bit: bool = False) -> None:
    """Write a model file atomically, weights in fp16 or, at half the size, in 8 bits; raises ModelError when it could
    not be read again."""
    content = {
        "format": FORMAT,
        "format_version": model.format_version,
        "name": model.name,
        "anatomy": model.anatomy.source,
        **{name: _part_to_dict(part, eight_bit) for name, part in model.stages},
        "window": [int(value) for value in model.window],
        "prior_sigma_mm": float(model.prior_sigma_mm),
        "decode_with_prior": bool(model.decode_with_prior),
        "read_mirrored": bool(model.read_mirrored),
        "least_recognition": float(model.least_recognition),
        "shape": shape_model_to_dict(model.shape),
        "grid": {
            "shape": [int(value) for value in model.grid.shape],
            "spacing": [float(value) for value in model.grid.spacing],
            "centre": [float(value) for value in model.grid.centre],
        },
        "intensity": {modality.value: rule.to_dict() for modality, rule in model.intensity.items()},
        "provenance": model.provenance,
        "licence": model.licence,
        "card": model.description,
    }
    with atomic_path(path) as temporary:
        torch.save(content, temporary)
        load_model(temporary)


def load_model(path: Path) -> Model:
    """Read a model file without running any code in it; raises ModelError with one sentence."""
    path = Path(path)
    try:
        if not path.is_file():
            raise ModelError(f"There is no model file '{path}'; give another with --model.")
        path.open("rb").close()
    except OSError as error:
        raise ModelError(f"'{path}' cannot be opened ({error.strerror}); check path and permissions.") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch remarks on odd pickles at length before it refuses them
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # foreign bytes make torch raise almost anything
        raise ModelError(
            f"'{path.name}' is damaged or no model of this program ({type(error).__name__}); use a '.cow.pt' file."
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ModelError(f"'{path.name}' is no model of this program; use a '.cow.pt' file.")
    version = content.get("format_version")
    if version not in READABLE_VERSIONS:
        raise ModelError(
            f"'{path.name}' has model format {version}, this program reads format {FORMAT_VERSION}; "
            "update the older of the two."
        )
    try:
        return _model_from_dict(content)
    except (
        LookupError,
        TypeError,
        ValueError,
        ArithmeticError,
        AttributeError,
        RuntimeError,
        ConfigurationError,
    ) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ModelError(f"'{path.name}' is incomplete or damaged ({reason}); fetch it again.") from error


def _model_from_dict(content: dict[str, Any]) -> Model:
    grid = content["grid"]
    model = Model(
        name=str(content["name"]),
        anatomy=anatomy_from_dict(content["anatomy"]),
        coarse=_part_from_dict(content["coarse"]),
        fine=_part_from_dict(content["fine"]),
        window=_triple(content["window"], int),
        prior_sigma_mm=float(content["prior_sigma_mm"]),
        shape=shape_model_from_dict(content["shape"]),
        grid=GridSpec(_triple(grid["shape"], int), _triple(grid["spacing"], float), _triple(grid["centre"], float)),
        intensity={Modality(name): IntensityRule(**rule) for name, rule in content["intensity"].items()},
        provenance=dict(content["provenance"]),
        licence=str(content["licence"]),
        description=str(content["card"]),
        decode_with_prior=bool(content.get("decode_with_prior", True)),
        read_mirrored=bool(content.get("read_mirrored", True)),
        least_recognition=float(content.get("least_recognition", LEAST_RECOGNITION)),
        circle=_part_from_dict(content["circle"]) if "circle" in content else None,
    )
    _check(model)
    return model


def _check(model: Model) -> None:
    """Raise ValueError (or what the network raises) when the parts of a model do not fit together."""
    count = len(model.anatomy)
    fine_channels = 1 + count if model.reads_priors else 1
    reads = {"coarse": (2, COARSE_WINDOW), "circle": (2, CIRCLE_SHAPE), "fine": (fine_channels, model.window)}
    parts = [(part, *reads[name]) for name, part in model.stages]
    for part, channels, window in parts:
        if (part.config.in_channels, part.config.out_channels) != (channels, count):
            raise ValueError(f"its networks do not fit its {count} landmarks")
        config, weights = part.config, sum(value.numel() for value in part.weights.values())
        if config.method != HEATMAPS and (part is not model.fine or window != model.grid.shape):
            raise ValueError(f"the method '{config.method}' reads the whole grid, as the last network")
        if config.levels > MOST_LEVELS or config.largest_width > MOST_WIDTH:
            raise ValueError("its networks are too large")
        fold = config.fold if isinstance(config, GeneratorConfig) else 1
        if weights > MOST_WEIGHTS or math.prod(window) > MOST_WINDOW_VOXELS or fold > MOST_FOLD:
            raise ValueError("its networks are too large")
        if not all(bool(torch.isfinite(value).all()) for value in part.weights.values()):
            raise ValueError("its weights are not finite")
        table = np.stack([part.calibration.peak, part.calibration.error_mm, part.calibration.confidence])
        if table.size == 0 or not np.isfinite(table).all() or (np.diff(table[0]) < 0).any():
            raise ValueError("its calibration is not a rising table")
        for correction in (part.calibration.error_factor, part.calibration.confidence_logit):
            if correction.shape not in ((0,), (count,)) or not np.isfinite(correction).all():
                raise ValueError(f"the corrections of its calibration do not fit its {count} landmarks")
        part.build(torch.device("cpu"))
        if any(side <= 0 or side % config.multiple for side in window):
            raise ValueError(f"its window {window} does not fit its network")
    if model.shape.mean.shape != (count, 3) or model.shape.covariance.shape != (3 * count, 3 * count):
        raise ValueError(f"its shape model does not fit its {count} landmarks")
    if not np.isfinite(model.shape.mean).all() or not np.isfinite(model.shape.covariance).all():
        raise ValueError("its shape model is not finite")
    tables = [part.calibration for part, *_ in parts]
    limits = [limit for table in tables for limit in (table.absent_below, table.uncertain_below)]
    if not np.isfinite([*limits, model.least_recognition]).all():
        raise ValueError("its limits are not finite")
    sigmas = [part.sigma_mm for part, *_ in parts]
    lengths = [*model.grid.shape, *model.grid.spacing, *sigmas, model.prior_sigma_mm]
    if not (np.isfinite(lengths).all() and min(lengths) > 0 and np.isfinite(model.grid.centre).all()):
        raise ValueError("its grid or its heatmap widths are no lengths")
    if set(model.intensity) != set(Modality):
        raise ValueError("its intensity rules do not cover MRA and CTA")


def _part_to_dict(part: NetworkPart, eight_bit: bool) -> dict[str, Any]:
    halves = {name: value.detach().cpu().to(torch.float16).contiguous() for name, value in part.weights.items()}
    return {
        **({} if part.config.method == HEATMAPS else {"method": part.config.method}),
        "config": part.config.to_dict(),
        "weights": pack_weights(part.weights) if eight_bit else halves,
        "sigma_mm": float(part.sigma_mm),
        "calibration": part.calibration.to_dict(),
    }


def _part_from_dict(content: dict[str, Any]) -> NetworkPart:
    return NetworkPart(
        network_config(str(content.get("method", HEATMAPS)), content["config"]),
        unpack_weights(content["weights"]),
        float(content["sigma_mm"]),
        calibration_from_dict(content["calibration"]),
    )


def _triple(values: Any, kind: type) -> tuple[Any, Any, Any]:
    first, second, third = (kind(value) for value in values)
    return first, second, third
