"""Training the expert and the generator, without and with the discriminator: notebooks 05, 06, 07 and 10.

train(settings, clips, run)         one run; resumes exactly
look(settings, clips)               pre-flight: data, judge, speed
judge(expert, clips)                how often the expert is right, and the offsets that it sees
generator_step, expert_step         one optimiser step on a batch
"""

from .alignment import alignment_scores
from .build import hear_like, open_network
from .compare import ClipScore, difference, means, redraw, score, score_clip, table_text
from .cost import cost_lines
from .loop import TrainResult, train
from .preflight import Preflight, look
from .record import read_history
from .steps import (
    ExpertBatch,
    GeneratorBatch,
    discriminator_step,
    expert_batch,
    expert_step,
    generator_batch,
    generator_step,
)
from .verdict import ExpertReport, cosines_of, embed_clip, judge, judge_clip

__all__ = [
    "ClipScore",
    "ExpertBatch",
    "ExpertReport",
    "GeneratorBatch",
    "Preflight",
    "TrainResult",
    "alignment_scores",
    "cost_lines",
    "cosines_of",
    "difference",
    "discriminator_step",
    "embed_clip",
    "expert_batch",
    "expert_step",
    "generator_batch",
    "generator_step",
    "hear_like",
    "judge",
    "judge_clip",
    "look",
    "means",
    "open_network",
    "read_history",
    "redraw",
    "score",
    "score_clip",
    "table_text",
    "train",
]
