"""Stage 03: which clips show the speaker.

find_candidates, choose   who is seen in the clips; the chosen pictures become references
filter_speaker            a verdict on every clip: speaker.csv
judge, suggest_tolerance  the rule, and where its tolerance should lie
"""
from .measure import SpeakerFace, frames_to_look_at
from .references import Candidate, choose, encode_references, find_candidates
from .stage import SpeakerResult, filter_speaker
from .verdict import ARTICLE_TOLERANCE, judge, suggest_tolerance, tracks_of_speaker

__all__ = ["ARTICLE_TOLERANCE", "Candidate", "SpeakerFace", "SpeakerResult", "choose", "encode_references",
           "filter_speaker", "find_candidates", "frames_to_look_at", "judge", "suggest_tolerance", "tracks_of_speaker"]
