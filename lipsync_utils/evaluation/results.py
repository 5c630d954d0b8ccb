"""What a reader sees: tables of means and differences, films and pictures of several models, one HTML file."""

import base64
import html
import io
import string
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from .. import metrics
from ..audio import SAMPLE_RATE_HZ
from ..config import EvaluationConfig
from ..media import VideoWriter
from ..metrics import MEASURES
from ..project import write_text
from .measure import DEFAULTS

FEWEST_VIDEOS = 3  # with fewer there is no spread to speak of, so no interval either
CAPTION_PX, HEIGHT_PX = 26, 240
INK, PAPER = (235, 235, 235), (24, 24, 24)
TEMPLATE = Path(__file__).with_name("report.html")


# ---- from rows to statements: means with intervals over videos, and differences to the base on the same clips


def by_clip(scores: pd.DataFrame, measure: str, group: str = "speaker", speech: str = "own") -> pd.DataFrame:
    """One measure: a row per clip (video_id, clip_id), a column per model, in the order in which they first appear.

    Several rows of a model on a clip (seeds) are one mean.  The truth says its own sentence whatever the speech.
    """
    said = (scores.speech == speech) | (scores.model == "truth")
    rows = scores[(scores.group == group) & said].astype({measure: float})
    table = rows.pivot_table(measure, ["video_id", "clip_id"], "model", sort=False)
    return table[[model for model in scores.model.unique() if model in table]]


def means(scores: pd.DataFrame, measures=MEASURES, *, settings=DEFAULTS, **chosen) -> pd.DataFrame:
    """Mean and interval of every measure for every model; what was not measured is left out.

    chosen: group and speech, see by_clip.  Columns: measure, model, mean, low, high, clips, videos.
    """
    tables = {name: by_clip(scores, name, **chosen) for name in scores if name in measures}
    return summary(tables, settings).drop(columns="p")


def differences(scores: pd.DataFrame, base="base", measures=MEASURES, *, settings=DEFAULTS, **chosen) -> pd.DataFrame:
    """Every model but the truth against `base`, on the same clips.  chosen: group and speech, see by_clip.

    Columns: measure, model, difference (mean of model - base; for a measure with a target, of the distances to it),
    low, high, p (of no difference), clips, videos, verdict (better, worse or unclear: the interval leaves out zero and
    p is small enough; with five videos or fewer p never is).  No rows without the base.
    """
    tables = {}
    for name in [name for name in scores if name in measures]:
        table = MEASURES[name].from_target(by_clip(scores, name, **chosen))
        if base in table:
            tables[name] = table.sub(table[base], axis=0).drop(columns=[base, "truth"], errors="ignore")
    found = summary(tables, settings).rename(columns={"mean": "difference"})
    sure = (found.p <= 1 - settings.level) & (found.low * found.high > 0)
    higher = found.measure.map(lambda name: MEASURES[name].better == "higher")
    better = np.where((found.difference > 0) == higher, "better", "worse")
    return found.assign(verdict=np.where(sure, better, "unclear"))


def summary(tables: dict[str, pd.DataFrame], settings: EvaluationConfig) -> pd.DataFrame:
    """Mean, interval and p of every column of tables as by_clip makes them: a row per measure and model."""
    rows, how = [], {"samples": settings.bootstrap, "level": settings.level, "seed": settings.seed}
    for measure, table in tables.items():
        for model, values in table.items():
            if values.notna().any():
                found = vars(metrics.bootstrap(values, table.index.get_level_values(0), **how))
                rows.append({"measure": measure, "model": model, "clips": values.count(), **found})
    found = pd.DataFrame(rows, columns=["measure", "model", "mean", "low", "high", "p", "clips", "videos"])
    found.loc[found.videos < FEWEST_VIDEOS, ["low", "high", "p"]] = np.nan
    return found


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """A table of means or differences for the eyes: a row per measure, a column per model, cells "mean [low, high]"."""
    value, sign, more = ("mean", "", 0) if "mean" in table else ("difference", "+", 1)
    cells = []
    for row in table.to_dict("records"):
        form = f"{sign}z.{MEASURES[row['measure']].decimals + more}f"
        mean, low, high = (format(row[name], form) for name in (value, "low", "high"))
        cells.append(mean if np.isnan(row["low"]) else f"{mean} [{low}, {high}]")
    labelled = table.assign(cell=cells, measure=[MEASURES[name].label for name in table.measure])
    wide = labelled.pivot_table("cell", "measure", "model", "first", sort=False).fillna("–")
    models = sorted(table.model.unique(), key=lambda model: model != "truth")
    return wide[models].rename_axis(columns=None)


# ---- films and pictures of several models at the same frames


def side_by_side(films, output: Path, wav: np.ndarray) -> Path:
    """Write one film of several films of the same clip beside each other, with captions and one sound.

    films: caption -> frames (h, w, 3) uint8 BGR at 25 fps, shown left to right; the shortest ends the film.
    wav: float32 (n,), 16 kHz.
    """
    rows = [np.hstack(list(map(captioned, frames, films))) for frames in zip(*films.values(), strict=False)]
    how = {"size": rows[0].shape[1::-1], "sound": wav, "sample_rate_hz": SAMPLE_RATE_HZ, "crf": 23}
    words = {"comment": "synthetic: mouths in this film were generated by a machine"}
    with VideoWriter(output, metadata=words, **how) as writer:
        for row in rows:
            writer.write(row)
    return output


def captioned(picture_bgr: np.ndarray, caption: str) -> np.ndarray:
    """The picture, HEIGHT_PX high and even in width, with a line of text above it."""
    width = -(-picture_bgr.shape[1] * HEIGHT_PX // picture_bgr.shape[0] // 2) * 2
    sized = cv2.resize(picture_bgr, (width, HEIGHT_PX))
    framed = cv2.copyMakeBorder(sized, CAPTION_PX, 0, 0, 0, cv2.BORDER_CONSTANT, value=PAPER)
    return cv2.putText(framed, caption, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, INK, 1, cv2.LINE_AA)


def strip_frames(opening: np.ndarray, n: int = 8) -> list[int]:
    """Which n frames to show: the widest and the most closed mouth of alternating parts of a clip.

    opening: (frames,), NaN where unknown.
    """
    known = np.nan_to_num(opening)
    parts = np.array_split(np.arange(len(known)), n)
    return [int(part[np.argmax(known[part] * (-1) ** k)]) for k, part in enumerate(parts) if len(part)]


# ---- the report


def write_report(path: Path, parts) -> Path:
    """Fill a page with what was measured, atomically; nothing in it lies outside the file.

    parts: what belongs at each place of the template: text, a DataFrame, a Figure, or the Path of an mp4.  A place
    without a part says so.
    """
    page = string.Template(TEMPLATE.read_text(encoding="utf-8"))
    places = dict.fromkeys(page.get_identifiers(), "<p><em>not measured in this run</em></p>")
    write_text(path, page.substitute(places, **{name: _html(part) for name, part in parts.items()}))
    return path


def _html(part) -> str:
    if isinstance(part, pd.DataFrame):
        return part.to_html(border=0)
    if isinstance(part, Figure):
        png = io.BytesIO()
        part.savefig(png, format="png", dpi=110, bbox_inches="tight")
        return f'<img alt="" src="data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}">'
    if isinstance(part, Path):
        film = base64.b64encode(part.read_bytes()).decode()
        return f'<video controls preload="metadata" src="data:video/mp4;base64,{film}"></video>'
    return html.escape(str(part))
