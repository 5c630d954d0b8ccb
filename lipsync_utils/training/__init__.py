"""Training the expert and the generator, without and with the discriminator: notebooks 05, 06, 07 and 10.

train(settings, clips, run)         one run; resumes exactly
look(settings, clips)               preflight: data, judge, speed
judge(expert, clips)                how often the expert is right, and the offsets that it sees
score, means, gains                 a quick comparison of generators
generator_step, expert_step         one optimiser step on a batch
pretrain                            how the embedded weights were made
"""

from .checks import (
    ClipVerdict,
    ExpertReport,
    Preflight,
    alignment_scores,
    cosines_of,
    cost_lines,
    embed_clip,
    gains,
    judge,
    judge_clip,
    look,
    means,
    mouth_openings,
    redraw,
    score,
)
from .steps import (
    ExpertBatch,
    GeneratorBatch,
    discriminator_step,
    expert_batch,
    expert_step,
    generator_batch,
    generator_step,
)
from .trainer import TrainResult, open_network, read_history, train

__all__ = [
    "ClipVerdict",
    "ExpertBatch",
    "ExpertReport",
    "GeneratorBatch",
    "Preflight",
    "TrainResult",
    "alignment_scores",
    "cosines_of",
    "cost_lines",
    "discriminator_step",
    "embed_clip",
    "expert_batch",
    "expert_step",
    "gains",
    "generator_batch",
    "generator_step",
    "judge",
    "judge_clip",
    "look",
    "means",
    "mouth_openings",
    "open_network",
    "read_history",
    "redraw",
    "score",
    "train",
]
