"""What the study's rows say: a mean per case, and what each trap costs against the same fine-tuning without it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..config import EvaluationConfig
from ..errors import DataError
from ..metrics import MEASURES
from ..project import home
from ..records import read_rows
from .compare import Difference, difference, shown, summary
from .study import CURVE_TABLE, TRAP_TABLE, StudyRow
from .words import joined

SHOWN = ("judge_distance", "judge_confidence", "offset_frames", "mouth_correlation")


@dataclass(frozen=True)
class CaseResult:
    """A case's mean of a measure over held-out videos and seeds, with its interval (None: too few videos)."""

    name: str
    title: str
    seconds: float
    mean: float
    low: float | None
    high: float | None
    videos: int
    seeds: int


def read_study(table: str, folder: Path | None = None) -> tuple[list[StudyRow], str]:
    """The rows of a study table at the largest size that is there, and that size. ([], "") where nothing was run."""
    path = (folder or home() / "data" / "study") / table
    rows = read_rows(path, StudyRow) if path.is_file() else []
    there = [row.size for row in rows]
    size = next((size for size in ("article", "full", "small", *there) if size in there), "")
    return [row for row in rows if row.size == size], size


def case_results(rows: Iterable[StudyRow], measure: str, settings: EvaluationConfig | None = None) -> list[CaseResult]:
    """Mean and interval of a measure for every case, in the order of the table; cases without a value left out."""
    by: dict[str, list[StudyRow]] = {}
    for row in rows:
        if getattr(row, measure) is not None:
            by.setdefault(row.case, []).append(row)
    results = []
    for name, mine in by.items():
        found = summary(
            name,
            measure,
            [getattr(r, measure) for r in mine],
            [r.video_id for r in mine],
            settings or EvaluationConfig(),
        )
        results.append(
            CaseResult(
                name,
                mine[0].title,
                mine[0].speaker_s,
                found.mean,
                found.low,
                found.high,
                found.videos,
                len({r.seed for r in mine}),
            )
        )
    return results


def costs(
    rows: Sequence[StudyRow], measure: str, reference: str = "safe", settings: EvaluationConfig | None = None
) -> list[Difference]:
    """What each case changes against the reference, on the same clips with the same seed.

    The base has no seed of its own and is compared with every seed of the reference.  Raises DataError where the
    reference was not run.
    """
    base = {(r.seed, r.clip_id): getattr(r, measure) for r in rows if r.case == reference}
    if not base:
        raise DataError(f"the study has no case {reference!r}: run `make study`")
    found = []
    for case in dict.fromkeys(r.case for r in rows if r.case != reference):
        mine = [
            (getattr(r, measure), base[key], r.video_id)
            for r in rows
            if r.case == case
            for key in base
            if key[1] == r.clip_id and (case == "base" or key[0] == r.seed)
        ]
        mine = [m for m in mine if m[0] is not None and m[1] is not None]
        if mine:
            after, before, videos = zip(*mine, strict=True)
            found.append(
                difference(case, reference, MEASURES[measure], after, before, videos, settings or EvaluationConfig())
            )
    return found


def trap_table(
    rows: Sequence[StudyRow], measures: Sequence[str] = SHOWN, settings: EvaluationConfig | None = None
) -> tuple[list[str], list[list[str]]]:
    """(header, rows): a row per case; each cell is the mean, in brackets its cost against "safe" with the interval."""
    means = {m: {r.name: r.mean for r in case_results(rows, m, settings)} for m in measures}
    cost = {m: {d.model: d for d in costs(rows, m, settings=settings)} for m in measures}
    lines = []
    for case, title in dict.fromkeys((r.case, r.title) for r in rows):
        cells = []
        for m in measures:
            digits = MEASURES[m].decimals + 1
            text, d = shown(means[m].get(case), digits), cost[m].get(case)
            if d is not None and d.low is not None:
                low, high = shown(d.low, digits, True), shown(d.high, digits, True)
                text += f" ({shown(d.mean, digits, True)} [{low}, {high}])"
            cells.append(text)
        lines.append([title, *cells])
    return ["what was wrong", *(MEASURES[m].label for m in measures)], lines


def trap_paragraph(
    rows: Sequence[StudyRow], measure: str = "judge_distance", settings: EvaluationConfig | None = None
) -> str:
    """Which traps cost sync that is not chance, which did not, in one paragraph."""
    if not rows:
        return "The study of the traps was not run: `make study` makes it."
    titles = {row.case: row.title for row in rows}
    found = [d for d in costs(rows, measure, settings=settings) if d.model != "base"]
    what = MEASURES[measure].title
    said = {
        kind: [f"{titles[d.model]} ({shown(d.mean, 3, True)})" for d in found if d.verdict == kind]
        for kind in ("worse", "better", "unclear")
    }
    parts = [
        f"These traps cost {what} by more than chance: {joined(said['worse'])}."
        if said["worse"]
        else f"None of the traps costs {what} by more than chance."
    ]
    if said["better"]:
        parts.append(f"Against expectation these look better: {joined(said['better'])}.")
    if said["unclear"]:
        parts.append(f"No difference is shown for: {joined(said['unclear'])}.")
    first = rows[0]
    steps = max(row.steps for row in rows)
    return (
        " ".join(parts) + f" Size {first.size}: {steps} steps of {first.batch_size} windows, "
        f"{len({r.video_id for r in rows})} held-out videos, {len({r.seed for r in rows})} seed(s)."
    )


def curve_paragraph(
    rows: Sequence[StudyRow], measure: str = "mouth_correlation", settings: EvaluationConfig | None = None
) -> str:
    """How far the amount of speaker data carries, in one paragraph."""
    points = [p for p in case_results(rows, measure, settings) if p.name != "base"]
    if len(points) < 2:
        return "The learning curve was not run: `make study` makes it."
    best = min(points, key=lambda p: MEASURES[measure].badness(p.mean))
    gains = costs(rows, measure, reference=points[0].name, settings=settings)
    shown_gains = [d for d in gains if d.model not in ("base", points[0].name) and d.verdict == "better"]
    text = (
        f"{MEASURES[measure].title} goes from {shown(points[0].mean, 3)} with {points[0].name} of the speaker to "
        f"{shown(points[-1].mean, 3)} with {points[-1].name}; best with {best.name}."
    )
    if shown_gains:
        text += f" Better than {points[0].name} by more than chance: {joined([d.model for d in shown_gains])}."
    else:
        text += f" No amount is better than {points[0].name} by more than chance."
    return text


def offsets_by_case(rows: Iterable[StudyRow]) -> dict[str, np.ndarray]:
    """The offsets in frames that the judge found, by case."""
    by: dict[str, list[float]] = {}
    for row in rows:
        if row.offset_frames is not None:
            by.setdefault(row.case, []).append(row.offset_frames)
    return {case: np.array(values) for case, values in by.items()}


__all__ = [
    "CURVE_TABLE",
    "TRAP_TABLE",
    "CaseResult",
    "case_results",
    "costs",
    "curve_paragraph",
    "offsets_by_case",
    "read_study",
    "trap_paragraph",
    "trap_table",
]
