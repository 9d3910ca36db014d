"""The model file: what is written is read back, and what is not one of ours is refused without being run."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from beads import tiny_model
from CoWLandmarksLib.core.alignment import ShapeModel
from CoWLandmarksLib.core.errors import ModelError, OutputError
from CoWLandmarksLib.core.volume import Modality
from CoWLandmarksLib.detect.model import GridSpec, Model, NetworkPart, load_model, save_model

PARTS = ("anatomy", "coarse", "fine", "window", "shape", "grid", "intensity", "provenance")


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.cow.pt"
    save_model(tiny_model(), path)
    return path


def predictions(part: NetworkPart) -> torch.Tensor:
    image = torch.rand(1, part.config.in_channels, 8, 8, 12, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return part.build(torch.device("cpu"))(image)


def one_sentence(error: pytest.ExceptionInfo[ModelError]) -> str:
    message = str(error.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


class TestRoundTrip:
    """A saved model is the same model."""

    @pytest.mark.parametrize("part", ["coarse", "fine"])
    def test_a_loaded_model_predicts_exactly_the_same(self, model_file: Path, part: str) -> None:
        before, after = (getattr(model, part) for model in (tiny_model(), load_model(model_file)))
        torch.testing.assert_close(predictions(after), predictions(before), rtol=0, atol=0)

    def test_everything_else_is_kept_as_well(self, model_file: Path) -> None:
        before, after = tiny_model(), load_model(model_file)
        for name in ("name", "anatomy", "window", "prior_sigma_mm", "grid", "intensity", "provenance", "licence"):
            assert getattr(after, name) == getattr(before, name), name
        assert after.description == before.description
        assert after.anatomy.codes == before.anatomy.codes
        np.testing.assert_array_equal(after.shape.mean, before.shape.mean)
        np.testing.assert_array_equal(after.shape.covariance, before.shape.covariance)
        for part in ("coarse", "fine"):
            assert getattr(after, part).config == getattr(before, part).config
            assert getattr(after, part).sigma_mm == getattr(before, part).sigma_mm
            assert getattr(after, part).calibration.to_dict() == getattr(before, part).calibration.to_dict()

    def test_weights_are_stored_in_half_precision_and_used_in_single(self, model_file: Path) -> None:
        content = torch.load(model_file, weights_only=True)
        assert {value.dtype for value in content["fine"]["weights"].values()} == {torch.float16}
        network = load_model(model_file).fine.build(torch.device("cpu"))
        assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
        assert not network.training

    def test_single_precision_weights_change_by_less_than_a_thousandth(self, tmp_path: Path) -> None:
        model = tiny_model()
        weights = {name: value * 1.2345678 for name, value in model.fine.weights.items()}
        model = replace(model, fine=replace(model.fine, weights=weights))
        save_model(model, tmp_path / "m.cow.pt")
        loaded = load_model(tmp_path / "m.cow.pt")
        for name, value in weights.items():
            torch.testing.assert_close(loaded.fine.weights[name].float(), value, rtol=1e-3, atol=1e-6)

    def test_numbers_of_numpy_do_not_make_the_file_unreadable(self, tmp_path: Path) -> None:
        model = tiny_model()
        table = replace(model.fine.calibration, absent_below=np.float64(0.25))
        model = replace(
            model,
            grid=GridSpec((72, 84, 84), tuple(np.array([1.0, 1.0, 1.2])), tuple(np.array([0.0, 14.0, 2.5]))),
            window=tuple(np.array([16, 16, 16])),
            prior_sigma_mm=np.float64(5.0),
            fine=replace(model.fine, calibration=table, sigma_mm=np.float32(1.5)),
        )
        save_model(model, tmp_path / "m.cow.pt")
        loaded = load_model(tmp_path / "m.cow.pt")
        assert loaded.grid == tiny_model().grid
        assert loaded.fine.calibration.absent_below == 0.25

    def test_a_file_that_could_not_be_read_again_is_never_delivered(self, tmp_path: Path) -> None:
        path = tmp_path / "m.cow.pt"
        save_model(tiny_model(), path)
        before = path.read_bytes()
        with pytest.raises(ModelError):
            save_model(replace(tiny_model(), provenance={"made": object()}), path)
        assert path.read_bytes() == before
        assert [entry.name for entry in tmp_path.iterdir()] == ["m.cow.pt"]

    def test_a_place_that_cannot_be_written_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("not a folder")
        with pytest.raises(OutputError, match="file"):
            save_model(tiny_model(), tmp_path / "file" / "m.cow.pt")


class Poison:
    """A pickle of this writes a file when it is opened without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return (Path.touch, (self.path,))


