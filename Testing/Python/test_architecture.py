"""The diagrams and tables of Docs/architecture.md say what the code says."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from architecture import PAGE, Box, diagrams, faults, main, names_used, package_table, renewed
from import_graph import LIBRARIES, package_graph, packages

TEXT = PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("number", range(2))
def test_every_box_of_a_diagram_exists_and_every_arrow_is_a_use_in_the_order_of_the_code(number: int) -> None:
    assert list(faults(diagrams(TEXT)[number])) == []


def test_there_is_a_diagram_of_the_detection_and_one_of_the_training() -> None:
    detection, training = diagrams(TEXT)
    for diagram, library in ((detection, "CoWLandmarksLib"), (training, "CoWLandmarksTrainingLib")):
        assert {box.module.partition(".")[0] for box in diagram.boxes.values()} == {library}
        arrows = {end for arrow in diagram.arrows for end in (arrow.user, arrow.used)}
        assert arrows == set(diagram.boxes), "a box without an arrow"
        assert len(arrows) >= 20


def test_the_tables_are_those_of_the_packages() -> None:
    assert renewed(PAGE) == TEXT, "run 'make lists'"


@pytest.mark.parametrize("package", packages())
def test_a_row_has_the_first_line_of_the_package_and_its_third_parties(package: str) -> None:
    library, _, name = package.partition(".")
    [row] = re.findall(rf"^\| `{re.escape(name)}` \| (.*?) \| (.*?) \| .* \|$", package_table(library), re.MULTILINE)
    imported = importlib.import_module(package)
    assert row[0] == (imported.__doc__ or "").splitlines()[0]
    assert set(row[1].split(", ")) - {"-"} == set(imported.THIRD_PARTY)


def test_a_package_stands_below_those_that_it_rests_on() -> None:
    graph = package_graph()
    for library in LIBRARIES:
        names = [f"{library}.{name}" for name in re.findall(r"^\| `(\w+)` \|", package_table(library), re.MULTILINE)]
        assert set(names) == {package for package in packages() if package.startswith(f"{library}.")}
        for place, name in enumerate(names):
            assert not graph[name] & set(names[place:]), name


def diagram_of(*lines: str) -> list[str]:
    """What is wrong with a diagram of the detection library that has these lines."""
    [diagram] = diagrams("\n".join(["```mermaid", "flowchart TD", "%% CoWLandmarksLib", *lines, "```"]))
    return list(faults(diagram))


BATCH = 'batch["pipeline/batch.py<br>ScanBatch"]'
READ = 'read["io/volume_io.py<br>read_scan"]'
WRITE = 'write["pipeline/delivery.py<br>Delivery.write"]'
DETECT = 'detect["detect/detector.py<br>Detector.detect"]'


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        (['read["io/volume_io.py<br>read_volumes"]'], "has no read_volumes"),
        (['read["io/volumes.py<br>read_volume"]'], r"CoWLandmarksLib\.io\.volumes has no"),
        ([BATCH, "batch --> read"], "there is no box read"),
        ([BATCH, DETECT, "batch --> detect"], "does not import it"),
        ([BATCH, READ, "batch -.-> read"], "no method of an object"),
        ([READ, DETECT, "read -.-> detect"], "never comes to Detector.detect"),
        ([BATCH, READ, WRITE, "batch --> write", "batch --> read"], "comes before write"),
    ],
)
def test_what_the_code_does_not_have_is_noticed(lines: list[str], fault: str) -> None:
    [sentence] = diagram_of(*lines)
    assert re.search(fault, sentence)


def test_what_the_code_has_is_accepted() -> None:
    assert diagram_of(BATCH, READ, DETECT, WRITE, "batch --> read", "batch -.-> detect", "batch --> write") == []


def test_a_line_that_is_no_part_of_a_diagram_is_refused() -> None:
    with pytest.raises(ValueError, match="neither a box nor an arrow"):
        diagram_of("batch --- read")


def test_names_are_in_the_order_in_which_the_code_comes_to_them() -> None:
    """The arguments of a call come before what is called, functions of the same file where they are called."""
    names = names_used(Box("CoWLandmarksLib.detect.circle", "read_circle"))
    assert names.index("circle_grid") < names.index("decode_subvoxel")


def test_the_script_renews_tables_and_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "architecture.md"
    page.write_text(TEXT.replace("| `core` | ", "| `core` | Not "), encoding="utf-8")
    assert main([], (page,)) == 1
    assert "out of date; run 'make lists'" in capsys.readouterr().out
    assert main(["--write"], (page,)) == 0
    assert page.read_text(encoding="utf-8") == TEXT
    assert main([], (page,)) == 0
