"""The networks against the published layouts, sizes and golden outputs."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import filler, inputs

from lipsync_utils import models
from lipsync_utils.errors import SettingError
from lipsync_utils.models import s3fd

GOLDEN = Path(__file__).parent / "golden"
SIZES = json.loads((GOLDEN / "network_sizes.json").read_text())
NETWORKS = {
    "wav2lip_generator": models.Wav2Lip,
    "wav2lip_disc": models.VisualQualityDiscriminator,
    "color_syncnet": models.SyncNet,
    "joonson_syncnet": models.EvaluationSyncNet,
    "s3fd_wav2lip": models.S3FD,
}


def tensors(*arrays, dtype=torch.float32):
    return [torch.from_numpy(a).to(dtype) for a in arrays]


@pytest.fixture(scope="module")
def generator():
    return filler.load_into(models.Wav2Lip(), tame=True).eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_layout_size_and_filled_weights_are_the_published_ones(name):
    net = NETWORKS[name]()
    layout = [[k, list(t.shape), str(t.dtype).removeprefix("torch.")] for k, t in net.state_dict().items()]
    assert layout == json.loads((GOLDEN / f"{name}_keys.json").read_text())
    assert len(layout) == SIZES[name]["keys"]
    assert sum(p.numel() for p in net.parameters()) == SIZES[name]["params"]
    assert sum(b.numel() for b in net.buffers()) == SIZES[name]["buffers"]
    if SIZES[name]["filler_crc32"]:
        assert filler.checksum(filler.load_into(net)) == SIZES[name]["filler_crc32"]


def count_macs(net, run):
    """Multiply-adds by first name of the part; a transposed convolution counts input x kernel."""
    macs, hooks = Counter(), []

    def hook(module, args, out, name):
        positions = args[0].shape[2:].numel() if isinstance(module, torch.nn.ConvTranspose2d) else out.shape[2:].numel()
        macs[name.split(".")[0]] += module.weight.numel() * positions

    for name, module in net.named_modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Conv3d, torch.nn.ConvTranspose2d, torch.nn.Linear)):
            hooks.append(module.register_forward_hook(lambda m, a, o, name=name: hook(m, a, o, name)))
    with torch.no_grad():
        run(net.eval())
    for h in hooks:
        h.remove()
    return dict(macs)


@pytest.mark.parametrize(
    ("name", "run"),
    [
        ("wav2lip_generator", lambda n: n(torch.zeros(1, 1, 80, 16), torch.zeros(1, 6, 96, 96))),
        ("wav2lip_disc", lambda n: n(torch.zeros(1, 3, 96, 96))),
        ("color_syncnet", lambda n: n(torch.zeros(1, 1, 80, 16), torch.zeros(1, 15, 48, 96))),
        (
            "joonson_syncnet",
            lambda n: (n.embed_face(torch.zeros(1, 3, 5, 224, 224)), n.embed_audio(torch.zeros(1, 1, 13, 20))),
        ),
        ("s3fd_wav2lip", lambda n: n(torch.zeros(1, 3, 256, 256))),
    ],
)
def test_work_per_part_is_the_published_one(name, run):
    """Strides and paddings leave no trace in the weights; the multiply-adds of each part betray them."""
    assert count_macs(NETWORKS[name](), run) == {part: n for part, (n, _) in SIZES[name]["groups"].items()}


def test_generator_matches_the_golden_output(generator):
    golden = np.load(GOLDEN / "generator_tame_single.npz")
    with torch.no_grad():
        out = generator(*tensors(*inputs.gen_single())).numpy()
    assert out.shape == tuple(golden["shape"])
    np.testing.assert_allclose(out.ravel()[:: golden["every"]], golden["out"], atol=1e-5)


def test_generator_matches_in_float64():
    golden = np.load(GOLDEN / "generator_tame_single.npz")
    net = filler.load_into(models.Wav2Lip(), tame=True).eval().double()
    logits = []
    net.output_block[1].register_forward_hook(lambda m, a, out: logits.append(out.numpy()))
    with torch.no_grad():
        out = net(*tensors(*inputs.gen_single(), dtype=torch.float64)).numpy()
    np.testing.assert_allclose(out.ravel()[:: golden["every"]], golden["out64"], atol=1e-9)
    np.testing.assert_allclose(logits[0].ravel()[:: golden["every"]], golden["logits64"], atol=1e-9)
    np.testing.assert_allclose([out.mean(), out.std(), out.min(), out.max()], golden["out64_stats"], atol=1e-9)


def test_a_window_of_frames_is_its_frames_one_by_one(generator):
    mel, faces = tensors(*inputs.gen_seq())
    with torch.no_grad():
        together = generator(mel, faces)
        alone = torch.stack([generator(mel[:, t], faces[:, :, t]) for t in range(5)], dim=2)
    assert together.shape == (2, 3, 5, 96, 96)
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("dtype", "suffix", "tolerance"), [(torch.float32, "", 1e-6), (torch.float64, "64", 1e-9)])
def test_discriminator_matches_the_golden_output(dtype, suffix, tolerance):
    golden = np.load(GOLDEN / "disc.npz")
    net = filler.load_into(models.VisualQualityDiscriminator()).eval().to(dtype)
    (video,) = tensors(inputs.disc_video(), dtype=dtype)
    with torch.no_grad():
        np.testing.assert_allclose(net(video).numpy(), golden[f"pred{suffix}"], atol=tolerance)
        np.testing.assert_allclose(net.perceptual_loss(video).item(), golden[f"perceptual{suffix}"], atol=tolerance)


def test_discriminator_looks_at_the_lower_half_only():
    net = filler.load_into(models.VisualQualityDiscriminator(0.25)).eval()
    faces = torch.rand(1, 3, 2, 96, 96)
    other = faces.clone()
    other[..., :48, :] = 0
    assert torch.equal(net(faces), net(other))


def test_expert_gives_unit_vectors_without_negative_entries():
    expert = filler.load_into(models.SyncNet()).eval()
    with torch.no_grad():
        audio, face = expert(*tensors(*inputs.color_sync()))
    for embedding in (audio, face):
        assert embedding.shape == (4, 512)
        assert embedding.min() >= 0
        torch.testing.assert_close(embedding.norm(dim=1), torch.ones(4))


def test_expert_input_is_the_lower_halves_frame_by_frame():
    faces = torch.rand(2, 3, 5, 96, 96)
    stacked = models.stack_lower_halves(faces)
    assert stacked.shape == (2, 15, 48, 96)
    for frame in range(5):
        assert torch.equal(stacked[:, 3 * frame : 3 * frame + 3], faces[:, :, frame, 48:])


@pytest.mark.parametrize("width", [0.25, 0.3, 0.5])
def test_narrow_networks_keep_the_layout(width):
    for name, network in list(NETWORKS.items())[:4]:
        narrow = network(width)
        assert list(narrow.state_dict()) == [k for k, *_ in json.loads((GOLDEN / f"{name}_keys.json").read_text())]
    out = models.Wav2Lip(width)(torch.zeros(2, 1, 80, 16), torch.zeros(2, 6, 96, 96))
    assert out.shape == (2, 3, 96, 96)
    assert models.Wav2Lip(models.Wav2Lip(width).width).width == models.Wav2Lip(width).width


@pytest.mark.parametrize("width", [0, -1, 9, float("nan")])
def test_an_impossible_width_is_refused(width):
    with pytest.raises(SettingError, match="width"):
        models.SyncNet(width)


def test_a_frozen_expert_has_no_gradients_and_fixed_statistics():
    expert = models.freeze(models.SyncNet(0.25))
    before = {k: v.clone() for k, v in expert.state_dict().items()}
    faces = torch.rand(2, 15, 48, 96, requires_grad=True)
    audio, face = expert(torch.rand(2, 1, 80, 16), faces)
    (audio * face).sum().backward()
    assert faces.grad.abs().sum() > 0
    assert all(p.grad is None for p in expert.parameters())
    assert all(torch.equal(v, before[k]) for k, v in expert.state_dict().items())


@pytest.mark.parametrize("conv", [torch.nn.Conv2d(4, 4, 3, padding=1), torch.nn.ConvTranspose2d(4, 4, 3, padding=1)])
def test_training_through_a_norm_that_keeps_its_statistics_equals_the_two_layers(conv):
    torch.manual_seed(0)
    block = models.networks.Block(conv, residual=True).double()
    x, norm = torch.randn(3, 4, 8, 8, dtype=torch.float64), block.conv_block[1]
    block(x)  # statistics
    results = []
    for tuned in (True, False):
        block.train(tuned).zero_grad()
        norm.eval()
        out = block(x)
        out.square().sum().backward()
        results.append([out.detach(), *(p.grad.clone() for p in block.parameters())])
    for one, two in zip(*results):
        torch.testing.assert_close(one, two, atol=1e-11, rtol=1e-11)


def silent_s3fd():
    """An S3FD that sees nothing, whatever it is shown."""
    net = models.S3FD().eval()
    with torch.no_grad():
        for p in net.parameters():
            p.zero_()
        for name in s3fd.HEADS:
            bias = net.get_submodule(f"{name}_mbox_conf").bias
            bias.copy_(torch.tensor([9.0] * (len(bias) - 1) + [0.0]))
    return net


def test_s3fd_boxes_are_decoded_by_hand():
    """One anchor of stride 16 at column 3, row 2: centre (56, 40), side 64, moved by 0.1 and grown by e^0.2."""
    logits, offsets = torch.zeros(1, 2, 5, 5), torch.zeros(1, 4, 5, 5)
    logits[:, 0], logits[0, :, 2, 3] = 9.0, torch.tensor([0.0, 9.0])
    offsets[0, :, 2, 3] = torch.tensor([1.0, 0.0, 1.0, 0.0])
    (row,) = s3fd._level(logits, offsets, 16).tolist()
    width = 64 * np.exp(0.2)
    expected = [62.4 - width / 2, 40 - 32, 62.4 + width / 2, 40 + 32, 1 / (1 + np.exp(-9))]
    assert row == pytest.approx(expected, abs=1e-3)


def test_s3fd_keeps_the_best_of_overlapping_boxes():
    rows = np.array([[0, 0, 9, 9, 0.6], [0, 0, 9, 8, 0.9], [20, 20, 29, 29, 0.7], [6, 0, 15, 9, 0.5]])
    assert s3fd.suppress_overlaps(rows).tolist() == [1, 2, 3]  # the last shares 4 of 16 columns: 0.24


def test_s3fd_finds_nothing_and_something():
    net = silent_s3fd()
    frame = np.zeros((128, 160, 3), np.uint8)
    assert models.detect_faces(net, frame).shape == (0, 5)
    with torch.no_grad():
        net.conv7_2_mbox_conf.bias.copy_(torch.tensor([0.0, 3.0]))
    faces = models.detect_faces(net, frame)
    assert faces[0, 4] == pytest.approx(1 / (1 + np.exp(-3)), abs=1e-6)
    assert faces[0, 2] - faces[0, 0] == pytest.approx(512)
