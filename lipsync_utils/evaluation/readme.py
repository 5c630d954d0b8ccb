"""The results section of the README, made from a run: `python -m lipsync_utils.evaluation.readme`.

Reads what notebooks 06, 07 and 09 left in outputs/ and what `make study` left in data/study/, draws docs/results_*, and
writes the text between two marker lines of README.md. No number of that section is typed by hand.
"""

import argparse
import logging
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from .. import plots
from ..config import EvaluationConfig, preset
from ..errors import DataError
from ..metrics import MEASURES
from ..project import data_set, home, setup_logging, write_text
from ..records import read_rows
from . import study_tables, words
from .clips import held_out
from .compare import differences, result_table, spread_of, summaries
from .films import strip, strip_frames
from .look import find_speaker, opening_of, region_of
from .models import RUNS, find_models, training_table
from .scores import Score
from .stage import film_of

log = logging.getLogger(__name__)

CHECKOUT = Path(__file__).resolve().parents[2]
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
#: What the README shows; each group says which sentence the clips speak.
OWN = ("l1", "identity_distance")
DUBBED = ("lse_d", "judge_distance", "mouth_correlation", "sharpness_ratio", "flicker")
TRAINED = ("steps", "windows a step", "learning rate", "sync weight", "discriminator weight")


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows))


def results(scores: Sequence[Score], settings: EvaluationConfig | None = None) -> str:
    """The table of means with intervals, a row per measure: own sentences first, then dubbed ones."""
    tables = {
        "own": result_table(scores, OWN, settings=settings),
        "dubbed": result_table(scores, DUBBED, settings=settings, speech="other"),
    }
    header, _ = tables["own"]
    return markdown_table(["sentence", *header], [[name, *row] for name, (_, rows) in tables.items() for row in rows])


def answers(scores: Sequence[Score], settings: EvaluationConfig | None = None) -> list[str]:
    """Paragraphs: the answer to the article, and how blurred the mouths are."""
    found = differences(scores, measures=["l1"], settings=settings)
    found += differences(scores, measures=words.ANSWER[:-1], settings=settings, speech="other")
    blur = words.blur_paragraph(summaries(scores, ["sharpness_ratio"], settings=settings))
    return [f"**{words.answer_paragraph(found)}**", blur]


def made_from(scores: Sequence[Score], trained: tuple[list[str], list[list[str]]], when: str, preset_name: str) -> str:
    """One paragraph: the run behind the numbers and its settings."""
    header, rows = trained
    models = [name.removesuffix(", here") for name in header if name.endswith(", here")]
    facts = {row[0]: row[1 : 1 + len(models)] for row in rows if row[0] in TRAINED}
    said = [f"{name} {' / '.join(dict.fromkeys(values))}" for name, values in facts.items()]
    videos = {s.video_id for s in scores if s.group == "speaker"}
    text = (
        f"Run of {when}, preset `{preset_name}`: {len(videos)} held-out videos of the speaker, sync measured by "
        f"the {scores[0].judge}, 95 % intervals over videos."
    )
    return f"{text} Fine-tuning ({' / '.join(models)}): {', '.join(said)}." if said else text


def section(
    scores: Sequence[Score], about: str, pictures: Sequence[tuple[str, str]], settings: EvaluationConfig | None = None
) -> str:
    """The section as Markdown. pictures: (file name in docs/, what it shows)."""
    study = [
        study_tables.trap_paragraph(study_tables.read_study(study_tables.TRAP_TABLE)[0]),
        study_tables.curve_paragraph(study_tables.read_study(study_tables.CURVE_TABLE)[0]),
    ]
    shown = [f"![{what}](docs/{name})" for name, what in pictures]
    return "\n\n".join([*answers(scores, settings), *shown[:1], results(scores, settings), about, *shown[1:], *study])


def put_into(readme: str, text: str) -> str:
    """The README with the text between its marker lines replaced. Raises DataError where they are missing."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise DataError(f"README.md needs the lines {BEGIN} and {END}, in this order")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def draw(scores: Sequence[Score], clips: Sequence, run: Path, folder: Path) -> list[tuple[str, str]]:
    """Draw the figures into `folder`; returns (file name, what it shows)."""
    clip = clips[0]
    _, boxes = find_speaker(clip.path, run / "cache")
    region = region_of(boxes, tuple(int(np.nanmax(boxes[:, side])) + 40 for side in (2, 3)), margin=0.05)
    films = {s.model: film_of(s, clips, run) for s in scores if s.clip_id == clip.clip_id and s.speech == "own"}
    at = strip_frames(opening_of(clip.path, boxes), 8)
    dubbed = differences(scores, measures=DUBBED, speech="other")
    figures = {
        "results_faces.jpg": (
            plots.model_strips(strip(films, at, crop=region), at, "The same frames"),
            "The same frames of the truth and of all models",
        ),
        "results_differences.png": (
            plots.forest(dubbed, spread_of(scores, speech="other"), "Difference to the base, dubbed"),
            "Differences to the base on dubbed clips, with intervals",
        ),
    }
    curve = study_tables.read_study(study_tables.CURVE_TABLE)[0]
    if curve:
        before, *points = study_tables.case_results(curve, "mouth_correlation")
        figures["results_curve.png"] = (
            plots.learning_curve(points, MEASURES["mouth_correlation"].label, before=before),
            "Mouth opening by seconds of the speaker in the training data",
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name, (figure, _) in figures.items():
        figure.savefig(folder / name, dpi=90, bbox_inches="tight")
        plt.close(figure)
    return [(name, about) for name, (_, about) in figures.items()]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    about, command = __doc__.split(": `")[0], "python -m lipsync_utils.evaluation.readme"
    parser = argparse.ArgumentParser(prog=command, description=about)
    parser.add_argument("--run", default="evaluation", help="folder of notebook 09 under outputs/")
    parser.add_argument("--preset", default="sample")
    parser.add_argument("--checkout", type=Path, default=CHECKOUT, help="where README.md and docs/ are")
    given = parser.parse_args(arguments)
    setup_logging()
    chosen, run = preset(given.preset), home() / "outputs" / given.run
    if not (run / "results.csv").is_file():
        raise DataError(f"{run / 'results.csv'} is missing: run notebook 09 first")
    scores = [score for score in read_rows(run / "results.csv", Score) if score.reason is None]
    when = time.strftime("%d %B %Y", time.gmtime((run / "results.csv").stat().st_mtime)).lstrip("0")
    about = made_from(scores, training_table(find_models(chosen, RUNS)[0]), when, given.preset)
    seen = {score.clip_id for score in scores}
    clips = [clip for clip in held_out(data_set(chosen.data), chosen.evaluation) if clip.clip_id in seen]
    pictures = draw(scores, clips, run, given.checkout / "docs")
    readme = given.checkout / "README.md"
    write_text(readme, put_into(readme.read_text(encoding="utf-8"), section(scores, about, pictures)))
    log.info("%s: results of %s", readme, when)


if __name__ == "__main__":
    main()
