"""Losses against golden numbers and numbers worked out by hand, and the sync schedule."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import filler

from lipsync_utils import losses, models
from lipsync_utils.errors import SettingError

GOLDEN = Path(__file__).parent / "golden"


def test_cosine_bce_by_hand():
    a = torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    v = torch.tensor([[0.6, 0.8], [0.8, 0.6]], dtype=torch.float64)
    together = losses.cosine_bce(a, v, torch.ones(2))
    assert together.item() == pytest.approx(-(math.log(0.6) + math.log(0.8)) / 2, abs=1e-12)
    mixed = losses.cosine_bce(a, v, torch.tensor([[1.0], [0.0]]))
    assert mixed.item() == pytest.approx(-(math.log(0.6) + math.log(0.2)) / 2, abs=1e-12)


def test_cosine_above_one_by_rounding_is_no_error():
    a = torch.rand(2000, 512)
    assert losses.cosine_bce(a, a, torch.ones(2000)).item() < 1e-5
    assert torch.nn.functional.cosine_similarity(a, a).max() > 1  # what would raise without the clamp


def test_an_all_zero_embedding_gives_the_largest_loss():
    assert losses.cosine_bce(torch.zeros(1, 8), torch.rand(1, 8), torch.ones(1)).item() == 100


def test_embeddings_without_anything_in_common_do_not_explode():
    a = torch.tensor([[1.0, 0.0], [0.6, 0.8]], requires_grad=True)
    v = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    loss = losses.cosine_bce(a, v, torch.ones(2))
    assert loss.item() == pytest.approx((100 - math.log(0.6)) / 2)
    loss.backward()
    assert a.grad[0].abs().max() == 0
    assert 0 < a.grad[1].abs().max() < 10


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_judged_in_float32_even_under_autocast(dtype):
    a, v = torch.rand(4, 16), torch.rand(4, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = losses.cosine_bce(a.to(dtype), v.to(dtype), torch.ones(4, dtype=dtype))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(losses.cosine_bce(a, v, torch.ones(4)).item(), abs=0.02)


def test_sync_loss_is_the_experts_cosine_on_lower_halves():
    expert = models.freeze(filler.load_into(models.SyncNet(0.25)))
    mel, faces = torch.rand(2, 1, 80, 16), torch.rand(2, 3, 5, 96, 96, requires_grad=True)
    loss = losses.sync_loss(expert, mel, faces)
    stacked = torch.cat([faces[:, :, t, 48:] for t in range(5)], dim=1)
    audio, face = expert(mel, stacked)
    assert loss.item() == pytest.approx(-(audio * face).sum(1).log().mean().item(), abs=1e-5)
    loss.backward()
    assert faces.grad[..., :48, :].abs().sum() == 0
    assert faces.grad[..., 48:, :].abs().sum() > 0


def test_sync_loss_stays_float32_under_autocast_and_float64_where_asked():
    expert = models.freeze(filler.load_into(models.SyncNet(0.25)))
    mel, faces = torch.rand(2, 1, 80, 16), torch.rand(2, 3, 5, 96, 96)
    plain = losses.sync_loss(expert, mel, faces)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert losses.sync_loss(expert, mel, faces).item() == plain.item()
    exact = losses.sync_loss(expert.double(), mel.double(), faces.double())
    assert exact.dtype == torch.float64
    assert exact.item() == pytest.approx(plain.item(), abs=1e-4)


@pytest.mark.parametrize(
    ("sync_weight", "disc_weight", "total"),
    [
        (0.0, 0.0, 0.5),
        (0.01, 0.0, 0.01 * 2 + 0.99 * 0.5),
        (0.03, 0.07, 0.03 * 2 + 0.07 * 3 + 0.9 * 0.5),
    ],
)
def test_generator_total_by_hand(sync_weight, disc_weight, total):
    assert losses.generator_total(0.5, 2.0, 3.0, sync_weight, disc_weight) == pytest.approx(total, abs=1e-12)


def test_a_term_without_weight_may_be_missing():
    assert losses.generator_total(0.5, None, None, 0.0, 0.0) == 0.5
    with pytest.raises(SettingError, match="weights"):
        losses.generator_total(0.5, 1.0, 1.0, 0.97, 0.07)


@pytest.mark.parametrize(("dtype", "suffix", "tolerance"), [(torch.float32, "", 1e-6), (torch.float64, "64", 1e-9)])
def test_discriminator_losses_match_the_golden_numbers(dtype, suffix, tolerance):
    golden = np.load(GOLDEN / "disc.npz")
    predicted = torch.from_numpy(golden[f"pred{suffix}"]).to(dtype)
    real, fake = losses.discriminator_loss(predicted, True).item(), losses.discriminator_loss(predicted, False).item()
    assert real == pytest.approx(float(golden["bce_real64"]), abs=tolerance)
    assert fake == pytest.approx(float(golden[f"bce_fake{suffix}"]), abs=tolerance)


def test_l1_by_hand():
    assert losses.l1(torch.tensor([0.0, 1.0]), torch.tensor([0.5, 0.0])).item() == 0.75


def test_contrastive_loss_knows_chance_and_success():
    loss = losses.ContrastiveLoss()
    same = torch.nn.functional.normalize(torch.ones(8, 4), dim=1)
    assert loss(same, same).item() == pytest.approx(math.log(8), abs=1e-6)
    assert loss(torch.eye(8), torch.eye(8)).item() < 1e-4
    assert loss(torch.eye(8), torch.eye(8).roll(1, 0)).item() > 10


def test_contrastive_temperature_learns():
    loss = losses.ContrastiveLoss()
    loss(torch.eye(4), torch.eye(4)).backward()
    assert loss.log_scale.grad.item() < 0  # matched pairs want a sharper softmax: descent raises the scale


def test_sync_weight_is_constant_ramps_or_waits_for_an_evaluation():
    weights = {
        name: [losses.scheduled_sync_weight(step, 0.03, name, ramp_steps=10) for step in (0, 5, 10, 99)]
        for name in ("constant", "ramp", "reference")
    }
    assert weights["constant"] == [0.03] * 4 and weights["reference"] == [0.0] * 4
    assert weights["ramp"] == pytest.approx([0, 0.015, 0.03, 0.03])
    assert losses.scheduled_sync_weight(5, 0.01, "reference", is_on=True) == 0.01


def test_mouth_l1_counts_the_mouth_more_and_an_even_difference_as_it_is():
    truth = torch.zeros(2, 3, 5, 96, 96)
    assert losses.mouth_l1(truth + 0.25, truth, 5.0).item() == pytest.approx(0.25)

    def of_a_patch(top, left):
        drawn = truth.clone()
        drawn[..., top : top + 4, left : left + 4] = 1.0
        return losses.mouth_l1(drawn, truth, 5.0).item()

    mouth, cheek, eye = of_a_patch(73, 46), of_a_patch(60, 4), of_a_patch(30, 30)
    assert mouth == pytest.approx(5 * cheek, rel=0.1) and cheek == pytest.approx(2 * eye, rel=0.1)
