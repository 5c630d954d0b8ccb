"""collect: rows become files, whatever the source does; wrong lists and files are in test_hostile_inputs."""

import functools
import hashlib
import http.server
import json
import re
import threading
from dataclasses import replace

import numpy as np
import pytest

from lipsync_utils import collect, media
from lipsync_utils.collect import archive
from lipsync_utils.config import CollectConfig, TalkshowConfig
from lipsync_utils.project import data_set
from lipsync_utils.records import Reason, Source, Video, read_rows, rows

FAST = CollectConfig(pause_s=0.0, retries=0, timeout_s=5.0)
OURS = {"licence": "CC BY 4.0", "consent": "written, 2026-03-01"}


def small_video(path, seconds=1.0, sound=True, seed=0):
    """A moving picture of noise with a tone."""
    rng = np.random.default_rng(seed)
    wav = (0.2 * np.sin(np.arange(int(16000 * seconds)) / 8)).astype(np.float32) if sound else None
    with media.VideoWriter(path, size=(64, 48), sound=wav) as writer:
        for _ in range(int(25 * seconds)):
            writer.write(rng.integers(0, 255, (48, 64, 3)).astype(np.uint8))
    return path


class Site(http.server.SimpleHTTPRequestHandler):
    """Serves a folder with ranges; a name that begins with 'broken' breaks off half-way unless a range is asked for."""

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        """Send a file, or a part of it."""
        self.server.asked.append((self.command, self.path, self.headers.get("Range")))
        path = self.server.folder / self.path.split("?")[0].rsplit("/", 1)[-1]
        if not path.is_file():
            self.send_error(404)
            return
        data, asked = path.read_bytes(), re.match(r"bytes=(\d+)-", self.headers.get("Range") or "")
        start = int(asked[1]) if asked else 0
        self.send_response(206 if asked else 200)
        self.send_header("Content-Type", "text/html" if path.name.startswith("page") else "video/mp4")
        self.send_header("Content-Length", str(len(data) - start))
        self.send_header("Accept-Ranges", "bytes")
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if body and path.name.startswith("broken") and not start:
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
        elif body:
            self.wfile.write(data[start:])

    def log_message(self, *_):
        pass


