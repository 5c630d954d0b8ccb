"""Weight files: every format in use, every known way to be wrong, and a local stand-in for the mirror."""

import functools
import hashlib
import http.server
import io
import logging
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import warnings
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from lipsync_utils import checkpoints, models, training
from lipsync_utils.checkpoints import registry
from lipsync_utils.errors import CheckpointError, SettingError

WIDTH = 0.0625
MEL, FACES = torch.zeros(2, 1, 80, 16), torch.zeros(2, 6, 96, 96)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(1)
    return models.Wav2Lip(WIDTH).eval()


def same(a, b):
    a, b = a.state_dict(), b.state_dict()
    return list(a) == list(b) and all(torch.equal(a[k], b[k]) for k in a)


def write_published(path, net):
    torch.save({"state_dict": net.state_dict(), "optimizer": None, "global_step": 7, "global_epoch": 2}, path)


def write_old_pickle(path, net):
    torch.save({"state_dict": net.state_dict(), "global_step": 7}, path, _use_new_zipfile_serialization=False)


def write_bare(path, net):
    torch.save(net.state_dict(), path)


def write_prefixed(path, net):
    torch.save({"state_dict": {f"module.{k}": v for k, v in net.state_dict().items()}}, path)


def write_safetensors(path, net):
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, path)


@functools.cache
def traced(net):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stream = io.BytesIO()
        torch.jit.save(torch.jit.trace(net, (MEL, FACES)), stream)
    return stream.getvalue()


def write_traced(path, net):
    path.write_bytes(traced(net))


@pytest.mark.parametrize(
    "write",
    [
        write_published,
        write_old_pickle,
        write_bare,
        write_prefixed,
        write_safetensors,
        write_traced,
    ],
)
def test_every_format_gives_the_same_network(tmp_path, net, write):
    path = tmp_path / "weights.pth"
    write(path, net)
    loaded = checkpoints.load(path, "generator")
    assert same(loaded, net)
    assert loaded.width == WIDTH
    assert not loaded.training
    assert checkpoints.metadata(path).mel_alignment == "reference"


def test_scripted_archives_are_read_too(tmp_path):
    expert = models.EvaluationSyncNet(WIDTH)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(expert).save(tmp_path / "a.pt")
    assert same(checkpoints.load(tmp_path / "a.pt", "evaluation"), expert)


@pytest.mark.parametrize("kind", checkpoints.KINDS)
def test_every_kind_is_recognised_by_its_tensors(tmp_path, kind):
    with torch.device("meta"):  # no time for random weights
        network = checkpoints.KINDS[kind]() if kind in ("detector", "reader") else checkpoints.KINDS[kind](0.125)
    network = network.to_empty(device="cpu")
    for tensor in network.state_dict().values():
        tensor.zero_()
    write_bare(tmp_path / "a.pth", network)
    found = checkpoints.read(tmp_path / "a.pth")
    assert (found.kind, found.width) == (kind, 1.0 if kind in ("detector", "reader") else 0.125)
    other = next(k for k in checkpoints.KINDS if k != kind)
    with pytest.raises(CheckpointError, match=f"wrong network: it holds a {kind}, wanted a {other}"):
        checkpoints.load(tmp_path / "a.pth", other)


def test_a_file_of_unknown_origin_loads_with_a_warning(tmp_path, net, caplog):
    write_published(tmp_path / "mine.pth", net)
    with caplog.at_level(logging.WARNING):
        assert checkpoints.read(tmp_path / "mine.pth").origin == "unknown"
    assert "unknown origin" in caplog.text


class Evil:
    def __reduce__(self):
        return os.mkdir, ("pwned",)


@pytest.mark.parametrize(
    "dump",
    [
        lambda path: torch.save({"state_dict": Evil()}, path),
        lambda path: torch.save({"state_dict": Evil()}, path, _use_new_zipfile_serialization=False),
        lambda path: path.write_bytes(pickle.dumps({"state_dict": Evil()})),
        lambda path: path.write_bytes(pickle.dumps({"state_dict": Evil()}, protocol=2)),
    ],
)
def test_a_pickle_that_runs_code_is_refused_and_said_so(tmp_path, monkeypatch, dump):
    monkeypatch.chdir(tmp_path)
    dump(tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match="runs code"):
        checkpoints.load(tmp_path / "evil.pth", "generator")
    assert not (tmp_path / "pwned").exists()