class TestForeignFiles:
    """Anything else is refused with one sentence, and nothing in it is run."""

    pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol")

    @pytest.mark.parametrize("writer", ["torch", "pickle", "inside"])
    def test_code_in_a_file_is_not_run(self, tmp_path: Path, model_file: Path, writer: str) -> None:
        trap, path = tmp_path / "trap", tmp_path / "evil.cow.pt"
        if writer == "torch":
            torch.save({"format": "cow-landmarks-model", "format_version": 1, "name": Poison(trap)}, path)
        elif writer == "pickle":
            path.write_bytes(pickle.dumps(Poison(trap)))
        else:
            content = torch.load(model_file, weights_only=True)
            content["provenance"]["note"] = Poison(trap)
            torch.save(content, path)
        with pytest.raises(ModelError, match=r"'evil.cow.pt' is damaged or no model") as error:
            load_model(path)
        one_sentence(error)
        assert not trap.exists()

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\x00",
            b"hello\n",
            b"PK\x03\x04",
            b"\x80\x02",
            b"\x80\x04\x95",
            bytes(range(256)) * 40,
            b"\x1f\x8b" * 9,
        ],
        ids=["empty", "zero", "text", "zip head", "pickle head", "pickle 4 head", "bytes", "gzip head"],
    )
    def test_foreign_bytes_are_refused(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "foreign.cow.pt"
        path.write_bytes(content)
        with pytest.raises(ModelError, match=r"'foreign\.cow\.pt' is damaged or no model of this program") as error:
            load_model(path)
        one_sentence(error)

    def test_an_ordinary_zip_file_is_refused(self, tmp_path: Path) -> None:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("readme.txt", "no model")
        path = tmp_path / "other.cow.pt"
        path.write_bytes(buffer.getvalue())
        with pytest.raises(ModelError, match="damaged or no model"):
            load_model(path)

    @pytest.mark.parametrize("content", [torch.zeros(3), {"weights": torch.zeros(3)}, [1, 2], {"format": "other"}])
    def test_a_torch_file_of_another_program_is_refused(self, tmp_path: Path, content: object) -> None:
        torch.save(content, tmp_path / "other.cow.pt")
        with pytest.raises(ModelError, match=r"'other\.cow\.pt' is no model of this program"):
            load_model(tmp_path / "other.cow.pt")

    def test_a_missing_file_and_a_folder_are_refused(self, tmp_path: Path) -> None:
        for path in (tmp_path / "none.cow.pt", tmp_path):
            with pytest.raises(ModelError, match=r"There is no model file .* --model"):
                load_model(path)

    @pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.999])
    def test_a_truncated_file_is_refused(self, tmp_path: Path, model_file: Path, share: float) -> None:
        whole = model_file.read_bytes()
        path = tmp_path / "half.cow.pt"
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(ModelError, match=r"half\.cow\.pt"):
            load_model(path)

    @pytest.mark.parametrize("seed", range(6))
    def test_flipped_bytes_are_refused_or_make_a_sound_model(self, tmp_path: Path, model_file: Path, seed: int) -> None:
        rng = np.random.default_rng(seed)
        damaged = bytearray(model_file.read_bytes())
        for place in rng.integers(0, len(damaged), 60):
            damaged[place] ^= int(rng.integers(1, 256))
        path = tmp_path / "damaged.cow.pt"
        path.write_bytes(bytes(damaged))
        try:
            assert isinstance(load_model(path), Model)
        except ModelError as error:
            assert "damaged.cow.pt" in str(error)


