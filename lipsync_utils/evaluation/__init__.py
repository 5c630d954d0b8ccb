"""Stage 09: the models on clips that none of them was trained on, what the numbers say, and how sure they are.

held_out(data)                 the test clips of a data set
evaluate(models, clips, folder)   one row per model and clip -> results.csv; resumable
cross_check(clips)             is the judge itself right? mismatched and moved sound
result_table, differences, words   means with intervals over videos, paired differences, sentences made of them
side_by_side, strip            films and pictures of several models at the same frames
Report                         one HTML file with everything inside
study                          what the article's traps cost; how much speaker data is needed (make study)
"""

from .clips import TestClip, held_out, rendered_clips, validation_clips
from .compare import (
    Difference,
    Summary,
    difference_table,
    differences,
    models_of,
    result_table,
    spread_of,
    summaries,
    values_of,
    worst_clips,
)
from .crowd import fid_by_model
from .films import side_by_side, strip, strip_frames
from .judge import CrossCheck, cross_check, judge_name, load_judge
from .look import find_speaker, opening_of, region_of
from .models import RUNS, base_weights, find_models, seen_videos, training_table
from .report import Report, table_html
from .scores import Score
from .silence import SilenceTest, silence_test
from .stage import TRUTH, evaluate, film_of

__all__ = [
    "CrossCheck",
    "Difference",
    "RUNS",
    "Report",
    "Score",
    "SilenceTest",
    "Summary",
    "TRUTH",
    "TestClip",
    "base_weights",
    "cross_check",
    "difference_table",
    "differences",
    "evaluate",
    "fid_by_model",
    "film_of",
    "find_models",
    "find_speaker",
    "held_out",
    "judge_name",
    "load_judge",
    "models_of",
    "opening_of",
    "region_of",
    "rendered_clips",
    "result_table",
    "seen_videos",
    "side_by_side",
    "silence_test",
    "spread_of",
    "strip",
    "strip_frames",
    "summaries",
    "table_html",
    "training_table",
    "validation_clips",
    "values_of",
    "worst_clips",
]