def test_code_hidden_in_a_torchscript_archive_is_refused(tmp_path, monkeypatch, net):
    monkeypatch.chdir(tmp_path)
    write_traced(tmp_path / "good.pt", net)
    with zipfile.ZipFile(tmp_path / "good.pt") as good, zipfile.ZipFile(tmp_path / "evil.pt", "w") as evil:
        for name in good.namelist():
            evil.writestr(name, pickle.dumps(Evil(), 2) if name.endswith("/data.pkl") else good.read(name))
    with pytest.raises(CheckpointError, match=r"refused.*runs code \(posix\.mkdir|nt\.mkdir"):
        checkpoints.load(tmp_path / "evil.pt", "generator")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>" * 900, "an HTML page"),
        (b"Entry not found", "text .* that begins 'Entry not found'"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1\n", "Git LFS pointer"),
        (b"\x00\x01\x02" * 400, "no known format"),
    ],
)
def test_what_is_no_weight_file_is_named(tmp_path, content, words):
    (tmp_path / "wav2lip.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=words):
        checkpoints.load(tmp_path / "wav2lip.pth", "generator")


def test_a_missing_file_and_a_foreign_zip_are_named(tmp_path):
    with pytest.raises(CheckpointError, match="no weight file at"):
        checkpoints.load(tmp_path / "missing.pth", "generator")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("notes.txt", "hello")
    with pytest.raises(CheckpointError, match="zip archive without weights"):
        checkpoints.load(tmp_path / "a.zip", "generator")


@pytest.mark.parametrize("write", [write_published, write_old_pickle, write_safetensors, write_traced])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_truncated_file_is_named(tmp_path, net, write, share):
    path = tmp_path / "weights.pth"
    write(path, net)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError, match="truncated"):
        checkpoints.load(path, "generator")


def test_a_wrong_width_is_named(tmp_path, net):
    write_bare(tmp_path / "a.pth", net)
    with pytest.raises(CheckpointError, match=r"width 0\.0625, wanted 1"):
        checkpoints.load(tmp_path / "a.pth", "generator", width=1.0)
    assert checkpoints.load(tmp_path / "a.pth", "generator", width=WIDTH).width == WIDTH


def test_shapes_that_disagree_and_missing_tensors_are_named(tmp_path, net):
    weights = dict(net.state_dict())
    torch.save({**weights, "output_block.1.bias": torch.zeros(4)}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"output_block\.1\.bias has shape \(4,\)"):
        checkpoints.load(tmp_path / "a.pth", "generator")
    weights.pop("output_block.1.bias")
    torch.save({**weights, "extra": torch.zeros(1)}, tmp_path / "b.pth")
    with pytest.raises(CheckpointError, match=r"1 tensors missing .*output_block.1.bias.*1 tensors unknown .*extra"):
        checkpoints.load(tmp_path / "b.pth", "generator")
    torch.save({"state_dict": "nothing"}, tmp_path / "c.pth")
    with pytest.raises(CheckpointError, match="holds no weights"):
        checkpoints.load(tmp_path / "c.pth", "generator")


def test_weights_that_are_not_numbers_are_named(tmp_path, net):
    torch.save({**net.state_dict(), "output_block.1.bias": torch.full((3,), float("nan"))}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="not numbers"):
        checkpoints.load(tmp_path / "a.pth", "generator")


def test_an_unknown_kind_is_a_setting_error(tmp_path):
    with pytest.raises(SettingError, match="generator"):
        checkpoints.load(tmp_path / "a.pth", "gan")


def test_our_checkpoint_holds_all_that_a_resume_needs(tmp_path, caplog):
    torch.manual_seed(2)
    net = models.SyncNet(WIDTH)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    audio, face = net(torch.rand(2, 1, 80, 16), torch.rand(2, 15, 48, 96))
    (audio - face).square().sum().backward()
    optimizer.step()
    path = checkpoints.save(
        tmp_path / "runs" / "expert.pt",
        net,
        optimizer=optimizer,
        step=12,
        epoch=3,
        settings={"learning_rate": 1e-3},
        videos=["v1"],
        mel_alignment="centred",
        state={"is_on": True, "rng": torch.get_rng_state()},
    )
    back = checkpoints.read(path, "expert")
    assert (back.step, back.settings) == (12, {"learning_rate": 1e-3})
    assert (back.videos, back.mel_alignment) == (("v1",), "centred")
    assert (back.origin, back.state["is_on"], back.width) == ("course", True, WIDTH)
    assert torch.equal(back.state["rng"], torch.get_rng_state())
    again = torch.optim.Adam(net.parameters(), 1e-3)
    again.load_state_dict(back.optimizer)
    assert torch.equal(again.state_dict()["state"][0]["exp_avg"], optimizer.state_dict()["state"][0]["exp_avg"])
    loaded = checkpoints.load(path, "expert")
    assert same(loaded, net)
    assert "unknown origin" not in caplog.text


