"""The DICOM results of the two samples, read back by other programs: figures, and the picture of Docs/use/dicom.md.

    python Testing/Benchmarks/dicom_results.py --out work/dicom [--picture Docs/use/dicom.png]

The samples are first made into DICOM series by SimpleITK. What `cowlandmarks detect --dicom` writes for them is read by
highdicom (points, segments, their place) and, where these are installed, by dcmqi (`pip install dcmqi`; what 3D Slicer
reads both with), dsrdump of dcmtk and dciodvfy of dicom3tools, and compared with `detection.json` and
`arteries.seg.nrrd`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("CoWLandmarks", "Testing")]

import highdicom  # noqa: E402
import numpy as np  # noqa: E402
import pydicom  # noqa: E402
import SimpleITK as sitk  # noqa: E402
from CoWLandmarksLib.__main__ import main as cowlandmarks  # noqa: E402
from CoWLandmarksLib.pictures.canvas import Canvas  # noqa: E402
from dicom_files import CT_IMAGE, MR_IMAGE  # noqa: E402
from optimise_pictures import optimise  # noqa: E402

RESOURCES = ROOT / "CoWLandmarks" / "CoWLandmarksLib" / "Resources"
KINDS = {"mra": ("MR", MR_IMAGE), "cta": ("CT", CT_IMAGE)}
SCALE, MARGIN_MM = 7, 8.0
"""Pixels of the picture to a millimetre; what is shown around the points."""
FILES = ("landmarks.sr.dcm", "arteries.seg.dcm")
Points = dict[str, np.ndarray]


def main() -> int:
    """Make, detect, read back, compare; 1 where anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the series and the results")
    parser.add_argument("--picture", type=Path, help="PNG of the segments and points over the scans")
    arguments = parser.parse_args()
    panels, good = [], True
    for kind, (modality, sop_class) in KINDS.items():
        scan, results = arguments.out / f"sample_{kind}", arguments.out / "results"
        write_sample(kind, scan, modality, sop_class)
        cowlandmarks(["detect", str(scan), "--dicom", "--out", str(results), "--force", "--device", "cpu"])
        result = results / f"{modality}-series1"
        points, labels, colours, image = read_back(result, scan)
        good &= compared(kind, result, points, labels)
        good &= by_other_tools(result, len(points))
        good &= by_dcmqi(result, arguments.out / "dcmqi", len(points))
        panels.append(panel(image, labels, colours, points, brightest=kind == "mra"))
    if arguments.picture is not None:
        height = max(each.shape[0] for each in panels)
        canvas = Canvas(sum(each.shape[1] for each in panels) + 10, height, (0, 0, 0))
        canvas.image(0, 0, panels[0])
        canvas.image(panels[0].shape[1] + 10, 0, panels[1])
        canvas.write_png(arguments.picture)
        optimise(arguments.picture)
    return int(not good)


