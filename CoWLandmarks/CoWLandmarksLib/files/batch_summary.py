"""What people look at after a batch: one table, and one page with the report pictures, the doubtful first."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from ..core.atomic_files import write_text
from ..core.detection import LandmarkState, Verdict
from ..core.errors import ConfigurationError
from .result_folders import PAGE_FILE, RUN_FILE, SUMMARY_FILE
from .result_record import RunSettings
from .run_manifest import SCHEMA_NAME, ScanEntry, write_run

_ORDER = ("failed", Verdict.DO_NOT_TRUST.value, Verdict.REVIEW.value, "not judged", Verdict.OK.value)
_COLUMNS = ("scan", "result", "verdict", "modality", *(state.value for state in LandmarkState), "seconds", "device")
_NUMBERS = (*(state.value for state in LandmarkState), "seconds")
_GENERATOR = '<meta name="generator" content="CoW Landmarks">'
_MARKS = {
    RUN_FILE: f'"schema": "{SCHEMA_NAME}/',
    SUMMARY_FILE: ",".join(("number", *_COLUMNS[:3])),
    PAGE_FILE: _GENERATOR,
}
"""What the beginning of each file of ours holds."""
_LOOKED_AT = 400
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Spreadsheets calculate cells that begin so, and a file may be called anything."""
_STYLE = """
body { font: 16px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1300px; padding: 0 1rem; color: #1c2128; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 2rem; font-size: 0.9rem; }
th, td { text-align: left; padding: 0.3rem 0.6rem; border-bottom: 1px solid #d5dae0; overflow-wrap: anywhere; }
th.number, td.number { text-align: right; }
section { border-top: 3px solid #d5dae0; padding: 0.5rem 0 1.5rem; }
h2 { overflow-wrap: anywhere; margin: 0.5rem 0; }
img { max-width: 100%; height: auto; background: #12161c; }
.verdict { color: #fff; background: #4a5a6b; padding: 0.1rem 0.5rem; border-radius: 4px; white-space: nowrap; }
.v-ok { background: #26804a; } .v-review { background: #b06200; }
.v-do-not-trust, .v-failed { background: #b22222; }
.note { color: #57606a; }
"""


def write_batch(
    directory: Path,
    settings: RunSettings | None,
    entries: Sequence[ScanEntry],
    values: Mapping[str, str] | None = None,
) -> None:
    """Write run.json (`write_run`), the table and the page of a batch into its directory; raises OutputError."""
    write_run(directory / RUN_FILE, settings, entries, values)
    write_text(directory / SUMMARY_FILE, summary_csv(entries))
    write_text(directory / PAGE_FILE, summary_page(entries))


def check_replaceable(directory: Path) -> None:
    """Raise ConfigurationError if `directory` holds a file of somebody else where run.json, table and page would go."""
    for name, mark in _MARKS.items():
        path = directory / name
        try:
            with path.open("rb") as file:
                ours = mark.encode("ascii") in file.read(_LOOKED_AT)
        except (FileNotFoundError, NotADirectoryError):  # writing says what is wrong with a folder that is none
            continue
        except OSError:
            ours = False
        if not ours:
            raise ConfigurationError(f"'{path}' was not written by this program; choose another folder or move it.")


def doubtful_first(entries: Sequence[ScanEntry]) -> list[ScanEntry]:
    """The entries by verdict, the worst first; of the same verdict those with the fewest landmarks found first."""
    found = LandmarkState.FOUND.value
    return sorted(entries, key=lambda entry: (_ORDER.index(entry.outcome), entry.landmarks.get(found, 0), entry.number))


def summary_csv(entries: Sequence[ScanEntry]) -> str:
    """One row per scan in the order of the batch: result, verdict, numbers of landmarks by state, seconds, reasons.

    A cell that a spreadsheet would take for a formula begins with an apostrophe.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("number", *_COLUMNS, "summary", "reasons"))
    for entry in sorted(entries, key=lambda entry: entry.number):
        cells = (*_cells(entry), entry.summary, " ".join(entry.reasons) or entry.error or "")
        writer.writerow((entry.number, *(f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in cells)))
    return text.getvalue()


def _cells(entry: ScanEntry) -> tuple[str, ...]:
    counts = [str(entry.landmarks[state.value]) if entry.delivered else "" for state in LandmarkState]
    return (
        entry.scan,
        entry.result or "",
        entry.outcome,
        entry.modality or "",
        *counts,
        f"{entry.seconds:.1f}",
        entry.device or "",
    )


def summary_page(entries: Sequence[ScanEntry]) -> str:
    """The page: a table with links, then every scan with reasons and report picture, which lies beside the page.

    It needs nothing from the network; the pictures are loaded when they are scrolled to.
    """
    ordered = doubtful_first(entries)
    counts = Counter(entry.outcome for entry in ordered)
    overview = ", ".join(f"{counts[outcome]} {outcome}" for outcome in _ORDER if counts[outcome])
    head = "".join(f"<th{_aligned(column)}>{escape(column)}</th>" for column in _COLUMNS)
    rows = "\n".join(_row(entry) for entry in ordered)
    sections = "\n".join(_section(entry) for entry in ordered)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
{_GENERATOR}
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Circle of Willis landmarks: {len(ordered)} scans</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{len(ordered)} scans: {escape(overview)}</h1>
<p class="note">The doubtful come first. For research only; not a medical device: every result has to be checked.</p>
<table>
<thead><tr>{head}</tr></thead>
<tbody>
{rows}
</tbody>
</table>
{sections}
</body>
</html>
"""


def _row(entry: ScanEntry) -> str:
    scan, result, _, *others = _cells(entry)
    link = f'<a href="#scan-{entry.number}">{escape(scan)}</a>'
    cells = "".join(
        f"<td{_aligned(column)}>{escape(cell)}</td>" for column, cell in zip(_COLUMNS[3:], others, strict=True)
    )
    return f"<tr><td>{link}</td><td>{escape(result)}</td><td>{_badge(entry)}</td>{cells}</tr>"


def _aligned(column: str) -> str:
    return ' class="number"' if column in _NUMBERS else ""


def _section(entry: ScanEntry) -> str:
    lines = [entry.error] if entry.error is not None else [entry.summary, *entry.reasons]
    texts = "".join(f"<p>{escape(line)}</p>" for line in lines)
    picture = ""
    if entry.picture is not None:
        place = escape(quote(entry.picture), quote=True)
        picture = f'<a href="{place}"><img loading="lazy" src="{place}" alt="Report picture"></a>'
    elif entry.delivered:
        picture = '<p class="note">There is no report picture (--no-pictures).</p>'
    title = escape(entry.result or entry.scan)
    return f'<section id="scan-{entry.number}"><h2>{title} {_badge(entry)}</h2>{texts}{picture}</section>'


def _badge(entry: ScanEntry) -> str:
    return f'<span class="verdict v-{entry.outcome.replace(" ", "-")}">{escape(entry.outcome)}</span>'