def test_wrapped_networks_are_saved_bare_and_float64_survives(tmp_path):
    net = models.Wav2Lip(WIDTH).double()
    path = checkpoints.save(tmp_path / "a.pt", torch.nn.DataParallel(net))
    assert checkpoints.read(path).weights["output_block.1.weight"].dtype == torch.float64
    assert checkpoints.load(path, "generator").output_block[1].weight.dtype == torch.float32


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL does not exist on Windows")
def test_a_kill_during_a_save_leaves_the_old_checkpoint_good(tmp_path, net):
    path = checkpoints.save(tmp_path / "a.pt", net, step=1)
    code = f"""
        import itertools, sys
        from lipsync_utils import checkpoints, models, training
        net = models.Wav2Lip({WIDTH})
        print("ready", flush=True)
        for step in itertools.count(2):
            checkpoints.save(sys.argv[1], net, step=step)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), str(path)], stdout=subprocess.PIPE)
    process.stdout.readline()
    threading.Event().wait(0.4)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert checkpoints.read(path, "generator").step >= 1


def test_exported_weights_are_small_and_close(tmp_path, net):
    path = checkpoints.export(tmp_path / "generator.safetensors", net, mel_alignment="inference", steps=3, seed=1)
    assert path.stat().st_size < 0.6 * sum(t.numel() * 4 for t in net.state_dict().values())
    back = checkpoints.read(path, "generator")
    assert (back.origin, back.mel_alignment, back.settings) == ("course", "inference", {"steps": 3, "seed": 1})
    loaded = checkpoints.load(path, "generator")
    assert all(p.dtype == torch.float32 for p in loaded.parameters())
    with torch.no_grad():
        torch.testing.assert_close(loaded(MEL, FACES), net(MEL, FACES), atol=1e-3, rtol=0)


def test_export_refuses_what_float16_cannot_hold(tmp_path, net):
    wild = models.Wav2Lip(WIDTH)
    with torch.no_grad():
        wild.output_block[1].weight.fill_(1e6)
    with pytest.raises(CheckpointError, match="float16"):
        checkpoints.export(tmp_path / "a.safetensors", wild)


def test_embedded_weights_are_found_by_name_or_what_there_is_is_said():
    with pytest.raises(CheckpointError, match="nobody.*there are"):
        checkpoints.embedded("nobody")


def test_a_relative_path_of_weights_counts_from_the_projects_folder(tmp_path, monkeypatch):
    made = checkpoints.export(tmp_path / "home/outputs/mine.safetensors", models.SyncNet(1 / 32))
    monkeypatch.setenv("LIPSYNC_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert checkpoints.locate("outputs/mine.safetensors", "expert") == made
    assert same(training.open_network("expert", "outputs/mine.safetensors", 1 / 32), checkpoints.load(made, "expert"))
    assert checkpoints.locate("embedded", "expert") == checkpoints.embedded("expert")
    with pytest.raises(CheckpointError, match=r"no weights 'other\.pt': there is no .*home.other\.pt.*wav2lip_gan"):
        checkpoints.locate("other.pt", "expert")


def test_metadata_tells_all_but_the_weights(tmp_path):
    path = checkpoints.export(tmp_path / "a.safetensors", models.SyncNet(1 / 32), mel_alignment="centred", steps=7)
    found = checkpoints.metadata(path)
    assert (found.kind, found.width, found.mel_alignment, found.settings) == ("expert", 1 / 32, "centred", {"steps": 7})
    assert not found.weights


def test_the_registry_holds_the_published_facts():
    files = checkpoints.published()
    assert files["wav2lip"].size_bytes == 435807851
    assert files["syncnet_v2"].sha256.startswith("961e8696")
    assert {f.kind for f in files.values()} | {"reader"} == set(checkpoints.KINDS), "the reader is ours alone"
    assert all(len(f.sha256) == 64 for f in files.values())


class Mirror(http.server.BaseHTTPRequestHandler):
    """As much of the Hugging Face hub as a download needs; can hang up half way, once."""

    files: dict = {}
    hang_up_after = None
    requests: list = []

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.answer(with_body=True)

    def answer(self, with_body):
        content = self.files.get(self.path)
        self.requests.append((self.command, self.path, self.headers.get("Range")))
        if content is None:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = int(self.headers["Range"].removeprefix("bytes=").split("-")[0]) if "Range" in self.headers else 0
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", "a" * 40)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if not with_body:
            return
        if type(self).hang_up_after:
            self.wfile.write(content[start : start + type(self).hang_up_after])
            type(self).hang_up_after = None
            self.close_connection = True
            return
        self.wfile.write(content[start:])

    def log_message(self, *args):
        pass


@pytest.fixture
def mirror(monkeypatch):
    Mirror.files, Mirror.requests, Mirror.hang_up_after = {}, [], None
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield Mirror
    server.shutdown()
    server.server_close()


@pytest.fixture
def tiny_entry(tmp_path, net, monkeypatch):
    """A stand-in of the published format, entered into the registry with its true size and hash."""
    write_published(tmp_path / "source.pth", net)
    content = (tmp_path / "source.pth").read_bytes()
    entry = registry.PublishedFile(
        "wav2lip", "wav2lip.pth", "generator", "stand-in", len(content), hashlib.sha256(content).hexdigest()
    )
    monkeypatch.setitem(registry.REGISTRY, "wav2lip", entry)
    return content


def url_path(mirror=0):
    repository, folder = registry.MIRRORS[mirror]
    return f"/{repository}/resolve/main/{folder}/wav2lip.pth"


def test_fetch_brings_a_verified_file_once(tmp_path, mirror, tiny_entry, net, caplog):
    mirror.files[url_path()] = tiny_entry
    path = checkpoints.fetch("wav2lip", tmp_path / "weights")
    assert path == tmp_path / "weights" / "wav2lip.pth"
    assert "research and personal use" in caplog.text
    assert [p.name for p in path.parent.iterdir()] == ["wav2lip.pth"]
    assert checkpoints.read(path).origin == "published"
    assert same(checkpoints.load(path, "generator"), net)
    n = len(mirror.requests)
    assert checkpoints.fetch("wav2lip.pth", tmp_path / "weights") == path
    assert len(mirror.requests) == n


def test_an_interrupted_download_resumes(tmp_path, mirror, tiny_entry, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 64 * 1024)
    mirror.files[url_path()] = tiny_entry
    mirror.hang_up_after = len(tiny_entry) // 2
    try:
        path = checkpoints.fetch("wav2lip", tmp_path / "weights")
    except CheckpointError:  # gave up at once: the next call goes on
        path = checkpoints.fetch("wav2lip", tmp_path / "weights")
    assert path.read_bytes() == tiny_entry
    ranges = [r for command, _, r in mirror.requests if command == "GET" and r]
    assert any(int(r.removeprefix("bytes=").split("-")[0]) > 0 for r in ranges)


def test_the_second_mirror_helps_and_wrong_content_is_thrown_away(tmp_path, mirror, tiny_entry):
    mirror.files[url_path(0)] = b"<html>" + bytes(len(tiny_entry) - 6)
    mirror.files[url_path(1)] = tiny_entry
    assert checkpoints.fetch("wav2lip", tmp_path).read_bytes() == tiny_entry


def test_wrong_content_everywhere_is_refused(tmp_path, mirror, tiny_entry):
    mirror.files[url_path(0)] = b"<html>sorry</html>"
    mirror.files[url_path(1)] = tiny_entry[:-1] + bytes([tiny_entry[-1] ^ 1])
    with pytest.raises(CheckpointError, match="HTML page.*sha256"):
        checkpoints.fetch("wav2lip", tmp_path)
    assert not (tmp_path / "wav2lip.pth").exists()


def test_offline_says_what_to_do_by_hand(tmp_path, monkeypatch, tiny_entry):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("urllib.request.getproxies", dict)
    with pytest.raises(CheckpointError, match=r"Without a network: download .*wav2lip\.pth elsewhere and put it at"):
        checkpoints.fetch("wav2lip", tmp_path)


def test_a_wrong_file_in_place_is_not_overwritten(tmp_path):
    (tmp_path / "wav2lip.pth").write_bytes(b"mine")
    with pytest.raises(CheckpointError, match="is not the published"):
        checkpoints.fetch("wav2lip", tmp_path)
    assert (tmp_path / "wav2lip.pth").read_bytes() == b"mine"
    with pytest.raises(CheckpointError, match="there are wav2lip"):
        checkpoints.fetch("wav3lip", tmp_path)