def write_sample(kind: str, folder: Path, modality: str, sop_class: str) -> None:
    """A sample as a DICOM series, one slice a file."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    image = sitk.Cast(sitk.ReadImage(str(RESOURCES / f"sample_{kind}.nii.gz")), sitk.sitkInt16)
    axes, root = image.GetDirection(), f"1.2.826.0.1.3680043.8.498.{sop_class[-1]}"
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for k in range(image.GetSize()[2]):
        tags = {
            "0008|0016": sop_class,
            "0008|0018": f"{root}.3.{k + 1}",
            "0008|0060": modality,
            "0010|0010": "Phantom^Sample",
            "0010|0020": "PHANTOM-1",
            "0020|000d": f"{root}.1",
            "0020|000e": f"{root}.2",
            "0020|0052": f"{root}.4",
            "0020|0011": "1",
            "0020|0013": str(k + 1),
            "0020|0032": "\\".join(f"{v:.9g}" for v in image.TransformIndexToPhysicalPoint((0, 0, k))),
            "0020|0037": "\\".join(f"{axes[index]:.9g}" for index in (0, 3, 6, 1, 4, 7)),
        }
        plane = image[:, :, k]
        for tag, value in tags.items():
            plane.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{k:04d}.dcm"))
        writer.Execute(plane)


def read_back(result: Path, scan: Path) -> tuple[Points, sitk.Image, np.ndarray, sitk.Image]:
    """By highdicom: points (LPS mm) by code, segments as a label image, their colours by label; the scan by ITK."""
    report = highdicom.sr.srread(result / "landmarks.sr.dcm")
    groups = report.content.get_planar_roi_measurement_groups()
    points = {group.finding_type.value: group.roi.value[0] for group in groups}
    seg = highdicom.seg.segread(result / "arteries.seg.dcm")
    values = {artery["code"]: artery["label"] for artery in anatomy()["arteries"]}
    lookup, colours = np.zeros(len(seg.segment_numbers) + 1, np.uint8), np.zeros((256, 3))
    for number in seg.segment_numbers:
        description = seg.get_segment_description(number)
        lookup[number] = values[description.segment_label]
        shade = highdicom.color.CIELabColor.from_dicom_value(description.RecommendedDisplayCIELabValue)
        colours[lookup[number]] = shade.to_rgb()
    volume = seg.get_volume(combine_segments=True)
    labels = sitk.GetImageFromArray(lookup[volume.array])
    labels.SetOrigin(volume.position)
    labels.SetSpacing(volume.spacing[::-1])
    labels.SetDirection((volume.direction[:, ::-1]).ravel())
    files = sorted(scan.iterdir(), key=lambda file: pydicom.dcmread(file, stop_before_pixels=True).InstanceNumber)
    image = sitk.ReadImage([str(file) for file in files])
    return points, sitk.Resample(labels, image, sitk.Transform(), sitk.sitkNearestNeighbor), colours, image


def anatomy() -> dict:
    """The landmark set that ships."""
    return json.loads((RESOURCES / "anatomy.json").read_text(encoding="utf-8"))


def compared(kind: str, result: Path, points: Points, labels: sitk.Image) -> bool:
    """Print how far points and voxels are from those of the other files; whether they agree."""
    detection = json.loads((result / "detection.json").read_text(encoding="utf-8"))
    placed = {e["code"]: e["position"] for e in detection["landmarks"] if e["position"] is not None}
    distances = [np.linalg.norm(points[code] * (-1, -1, 1) - position) for code, position in placed.items()]
    voxels = sitk.GetArrayFromImage(sitk.ReadImage(str(result / "arteries.seg.nrrd")))
    differ = int((sitk.GetArrayFromImage(labels) != voxels).sum())
    sizes = ", ".join(f"{name} {(result / name).stat().st_size // 1000} kB" for name in FILES)
    print(f"{kind}: {len(distances)} points, at most {max(distances):.6f} mm off; ", end="")
    print(f"{len(np.unique(voxels)) - 1} segments, {differ} of {(voxels > 0).sum()} voxels differ; {sizes}")
    return points.keys() == placed.keys() and max(distances) < 0.01 and differ == 0


def by_other_tools(result: Path, points: int) -> bool:
    """Print what dsrdump and dciodvfy say, where they are installed; whether they are content."""
    good = True
    if shutil.which("dsrdump"):
        found = subprocess.run(["dsrdump", result / FILES[0]], capture_output=True, text=True).stdout.count("SCOORD3D")
        print(f"  dsrdump reads {found} points")
        good &= found == points
    for name in FILES if shutil.which("dciodvfy") else ():
        done = subprocess.run(["dciodvfy", result / name], capture_output=True, text=True, errors="replace")
        errors = (done.stdout + done.stderr).count("Error")
        print(f"  dciodvfy finds {errors} errors in {name}")
        good &= errors == 0
    return good


def by_dcmqi(result: Path, folder: Path, points: int) -> bool:
    """Print what dcmqi reads, where it is installed; whether its landmarks and voxels are ours."""
    if not shutil.which("segimage2itkimage"):
        return True
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    report, segmentation = (str(result / name) for name in FILES)
    into = ["--outputDirectory", str(folder), "--outputType", "nrrd", "--prefix", "segment"]
    subprocess.run(["segimage2itkimage", "--inputDICOM", segmentation, *into], check=True, capture_output=True)
    read = ["tid1500reader", "--inputDICOM", report, "--outputMetadata", str(folder / "report.json")]
    subprocess.run(read, check=True, capture_output=True)
    groups = len(json.loads((folder / "report.json").read_text(encoding="utf-8"))["Measurements"])
    whole = sitk.ReadImage(str(result / "arteries.seg.nrrd"))
    found = np.zeros(whole.GetSize()[::-1], np.uint8)
    values = {artery["code"]: artery["label"] for artery in anatomy()["arteries"]}
    described = json.loads((folder / "segment-meta.json").read_text(encoding="utf-8"))["segmentAttributes"]
    for number, (attributes,) in enumerate(described, start=1):
        segment = sitk.ReadImage(str(folder / f"segment-{number}.nrrd"))
        placed = sitk.Resample(segment, whole, sitk.Transform(), sitk.sitkNearestNeighbor)
        found[sitk.GetArrayFromImage(placed) > 0] = values[attributes["SegmentLabel"]]
    differ = int((found != sitk.GetArrayFromImage(whole)).sum())
    print(f"  dcmqi reads {groups} landmarks and {len(described)} segments; {differ} voxels differ")
    return groups == points and differ == 0


def panel(image: sitk.Image, labels: sitk.Image, colours: np.ndarray, points: Points, *, brightest: bool) -> np.ndarray:
    """RGB [row, column]: maximum or mean of the scan around the circle, seen from below, under segments and points."""
    image, labels = sitk.DICOMOrient(image, "LPS"), sitk.DICOMOrient(labels, "LPS")
    scan, found = sitk.GetArrayFromImage(image).astype(float), sitk.GetArrayFromImage(labels)
    spacing = np.array(image.GetSpacing())
    places = {code: np.array(image.TransformPhysicalPointToContinuousIndex(p.tolist())) for code, p in points.items()}
    middle = np.stack(list(places.values()))
    low = np.floor(middle.min(axis=0) - MARGIN_MM / spacing).astype(int)
    high = np.ceil(middle.max(axis=0) + MARGIN_MM / spacing).astype(int)
    (i, j, k), (i_end, j_end, k_end) = np.clip(low, 0, None), np.minimum(high, image.GetSize())
    part, segments = scan[k:k_end, j:j_end, i:i_end], found[k:k_end, j:j_end, i:i_end]
    shown = part.max(axis=0) if brightest else part.mean(axis=0)  # of a CTA the brightest are all bone
    dark, bright = np.percentile(shown, (5, 99.7))
    grey = np.clip((shown - dark) / (bright - dark), 0, 1) * 200
    top = np.take_along_axis(segments, (segments > 0).argmax(axis=0)[None], 0)[0]
    rgb = np.where(top[..., None] > 0, 0.35 * grey[..., None] + 0.65 * colours[top], grey[..., None])
    size = np.rint(np.array(shown.shape) * spacing[1::-1] * SCALE).astype(int)
    rows, columns = (np.arange(n) * m // n for n, m in zip(size, shown.shape, strict=True))
    canvas = Canvas(size[1], size[0], (0, 0, 0))
    canvas.image(0, 0, rgb[rows][:, columns])
    for place in places.values():
        x, y = ((place[:2] - (i, j) + 0.5) * spacing[:2] * SCALE).tolist()
        canvas.ring((x, y), 5.0, (255, 255, 255))
    return canvas.pixels


if __name__ == "__main__":
    sys.exit(main())
