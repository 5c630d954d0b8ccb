"""From rows to statements: means with intervals over videos, and differences to the base on the same clips."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .. import metrics
from ..config import EvaluationConfig
from ..errors import DataError
from ..metrics import MEASURES, Measure
from .scores import Score

FEWEST_VIDEOS = 3  # with fewer there is no spread to speak of, so no interval either


@dataclass(frozen=True)
class Summary:
    """A model's mean of one measure; low and high bound the interval over videos, None where there are too few."""

    model: str
    measure: str
    mean: float
    low: float | None
    high: float | None
    clips: int
    videos: int


@dataclass(frozen=True)
class Difference:
    """A model against another on the same clips: mean of (model - base), its interval, p of no difference.

    For a measure with a target (offset, sharpness) the difference is that of the distances to the target.
    """

    model: str
    base: str
    measure: str
    mean: float
    low: float | None
    high: float | None
    p: float | None
    clips: int
    videos: int
    level: float = 0.95

    @property
    def significant(self) -> bool:
        """Whether the interval leaves out zero and p is small enough; with five videos or fewer p never is."""
        if self.low is None or self.high is None or self.p is None:
            return False
        return (self.low > 0 or self.high < 0) and self.p <= 1 - self.level

    @property
    def verdict(self) -> str:
        """better, worse, or unclear."""
        if not self.significant:
            return "unclear"
        higher_is_better = MEASURES[self.measure].better == "higher"
        return "better" if (self.mean > 0) == higher_is_better else "worse"


def values_of(
    scores: Iterable[Score], model: str, measure: str, *, group: str = "speaker", speech: str = "own"
) -> dict[str, tuple[str, float]]:
    """What was measured: clip_id -> (video_id, value), clips without a value left out."""
    found = {}
    for score in scores:
        value = getattr(score, measure, None)  # FID is measured of a model, not of a clip
        wanted = (score.model, score.group, score.speech) == (model, group, speech)
        if wanted and value is not None and np.isfinite(value):
            found[score.clip_id] = (score.video_id, float(value))
    return found


def models_of(scores: Iterable[Score]) -> list[str]:
    """The models in the order in which they first appear."""
    return list(dict.fromkeys(score.model for score in scores))


def summaries(
    scores: Sequence[Score],
    measures: Iterable[str] = MEASURES,
    *,
    settings: EvaluationConfig | None = None,
    group: str = "speaker",
    speech: str = "own",
) -> list[Summary]:
    """Mean and interval of every measure for every model; a measure without values is left out."""
    settings, rows = settings or EvaluationConfig(), []
    for measure in measures:
        for model in models_of(scores):
            found = values_of(scores, model, measure, group=group, speech=speech)
            if found:
                videos, values = zip(*found.values(), strict=True)
                rows.append(summary(model, measure, values, videos, settings))
    return rows


def summary(
    model: str, measure: str, values: Sequence[float], videos: Sequence[str], settings: EvaluationConfig
) -> Summary:
    """One Summary of values and the videos that they come from."""
    n_videos = len(set(videos))
    low = high = None
    if n_videos >= FEWEST_VIDEOS:
        interval = metrics.bootstrap(
            values, videos, samples=settings.bootstrap, level=settings.level, seed=settings.seed
        )
        low, high = interval.low, interval.high
    return Summary(model, measure, float(np.mean(values)), low, high, len(values), n_videos)


def differences(
    scores: Sequence[Score],
    base: str = "base",
    measures: Iterable[str] = MEASURES,
    *,
    settings: EvaluationConfig | None = None,
    group: str = "speaker",
    speech: str = "own",
    models: Iterable[str] | None = None,
) -> list[Difference]:
    """Every model against `base`, clip by clip. models: None: all but the base and the truth.

    Raises DataError where the base was not measured.
    """
    settings, rows = settings or EvaluationConfig(), []
    if base not in models_of(scores):
        raise DataError(f"there are no scores of {base!r} to compare with; measured were {models_of(scores)}")
    for measure in measures:
        before = values_of(scores, base, measure, group=group, speech=speech)
        for model in models or [m for m in models_of(scores) if m not in (base, "truth")]:
            after = values_of(scores, model, measure, group=group, speech=speech)
            both = [clip for clip in after if clip in before]
            if both:
                rows.append(
                    difference(
                        model,
                        base,
                        MEASURES[measure],
                        [after[c][1] for c in both],
                        [before[c][1] for c in both],
                        [after[c][0] for c in both],
                        settings,
                    )
                )
    return rows


