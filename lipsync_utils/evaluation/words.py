"""Sentences that are computed from the numbers, so that no text can contradict its table."""

from collections.abc import Iterable, Sequence

import numpy as np

from ..metrics import MEASURES
from .compare import Difference, Summary, models_of, shown, values_of
from .judge import CrossCheck
from .scores import Score
from .silence import SilenceTest

NAMES = {
    "truth": "the true video",
    "base": "the base",
    "without": "fine-tuning without the discriminator",
    "with": "fine-tuning with the discriminator",
}
#: What the answer to the article is given in; the sync distance is whichever was measured.
ANSWER = ("lse_d", "judge_distance", "mouth_correlation", "l1")
UNITS_TO_SAY = ("frames", "dB", "of 255", "% of eye distance")
LISTS = {"better": "improves", "worse": "harms"}


def name_of(model: str) -> str:
    """How a sentence calls a model."""
    return NAMES.get(model, model)


def sentence_start(text: str) -> str:
    """The text with a capital letter first, the rest as it is."""
    return text[:1].upper() + text[1:]


def joined(items: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    items = list(items)
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""


def difference_sentence(d: Difference, level: float = 0.95) -> str:
    """One sentence about one difference, with its interval and what may be concluded."""
    measure = MEASURES[d.measure]
    digits = measure.decimals + 1
    what = measure.title
    if measure.better not in ("lower", "higher"):
        what = f"the distance of {measure.title} to {measure.better}"
    text = (
        f"{sentence_start(name_of(d.model))} changes {what} by {shown(d.mean, digits, True)}"
        f"{f' {measure.unit}' if measure.unit in UNITS_TO_SAY else ''} against {name_of(d.base)}"
    )
    if d.low is None:
        few = f"{d.videos} videos are" if d.videos > 1 else "one video is"
        return f"{text}; {few} too few for an interval, so this proves nothing."
    text += (
        f" ({level:.0%} interval {shown(d.low, digits, True)} to {shown(d.high, digits, True)}, "
        f"p {p_words(d.p)}, {d.videos} videos)"
    )
    conclusion = {
        "better": "an improvement that is not chance",
        "worse": "a loss that is not chance",
        "unclear": "which chance alone would explain",
    }[d.verdict]
    return f"{text}: {conclusion}."


def p_words(p: float | None) -> str:
    """ "< 0.001" or "= 0.032"."""
    return "unknown" if p is None else "< 0.001" if p < 0.001 else f"= {p:.3f}"


def titles(found: Iterable[Difference], verdict: str) -> list[str]:
    """The titles of the measures with this verdict."""
    return [MEASURES[d.measure].title for d in found if d.verdict == verdict]


def verdict_paragraph(found: Iterable[Difference], model: str, level: float = 0.95) -> str:
    """What one model gained and lost over all measures, in one paragraph."""
    mine = [d for d in found if d.model == model]
    if not mine:
        return f"{sentence_start(name_of(model))} was not measured."
    by = {kind: titles(mine, kind) for kind in ("better", "worse", "unclear")}
    parts = [f"{verb} {joined(by[kind])}" for kind, verb in LISTS.items() if by[kind]]
    start = sentence_start(name_of(model))
    if not parts:
        text = f"{start} changes none of the {len(mine)} measures by more than chance would."
    else:
        text = f"{start} {' and '.join(parts)}"
        text += f"; for {joined(by['unclear'])} the interval includes no change." if by["unclear"] else "."
    by_chance = len(mine) * (1 - level)
    return f"{text} With {len(mine)} measures at {level:.0%}, {by_chance:.1f} would look changed by chance alone."


def judge_paragraph(checks: Sequence[CrossCheck]) -> str:
    """Whether the judge can be trusted: mismatched against matched sound, and shifts that it found."""
    worse = sum(c.mismatched_distance > c.matched_distance for c in checks)
    right, tried = sum(c.shifts_right for c in checks), sum(len(c.found) for c in checks)
    own = float(np.mean([c.matched_distance for c in checks]))
    wrong = float(np.mean([c.mismatched_distance for c in checks]))
    return (
        f"The judge rates mismatched sound worse than a clip's own on {worse} of {len(checks)} clips (mean "
        f"distance {shown(wrong, 3)} against {shown(own, 3)}), and finds {right} of {tried} shifts of the sound to "
        "the frame."
    )


def offset_paragraph(scores: Sequence[Score], speech: str = "own") -> str:
    """Offsets of the true and the generated videos: median, spread, and how many lie within one frame of the median."""
    said = []
    for model in models_of(scores):
        values = np.array([v for _, v in values_of(scores, model, "offset_frames", speech=speech).values()])
        if len(values):
            near = np.mean(np.abs(values - np.median(values)) <= 1)
            said.append(
                f"{name_of(model)} {np.median(values):+.0f} (from {values.min():+.0f} to {values.max():+.0f}, "
                f"{near:.0%} within one frame of it)"
            )
    return f"Median offset in frames of 40 ms: {joined(said)}." if said else "Offsets were not measured."


def silence_paragraph(model: str, tests: Sequence[SilenceTest]) -> str:
    """How much of the true speech a film shows although its model heard nothing."""
    r = float(np.mean([t.mouth_correlation for t in tests]))
    near = sum(abs(t.offset_frames) <= 1 for t in tests)
    text = (
        f"Hearing silence, {name_of(model)} draws mouths whose opening follows the true ones with r = {shown(r)}, "
        f"and the judge still finds the clip's own sound within one frame on {near} of {len(tests)} clips."
    )
    if r > 0.2 or near > len(tests) / 2:
        return (
            f"{text} So part of what is measured on a clip's own speech was seen, not heard: the reference frame "
            "shows the mouth, and chin and cheeks stay those of the source. The dubbed clips are the honest ones."
        )
    return f"{text} So what is measured on a clip's own speech was heard, not seen."


def blur_paragraph(rows: Iterable[Summary]) -> str:
    """The article's claim "really blurry mouth animations", as numbers: sharpness of the mouth against the truth."""
    sharp = {r.model: r for r in rows if r.measure == "sharpness_ratio" and r.model != "truth"}
    if not sharp:
        return "Sharpness was not measured."
    said = [
        f"{name_of(m)} {shown(r.mean)}" + (f" [{shown(r.low)}, {shown(r.high)}]" if r.low is not None else "")
        for m, r in sharp.items()
    ]
    text = f"Sharpness of the mouth region, the true video being 1: {joined(said)}."
    if {"without", "with"} <= sharp.keys():
        gain = sharp["with"].mean - sharp["without"].mean
        verb = "adds" if gain > 0 else "takes away"
        text += f" The discriminator {verb} {shown(abs(gain))} of the truth's sharpness; the table says how surely."
    return text


def answer_paragraph(found: Iterable[Difference], measures: Sequence[str] = ANSWER) -> str:
    """The answer to the article's closing sentence, "no significant improvements"."""
    found = [d for d in found if d.measure in measures]
    said = []
    for model in dict.fromkeys(d.model for d in found):
        mine = [d for d in found if d.model == model]
        better, rest, worse = (titles(mine, kind) for kind in ("better", "unclear", "worse"))
        words = [f"significant in {joined(better)}"] if better else ["significant in none of them"]
        if rest and better:
            words.append(f"not shown in {joined(rest)}")
        if worse:
            words.append(f"negative in {joined(worse)}")
        said.append(f"for {name_of(model)} it is {', '.join(words)}")
    if not said:
        return "The models were not compared, so the question stays open."
    names = joined(list(dict.fromkeys(MEASURES[d.measure].title for d in found)))
    return f"The article saw no significant improvement. Measured here by {names}: {'; '.join(said)}."
