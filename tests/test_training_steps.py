"""The steps against a plain transcription of the published order of operations, in float64."""

import copy

import pytest
import torch
from torch.nn.functional import binary_cross_entropy, cosine_similarity

from lipsync_utils import models, training
from lipsync_utils.training.steps import expert_batch, generator_batch, middle_frame

WIDTH = 1 / 32


def make(network, seed=0):
    torch.manual_seed(seed)
    return network(WIDTH).double()


def batch(seed, size=2):
    rng = torch.Generator().manual_seed(seed)
    truth = torch.rand(size, 3, 5, 96, 96, generator=rng, dtype=torch.float64)
    masked = truth.clone()
    masked[..., 48:, :] = 0
    faces = torch.cat([masked, torch.rand(truth.shape, generator=rng, dtype=torch.float64)], 1)
    mels = torch.randn(size, 5, 1, 80, 16, generator=rng, dtype=torch.float64)
    return training.GeneratorBatch(faces, mels, mels[:, 2], truth)


def stack(faces):
    return torch.cat([faces[:, :, t, 48:] for t in range(5)], 1)


def bce_of_pair(expert, mel, faces, y):
    audio, face = expert(mel, faces)
    return binary_cross_entropy(cosine_similarity(audio, face).clamp(0, 1), y)


@pytest.mark.parametrize("with_disc", [False, True])
@pytest.mark.parametrize("expert_trains", [False, True])
def test_three_generator_steps_equal_the_published_order(with_disc, expert_trains):
    sync, disc_weight = (0.03, 0.07) if with_disc else (0.01, 0.0)
    nets = [make(models.Wav2Lip), make(models.SyncNet, 1), make(models.VisualQualityDiscriminator, 2)]
    twins = copy.deepcopy(nets)
    optimisers, others = (
        [torch.optim.Adam(n.parameters(), 1e-4, (0.5, 0.999)) for n in (g[0], g[2])] for g in (nets, twins)
    )
    for group in (nets, twins):
        group[1].train(expert_trains)
    generator, expert, disc = twins
    for step in range(3):
        b = batch(step)
        numbers = training.generator_step(
            nets[0],
            optimisers[0],
            b,
            expert=nets[1],
            sync_weight=sync,
            discriminator=nets[2] if with_disc else None,
            disc_optimizer=optimisers[1],
            disc_weight=disc_weight,
        )
        others[0].zero_grad()
        others[1].zero_grad()
        drawn = generator(b.mels, b.faces)
        s = bce_of_pair(expert, b.sync_mel, stack(drawn), torch.ones(2, dtype=torch.float64))
        l1 = (drawn - b.truth).abs().mean()
        loss = sync * s + (1 - sync - disc_weight) * l1
        if with_disc:
            seen = disc(drawn)
            loss = loss + disc_weight * binary_cross_entropy(seen, torch.ones_like(seen))
        loss.backward()
        others[0].step()
        others[1].zero_grad()
        if with_disc:
            real, fake = disc(b.truth), disc(drawn.detach())
            real_loss = binary_cross_entropy(real, torch.ones_like(real))
            real_loss.backward()
            fake_loss = binary_cross_entropy(fake, torch.zeros_like(fake))
            fake_loss.backward()
            others[1].step()
            assert numbers["disc_real"] == pytest.approx(real_loss.item(), abs=1e-9)
            assert numbers["disc_fake"] == pytest.approx(fake_loss.item(), abs=1e-9)
        assert numbers["total"] == pytest.approx(loss.item(), abs=1e-9)
        assert numbers["sync"] == pytest.approx(s.item(), abs=1e-9)
    compare(nets[0], twins[0])
    compare(nets[2], twins[2])


def compare(mine, other):
    biases_before_a_norm = {
        f"{n}.conv_block.0.bias" for n, m in other.named_modules() if hasattr(m, "conv_block") and len(m.conv_block) > 1
    }
    for (name, a), b in zip(mine.state_dict().items(), other.state_dict().values(), strict=True):
        if name not in biases_before_a_norm:  # their true gradient is zero, Adam amplifies the rounding
            assert torch.allclose(a, b, rtol=0, atol=1e-9), name


def test_three_expert_steps_equal_the_published_order():
    mine, other = make(models.SyncNet), make(models.SyncNet)
    optimiser, twin = (torch.optim.Adam(n.parameters(), 1e-4) for n in (mine, other))
    y = torch.tensor([1.0, 0, 0, 1], dtype=torch.float64)
    for step in range(3):
        b = batch(step, 4)
        numbers = training.expert_step(mine, optimiser, training.ExpertBatch(b.sync_mel, stack(b.truth), y))
        twin.zero_grad()
        loss = bce_of_pair(other, b.sync_mel, stack(b.truth), y)
        loss.backward()
        twin.step()
        assert numbers["total"] == pytest.approx(loss.item(), abs=1e-9)
    compare(mine, other)


def test_a_loss_that_is_no_number_leaves_the_weights_alone():
    generator = make(models.Wav2Lip)
    before = copy.deepcopy(list(generator.parameters()))
    b = batch(0)
    b.truth[0, 0, 0, 0, 0] = float("nan")
    numbers = training.generator_step(generator, torch.optim.Adam(generator.parameters()), b)
    assert numbers["total"] != numbers["total"]
    assert all(torch.equal(p, q) for p, q in zip(generator.parameters(), before))


def test_the_step_leaves_the_judges_gradients_as_they_were():
    expert, disc = make(models.SyncNet, 1).requires_grad_(False), make(models.VisualQualityDiscriminator, 2)
    generator = make(models.Wav2Lip)
    training.generator_step(
        generator,
        torch.optim.Adam(generator.parameters()),
        batch(0),
        expert=expert,
        sync_weight=0.1,
        discriminator=disc,
        disc_weight=0.1,
    )
    assert all(p.requires_grad for p in disc.parameters()) and not any(p.requires_grad for p in expert.parameters())
    assert all(p.grad is None for p in [*disc.parameters(), *expert.parameters()])


def test_items_become_what_the_networks_see():
    rng = torch.Generator().manual_seed(0)
    items = {
        name: torch.randint(0, 256, (4, 3, 5, 96, 96), generator=rng, dtype=torch.uint8) for name in ("faces", "wrong")
    }
    items |= {
        "mels": torch.randn(4, 5, 1, 80, 16),
        "sync_mel": torch.randn(4, 1, 80, 16),
        "label": torch.tensor([1.0, 0, 1, 0]),
    }
    b = generator_batch(items)
    assert b.faces.shape == (4, 6, 5, 96, 96) and (b.faces[:, :3, :, 48:] == 0).all()
    assert torch.equal(b.faces[:, :3, :, :48], b.truth[..., :48, :]) and torch.equal(
        b.faces[:, 3:], items["wrong"].float() / 255
    )
    one = generator_batch(middle_frame(items))
    assert torch.equal(one.mels, b.mels[:, 2:3]) and torch.equal(one.truth, b.truth[:, :, 2:3])
    assert torch.equal(one.faces, b.faces[:, :, 2:3])
    e = expert_batch(items)
    assert torch.equal(e.faces[0], stack(b.truth)[0]) and torch.equal(
        e.faces[1], stack(items["wrong"].float() / 255)[1]
    )
    assert torch.equal(expert_batch(items, contrastive=True).faces, stack(b.truth))
