"""Stage 03: which clips show the speaker.

find_candidates, choose   who is seen in the clips; the chosen pictures become references
filter_speaker            a verdict on every clip: speaker.csv (judge_clips: without writing it)
judge, suggest_tolerance  the rule, and where its tolerance should lie
sheet, score              pictures of the verdicts, and how right they are where the truth is known
"""

from .measure import SpeakerFace, frames_to_look_at
from .pictures import sheet
from .references import Candidate, choose, encode_references, find_candidates
from .score import Score, score
from .stage import SpeakerResult, filter_speaker, judge_clips
from .verdict import ARTICLE_TOLERANCE, judge, suggest_tolerance, tracks_of_speaker

__all__ = [
    "ARTICLE_TOLERANCE",
    "Candidate",
    "Score",
    "SpeakerFace",
    "SpeakerResult",
    "choose",
    "encode_references",
    "filter_speaker",
    "find_candidates",
    "frames_to_look_at",
    "judge",
    "judge_clips",
    "score",
    "sheet",
    "suggest_tolerance",
    "tracks_of_speaker",
]