def difference(
    model: str,
    base: str,
    measure: Measure,
    after: Sequence[float],
    before: Sequence[float],
    videos: Sequence[str],
    settings: EvaluationConfig,
) -> Difference:
    """One Difference of values on the same clips, in the same order."""
    if measure.better not in ("lower", "higher"):
        after, before = [measure.badness(v) for v in after], [measure.badness(v) for v in before]
    mean, n_videos = float(np.mean(np.subtract(after, before))), len(set(videos))
    low = high = p = None
    if n_videos >= FEWEST_VIDEOS:
        found = metrics.paired_difference(
            after, before, videos, samples=settings.bootstrap, level=settings.level, seed=settings.seed
        )
        low, high, p = found.low, found.high, found.p
    return Difference(model, base, measure.name, mean, low, high, p, len(after), n_videos, settings.level)


def spread_of(
    scores: Sequence[Score], model: str = "base", *, group: str = "speaker", speech: str = "own"
) -> dict[str, float]:
    """The standard deviation of every measure over a model's clips: the scale on which differences are drawn."""
    found = {}
    for measure in MEASURES:
        values = [value for _, value in values_of(scores, model, measure, group=group, speech=speech).values()]
        if len(values) > 1 and np.ptp(values) > 0:
            found[measure] = float(np.std(values, ddof=1))
    return found


def worst_clips(
    scores: Sequence[Score], model: str, measure: str = "mouth_correlation", n: int = 5, *, speech: str = "own"
) -> list[Score]:
    """The clips on which a model did worst, worst first."""
    rows = [s for s in scores if s.model == model and s.speech == speech and getattr(s, measure) is not None]
    return sorted(rows, key=lambda s: (-MEASURES[measure].badness(getattr(s, measure)), s.clip_id))[:n]


def shown(value: float | None, decimals: int = 2, sign: bool = False) -> str:
    """A number for a table; a dash where there is none, never "-0.00"."""
    if value is None or not np.isfinite(value):
        return "–"
    return f"{round(value, decimals) + 0.0:{'+' if sign else ''}.{decimals}f}"


def result_table(
    scores: Sequence[Score],
    measures: Iterable[str] = MEASURES,
    *,
    settings: EvaluationConfig | None = None,
    group: str = "speaker",
    speech: str = "own",
) -> tuple[list[str], list[list[str]]]:
    """(header, rows): a row per measure, a column per model, each cell "mean [low, high]"."""
    settings = settings or EvaluationConfig()
    cells: dict[str, dict[str, str]] = {}
    for row in summaries(scores, measures, settings=settings, group=group, speech=speech):
        digits = MEASURES[row.measure].decimals
        text = shown(row.mean, digits)
        if row.low is not None:
            text += f" [{shown(row.low, digits)}, {shown(row.high, digits)}]"
        cells.setdefault(row.measure, {})[row.model] = text
    models = models_of(scores)
    rows = [[MEASURES[name].label, *(by.get(m, "–") for m in models)] for name, by in cells.items()]
    return ["measure", *models], rows


def difference_table(found: Iterable[Difference]) -> tuple[list[str], list[list[str]]]:
    """(header, rows): a row per measure and model with difference, interval, p and verdict."""
    rows = []
    for d in found:
        measure = MEASURES[d.measure]
        digits = measure.decimals + 1
        interval = "–" if d.low is None else f"[{shown(d.low, digits, True)}, {shown(d.high, digits, True)}]"
        p = "–" if d.p is None else ("< 0.001" if d.p < 0.001 else f"{d.p:.3f}")
        rows.append([measure.label, d.model, shown(d.mean, digits, True), interval, p, d.verdict])
    return ["measure", "model", "difference to base", "interval", "p", "verdict"], rows
