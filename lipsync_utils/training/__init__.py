"""Training the expert and the generator, without and with the discriminator: notebooks 05, 06, 07 and 10.

train(settings, clips, run)         one run; resumes exactly
look(settings, clips)               pre-flight: data, judge, speed
judge(expert, clips)                how often the expert is right, and the offsets that it sees
generator_step, expert_step         one optimiser step on a batch
"""

from .build import open_network
from .verdict import ExpertReport, judge, judge_clip
from .compare import ClipScore, difference, means, redraw, score, score_clip
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

__all__ = ["ClipScore", "ExpertBatch", "ExpertReport", "GeneratorBatch", "Preflight", "TrainResult", "cost_lines", "difference", "discriminator_step", "expert_batch",
           "expert_step", "generator_batch", "generator_step", "judge", "judge_clip", "look", "means", "open_network", "read_history", "redraw", "score", "score_clip",
           "train"]  # fmt: skip
