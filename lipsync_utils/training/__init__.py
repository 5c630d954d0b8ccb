"""Training the expert and the generator, without and with the discriminator: notebooks 05, 06, 07 and 10.

train(settings, clips, run)         one run; resumes exactly
look(settings, clips)               preflight: data, judge, speed
judge(expert, clips)                how often the expert is right, and the offsets that it sees
score, gains                        a quick comparison of generators
generator_step, expert_step         one optimiser step on a batch
pretrain                            how the embedded weights were made
"""

from .checks import alignment_scores, cost_lines, embed_clip, gains, judge, judge_clip, redraw, score
from .steps import ExpertBatch, GeneratorBatch, expert_step, generator_step
from .trainer import TrainResult, look, open_network, train
