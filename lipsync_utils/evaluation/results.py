"""From rows to statements: means with intervals over videos, and differences to the base on the same clips."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from .. import metrics
from ..config import EvaluationConfig
from ..errors import DataError
from ..metrics import MEASURES

FEWEST_VIDEOS = 3  # with fewer there is no spread to speak of, so no interval either


def by_clip(scores: pd.DataFrame, measure: str, group: str = "speaker", speech: str = "own") -> pd.DataFrame:
    """One measure: a row per clip (video_id, clip_id), a column per model, in the order in which they first appear.

    Several rows of a model on a clip (seeds) are one mean.  The truth says its own sentence whatever the speech.
    """
    said = (scores.speech == speech) | (scores.model == "truth")
    rows = scores[(scores.group == group) & said].astype({measure: float})
    table = rows.pivot_table(measure, ["video_id", "clip_id"], "model", sort=False)
    return table[[model for model in scores.model.unique() if model in table]]


def interval(values: pd.Series, settings: EvaluationConfig) -> dict:
    """Mean, interval and p of values by (video_id, clip_id), without an interval for too few videos."""
    found = metrics.bootstrap(
        values, values.index.get_level_values(0), samples=settings.bootstrap, level=settings.level, seed=settings.seed
    )
    known = found.videos >= FEWEST_VIDEOS
    low, high, p = (value if known else np.nan for value in (found.low, found.high, found.p))
    return {"mean": found.mean, "low": low, "high": high, "p": p, "clips": values.count(), "videos": found.videos}


def means(
    scores: pd.DataFrame, measures: Iterable[str] = MEASURES, *, settings: EvaluationConfig | None = None, **chosen
) -> pd.DataFrame:
    """Mean and interval of every measure for every model; what was not measured is left out.

    chosen: group and speech, see by_clip.  Columns: measure, model, mean, low, high, clips, videos.
    """
    rows = [
        {"measure": measure, "model": model, **interval(values.dropna(), settings or EvaluationConfig())}
        for measure in scores.columns.intersection(list(measures), sort=False)
        for model, values in by_clip(scores, measure, **chosen).items()
    ]
    return pd.DataFrame(rows, columns=["measure", "model", "mean", "low", "high", "clips", "videos"])


def differences(
    scores: pd.DataFrame,
    base: str = "base",
    measures: Iterable[str] = MEASURES,
    *,
    settings: EvaluationConfig | None = None,
    **chosen,
) -> pd.DataFrame:
    """Every model but the truth against `base`, on the same clips.  chosen: group and speech, see by_clip.

    Columns: measure, model, difference (mean of model - base; for a measure with a target, of the distances to it),
    low, high, p (of no difference), clips, videos, verdict (better, worse or unclear: the interval leaves out zero and
    p is small enough; with five videos or fewer p never is).  Raises DataError where the base was not measured.
    """
    settings, rows = settings or EvaluationConfig(), []
    if base not in set(scores.model):
        raise DataError(f"there are no scores of {base!r} to compare with; measured were {list(scores.model.unique())}")
    for measure in map(MEASURES.get, scores.columns.intersection(list(measures), sort=False)):
        table = by_clip(scores, measure.name, **chosen)
        if measure.better not in ("lower", "higher"):
            table = measure.badness(table)
        for model in table.columns.difference([base, "truth"], sort=False) if base in table else ():
            change = (table[model] - table[base]).dropna()
            if len(change):
                found = interval(change, settings)
                sure = found["p"] <= 1 - settings.level and not found["low"] <= 0 <= found["high"]
                better = (found["mean"] > 0) == (measure.better == "higher")
                verdict = ("better" if better else "worse") if sure else "unclear"
                rows.append({"measure": measure.name, "model": model, **found, "verdict": verdict})
    columns = ["measure", "model", "mean", "low", "high", "p", "clips", "videos", "verdict"]
    return pd.DataFrame(rows, columns=columns).rename(columns={"mean": "difference"})


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


def worst_clips(scores: pd.DataFrame, model: str, measure: str = "mouth_correlation", n: int = 5) -> pd.DataFrame:
    """The rows on which a model did worst, worst first."""
    rows = scores[(scores.model == model) & scores[measure].notna()]
    return rows.loc[MEASURES[measure].badness(rows[measure]).sort_values(ascending=False, kind="stable").index[:n]]
