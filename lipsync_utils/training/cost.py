"""What a run costs: here from a measured step, elsewhere as an estimate from the number of multiplications."""

from __future__ import annotations

from ..config import TrainConfig

GENERATOR_GMAC, EXPERT_GMAC, DISCRIMINATOR_GMAC = 3.967, 1.210, 1.256  # per frame, window, frame at width 1.0
T4_TFLOPS = 8.0  # an estimate: what convolutions in fp16 get of a T4's 65; not measured by us


def step_gmacs(settings: TrainConfig) -> float:
    """Billions of multiplications of one training step: a backward pass counts twice, frozen networks once."""
    scale, windows, frames = settings.width**2, settings.batch_size, 5 * settings.batch_size
    if settings.network == "expert":
        return 3 * windows * EXPERT_GMAC * scale
    total = 3 * frames * GENERATOR_GMAC
    total += 2 * windows * EXPERT_GMAC if settings.sync_weight else 0
    total += (2 + 6) * frames * DISCRIMINATOR_GMAC if settings.disc_weight else 0
    return total * scale


def estimate_s(settings: TrainConfig, tflops: float = T4_TFLOPS) -> float:
    """Estimated seconds of all steps on a machine with so many useful TFLOP/s, without loading and evaluation."""
    return settings.steps * step_gmacs(settings) * 2e9 / (tflops * 1e12)


def cost_lines(settings: TrainConfig, s_per_step: float, article: TrainConfig, clips: int = 4700) -> list[str]:
    """Sentences for a notebook: this run here, and the article's size on a T4 (an estimate).

    clips: of the article; an epoch of the reference is one window of each.
    """
    t4_s = estimate_s(article) / article.steps
    epochs = article.steps * article.batch_size / clips
    return [
        f"here: {settings.steps} steps of {settings.batch_size} windows at {s_per_step:.2f} s "
        f"= {settings.steps * s_per_step / 60:.1f} min",
        f"at article size on a T4 (ESTIMATE from {step_gmacs(article):.0f} G multiplications a step at {T4_TFLOPS:g} "
        f"TFLOP/s): "
        f"{t4_s:.2f} s a step, {article.steps} steps = {article.steps * t4_s / 3600:.1f} h, "
        f"{epochs:.0f} epochs of {clips} clips in the published code's counting",
    ]