@pytest.fixture
def site(tmp_path):
    """A local web site; .address, .folder and .asked (what was requested)."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Site))
    server.folder, server.asked = tmp_path / "site", []
    server.folder.mkdir()
    server.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def data(tmp_path):
    return data_set("test", tmp_path / "data")


def collected(*arguments, **more):
    """What collect_videos wrote, as a list of dataclasses."""
    return rows(collect.collect_videos(*arguments, **more), Video)


def row(video_id, source, **more):
    fields = {"title": video_id, "language": "nl", "speaker": "host", **OURS, **more}
    return Source(video_id=video_id, source=str(source), **fields)


def test_local_files_are_copied_checked_and_described(data, tmp_path):
    path = small_video(tmp_path / "my video.mp4")
    collect.write_sources(data, [row("one", path), row("two", "../my video.mp4"), row("three", path.as_uri())])
    videos = collected(data, FAST, workers=1)
    assert [(r.file, r.reason) for r in videos] == [(f"raw/{i}.mp4", None) for i in ("one", "two", "three")]
    assert videos[0].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (videos[0].width_px, videos[0].height_px, videos[0].fps, videos[0].audio_hz) == (64, 48, 25.0, 16000)
    assert videos[0].duration_s == pytest.approx(1.0) and videos[0].size_bytes == path.stat().st_size
    assert read_rows(data.path("collected.csv"), Video) == videos


def test_done_is_done_and_a_changed_source_is_fetched_again(data, tmp_path):
    path = small_video(tmp_path / "a.mp4")
    collect.write_sources(data, [row("one", path)])
    collected(data, FAST, workers=1)
    before = data.path("raw/one.mp4").stat().st_mtime_ns
    table = data.path("collected.csv").read_bytes()
    collected(data, FAST, workers=1)
    assert data.path("raw/one.mp4").stat().st_mtime_ns == before and data.path("collected.csv").read_bytes() == table
    small_video(path, seed=1)
    assert collected(data, FAST, workers=1)[0].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    path.unlink()
    kept = collected(data, FAST, workers=1)[0]
    assert kept.reason is None and "source is gone" in kept.note


def test_no_video_without_licence_and_consent(data, tmp_path):
    path = small_video(tmp_path / "a.mp4")
    collect.write_sources(data, [row("a", path, licence=""), row("b", path, consent="unknown"), row("c", path)])
    videos = collected(data, FAST, workers=1)
    assert [r.reason for r in videos] == [Reason.NO_LICENCE, Reason.NO_CONSENT, None]
    assert "licence" in videos[0].note and [p.name for p in data.raw.iterdir()] == ["c.mp4"]
    collect.write_sources(data, [row("c", path, consent="no")])
    assert "forget" in collected(data, FAST, workers=1)[0].note


def test_addresses_are_downloaded_under_safe_names(data, site):
    small_video(site.folder / "film.mp4")
    title = "Talk/show: \"de 'beste'\" \\ 🎬?*"
    source = collect.source_from(f"{site.address}/a%20b/film.mp4?x=1", title, **OURS)
    assert source.video_id == "talk_show_de_beste" and source.title == title
    collect.write_sources(data, [source])
    videos = collected(data, FAST, workers=1)
    assert videos[0].sha256 == hashlib.sha256((site.folder / "film.mp4").read_bytes()).hexdigest()
    asked = len(site.asked)
    assert collected(data, FAST, workers=1) == videos and len(site.asked) == asked
    assert not list(data.path(".downloads").iterdir())


def test_a_broken_download_goes_on_where_it_was(data, site):
    small_video(site.folder / "broken.mp4", seconds=4)
    collect.write_sources(data, [row("one", f"{site.address}/broken.mp4")])
    first = collected(data, FAST, workers=1)[0]
    assert first.reason is Reason.DOWNLOAD_FAILED and "run again" in first.note
    arrived = data.path(".downloads/one/video.mp4.part").stat().st_size
    assert 0 < arrived <= (site.folder / "broken.mp4").stat().st_size // 2
    second = collected(data, FAST, workers=1)[0]
    assert second.sha256 == hashlib.sha256((site.folder / "broken.mp4").read_bytes()).hexdigest()
    assert ("GET", "/broken.mp4", f"bytes={arrived}-") in site.asked


def test_an_archive_that_breaks_off_goes_on_where_it_was(tmp_path, site):
    content = bytes(range(256)) * 999
    (site.folder / "broken.zip").write_bytes(content)
    archive.download(f"{site.address}/broken.zip", tmp_path)
    assert (tmp_path / "broken.zip").read_bytes() == content
    assert len(site.asked) == 2 and site.asked[1][2].startswith("bytes="), "in the same run"


def test_what_a_site_may_answer_instead(data, site):
    html = "<!DOCTYPE html><html><head><title>Sign in</title></head><body>please sign in</body></html>"
    (site.folder / "page.mp4").write_text(html)
    (site.folder / "lie.mp4").write_text(html * 30)
    small_video(site.folder / "good.mp4")
    names = ("missing", "page", "lie", "good")
    closed = row("closed", "http://127.0.0.1:9/x.mp4")
    collect.write_sources(data, [*(row(n, f"{site.address}/{n}.mp4") for n in names), closed])
    videos = {r.video_id: r for r in collected(data, FAST, workers=1)}
    assert {n: r.reason for n, r in videos.items()} == {
        "missing": Reason.NOT_FOUND,
        "page": Reason.UNREADABLE,
        "lie": Reason.UNREADABLE,
        "good": None,
        "closed": Reason.DOWNLOAD_FAILED,
    }
    assert "404" in videos["missing"].note and "web page" in videos["page"].note and "web page" in videos["lie"].note
    small_video(site.folder / "missing.mp4")
    assert collected(data, FAST, workers=1)[0].reason is None, "what failed is tried again"


def test_it_waits_before_a_download(data, site, monkeypatch):
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)
    small_video(site.folder / "film.mp4")
    collect.write_sources(data, [row("one", f"{site.address}/film.mp4")])
    assert collected(data, replace(FAST, pause_s=5.0), workers=1)[0].reason is None
    assert 5.0 in slept


def test_the_talk_show_is_a_source(data):
    show = TalkshowConfig(n_videos=1, seconds=4, n_held_out=1, held_out_seconds=2, width_px=160, height_px=120)
    sources = collect.sample(data, show)
    assert sources[0].source == "talkshow:1" and read_rows(data.path("videos.csv"), Source) == sources
    videos = collected(data, FAST, show=show, workers=1)
    assert videos[0].reason is None and videos[0].duration_s == pytest.approx(4.0)
    truth = json.loads(data.path(f"raw/{sources[0].video_id}.truth.json").read_text())
    assert truth["spoken"]
    assert collect.estimate(data, FAST, show=show).videos == 1


def test_the_estimate_counts_what_is_known(data, site, tmp_path):
    small_video(site.folder / "film.mp4")
    sources = [
        row("a", small_video(tmp_path / "a.mp4")),
        row("b", f"{site.address}/film.mp4"),
        row("c", "nowhere.mp4"),
        row("d", "x", licence=""),
    ]
    collect.write_sources(data, sources)
    found = collect.estimate(data, FAST)
    assert (found.videos, found.unknown_length) == (3, 2)
    assert found.media_min == pytest.approx(1 / 60, abs=0.01) and found.disk_mb > 0.1 and found.free_mb > found.disk_mb
    assert not data.raw.exists()
