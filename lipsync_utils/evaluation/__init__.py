"""Stage 09: the models on clips that none of them was trained on, what the numbers say, and how sure they are.

held_out(data)                 the test clips of a data set
evaluate(models, clips, folder)   one row per model and clip -> results.csv; resumable
cross_check(clips)             is the judge itself right? mismatched and moved sound
means, differences, shown      means with intervals over videos, paired differences, both as tables for the eyes
films, side_by_side            what the models draw, beside each other
write_report                   one HTML file with everything inside
study                          what fine-tuning on a speaker is worth, what the article's traps cost (make study)
"""

from .measure import Judge, TestClip, cross_check, find_speaker, held_out, look_at_clip, region_of
from .results import differences, means, shown, side_by_side, strip_frames, write_report
from .stage import RUNS, Score, evaluate, fid_by_model, films, find_models, seen_videos, training_table