class TestUnfitContent:
    """A file of the right kind whose parts do not fit together."""

    @pytest.mark.parametrize("version", [0, 4, 99, "1", None])
    def test_another_format_version_is_reported(self, tmp_path: Path, model_file: Path, version: object) -> None:
        content = torch.load(model_file, weights_only=True)
        content["format_version"] = version
        torch.save(content, tmp_path / "future.cow.pt")
        with pytest.raises(
            ModelError, match=f"'future.cow.pt' has model format {version}, this program reads format 3"
        ):
            load_model(tmp_path / "future.cow.pt")

    @pytest.mark.parametrize(
        ("key", "missing"),
        [(key, True) for key in (*PARTS, "name", "card", "licence")] + [(key, False) for key in PARTS],
    )
    def test_a_missing_or_senseless_entry_is_reported(
        self, tmp_path: Path, model_file: Path, key: str, missing: bool
    ) -> None:
        content = torch.load(model_file, weights_only=True)
        if missing:
            del content[key]
        else:
            content[key] = 7
        torch.save(content, tmp_path / "m.cow.pt")
        with pytest.raises(ModelError, match=r"'m.cow.pt' is incomplete or damaged") as error:
            load_model(tmp_path / "m.cow.pt")
        one_sentence(error)

    @staticmethod
    def unfit() -> dict[str, Model]:
        model = tiny_model()
        wide = replace(model.fine.config, base_width=8)
        bad = dict(model.fine.weights)
        bad["head.bias"] = torch.full_like(bad["head.bias"], float("nan"))
        extra = model.fine.weights | {"more.weight": torch.zeros(1)}
        table = model.fine.calibration
        nan_mean = model.shape.mean.copy()
        nan_mean[3] = np.nan
        return {
            "weights of another width": replace(model, fine=replace(model.fine, config=wide)),
            "weights that are not numbers": replace(model, fine=replace(model.fine, weights=bad)),
            "one weight too many": replace(model, fine=replace(model.fine, weights=extra)),
            "coarse network in the place of the fine one": replace(model, fine=model.coarse),
            "a window that does not fit": replace(model, window=(16, 18, 16)),
            "a window of nothing": replace(model, window=(16, 0, 16)),
            "a falling calibration": replace(
                model, fine=replace(model.fine, calibration=replace(table, peak=table.peak[::-1]))
            ),
            "a calibration of unequal columns": replace(
                model, coarse=replace(model.coarse, calibration=replace(table, error_mm=table.error_mm[:2]))
            ),
            "corrections for fewer landmarks": replace(
                model, fine=replace(model.fine, calibration=replace(table, error_factor=np.ones(5)))
            ),
            "a shape of fewer landmarks": replace(model, shape=ShapeModel(model.shape.mean[:5], np.eye(15))),
            "a covariance of another size": replace(model, shape=ShapeModel(model.shape.mean, np.eye(56))),
            "a shape that is not numbers": replace(model, shape=ShapeModel(nan_mean, np.eye(57))),
            "a limit that is no number": replace(model, least_recognition=float("nan")),
            "an absence that is no number": replace(
                model, fine=replace(model.fine, calibration=replace(table, absent_below=float("nan")))
            ),
            "no spacing": replace(model, grid=replace(model.grid, spacing=(1.0, 0.0, 1.0))),
            "no width": replace(model, prior_sigma_mm=float("nan")),
            "no rule for CTA": replace(model, intensity={Modality.MRA: model.intensity[Modality.MRA]}),
        }

    def test_parts_that_do_not_fit_are_refused_with_one_sentence(self, tmp_path: Path) -> None:
        accepted = []
        for name, model in self.unfit().items():
            try:
                save_model(model, tmp_path / "m.cow.pt")
                accepted.append(name)
            except ModelError as error:
                assert "incomplete or damaged" in str(error), name
                assert "\n" not in str(error), name
        assert accepted == []


def test_eight_bit_weights_are_half_as_large_and_move_by_no_more_than_half_a_step(tmp_path: Path) -> None:
    model = tiny_model()
    save_model(model, tmp_path / "half.cow.pt")
    save_model(model, tmp_path / "eight.cow.pt", eight_bit=True)
    loaded = load_model(tmp_path / "eight.cow.pt")
    assert loaded.circle is not None
    assert model.circle is not None
    for part, read in ((model.coarse, loaded.coarse), (model.circle, loaded.circle), (model.fine, loaded.fine)):
        for name, value in part.weights.items():
            axes = tuple(range(1, value.ndim))
            step = value.abs().amax(dim=axes, keepdim=True) / 127.0 if axes else torch.full_like(value, 1e-3)
            assert bool(((read.weights[name].float() - value).abs() <= 0.501 * step).all()), name
    save_model(loaded, tmp_path / "again.cow.pt", eight_bit=True)
    again = load_model(tmp_path / "again.cow.pt")
    for name, value in loaded.fine.weights.items():
        torch.testing.assert_close(again.fine.weights[name], value, rtol=1e-6, atol=1e-9)
    kernels = sum(v.numel() for part in (model.coarse, model.circle, model.fine) for v in part.weights.values())
    smaller = (tmp_path / "half.cow.pt").stat().st_size - (tmp_path / "eight.cow.pt").stat().st_size
    assert smaller > 0.6 * kernels


@pytest.mark.parametrize("damage", ["factor", "number", "kind"])
def test_damaged_eight_bit_weights_are_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "m.cow.pt"
    save_model(tiny_model(), path, eight_bit=True)
    content = torch.load(path, weights_only=True)
    kernel = content["circle"]["weights"]["stem.weight"]
    if damage == "kind":
        kernel["number"] = kernel["number"].float()
    else:
        del kernel[damage]
    torch.save(content, path)
    with pytest.raises(ModelError, match="incomplete or damaged"):
        load_model(path)
