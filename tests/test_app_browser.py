"""The web app in a real browser against a really started server: as a visitor with a mouse, a keyboard, bad files."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch

from lipsync_utils import checkpoints, metrics, talkshow
from lipsync_utils.inference import verify
from lipsync_utils.media import frames
from lipsync_utils.models import Wav2Lip

CHROMIUM = os.environ.get("LIPSYNC_CHROMIUM", "/usr/bin/chromium")
QUIET = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
WAIT_MS = 120_000
ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (requirements-dev.txt)")
    if not Path(CHROMIUM).exists():
        pytest.skip(f"no browser at {CHROMIUM}: apt-get install chromium, or set LIPSYNC_CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield running
        running.close()


@pytest.fixture(scope="module")
def visit(tmp_path_factory):
    """What visitors bring: a group picture, a sound, a text that calls itself a picture, and a large file."""
    folder = tmp_path_factory.mktemp("visit")
    people = [talkshow.host(), *talkshow.guests()[:2]]
    talkshow.group_picture(folder / "group.png", people, seed=3)
    rng = np.random.default_rng(0)
    from scipy.io import wavfile

    envelope = np.repeat([0.05, 1, 0.1, 1, 0.2, 1, 0], 2400)
    wavfile.write(folder / "hello.wav", 16000, (rng.standard_normal(len(envelope)) * envelope * 4000).astype(np.int16))
    (folder / "text.png").write_text("this is no picture")
    with (folder / "large.mp4").open("wb") as stream:
        stream.truncate(200_000_000)
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The embedded generator, or one of random weights where there is none yet: mouths change with either."""
    try:
        return checkpoints.embedded("generator")
    except checkpoints.CheckpointError:
        torch.manual_seed(0)
        return checkpoints.save(tmp_path_factory.mktemp("weights") / "random.pth", Wav2Lip(0.25))


@pytest.fixture(scope="module")
def server(tmp_path_factory, weights):
    """The app, started as `make app` starts it, with a temporary folder of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("server")
    environment = {**os.environ, "TMPDIR": str(folder), "LIPSYNC_HOME": str(ROOT)}
    log = (folder / "server.log").open("w")
    process = subprocess.Popen(
        [sys.executable, "-m", "lipsync_utils.picker.serve", "--port", str(port), "--generator", str(weights)],
        env=environment,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}/"
    try:
        for _ in range(240):
            if process.poll() is not None:
                pytest.fail("the server ended: " + (folder / "server.log").read_text()[-2000:])
            try:
                urllib.request.urlopen(url + "voila/static/voila-style.js", timeout=2).close()
                break
            except OSError:
                time.sleep(0.5)
        yield url, folder
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
        log.close()


class Page:
    """A visitor: a browser window with its console errors."""

    def __init__(self, browser, url, **options):
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.errors = []
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda e: self.errors.append(str(e)))
        self.page.set_default_timeout(WAIT_MS)
        self.page.goto(url)
        self.page.get_by_label("Picture or video").wait_for()

    def bring(self, label: str, path: Path) -> None:
        """Choose a file in the input with this label."""
        self.page.get_by_label(label).set_input_files(str(path))

    def faces(self):
        """The buttons over the faces."""
        self.page.locator(".lipsync-face").first.wait_for()
        return self.page.locator(".lipsync-face")

    def video(self, path: Path) -> list[np.ndarray]:
        """Wait for the finished video, download it as the link does, return its frames."""
        link = self.page.get_by_role("link", name="Download video")
        link.wait_for()
        with self.page.expect_download() as download:
            link.click()
        download.value.save_as(path)
        return [f.image_bgr for f in frames(path)]


@pytest.fixture
def visitor(browser, server):
    made = []

    def open_page(**options):
        made.append(Page(browser, server[0], **options))
        return made[-1]

    yield open_page
    for one in made:
        one.context.close()


def moved(pictures, box) -> tuple[float, float]:
    """How much a mouth moves over time: its pixels in levels, its landmarks in percent of the eyes' distance."""
    left, top, right, bottom = box
    part = np.stack([p[(top + bottom) // 2 : bottom, left:right].astype(float) for p in pictures])
    points = metrics.landmark_track(pictures, np.tile(box, (len(pictures), 1)))
    lips = points[:, 48:] - points[:, 48:].mean(axis=1, keepdims=True)
    wander = np.linalg.norm(lips - lips.mean(axis=0), axis=2).mean() / metrics.eye_distance(points).mean()
    return float(np.abs(part - part.mean(axis=0)).mean()), float(100 * wander)


def boxes_on(page, size):
    """Where the buttons say that the faces are, in pixels of the picture."""
    found = page.locator(".lipsync-face").evaluate_all(
        "all => all.map(b => [b.style.left, b.style.top, b.style.width, b.style.height].map(parseFloat))"
    )
    width, height = size
    return [
        (int(x * width / 100), int(y * height / 100), int((x + w) * width / 100), int((y + h) * height / 100))
        for x, y, w, h in found
    ]


def test_press_the_second_face_and_only_that_mouth_moves(visitor, visit, tmp_path):
    one = visitor()
    one.bring("Picture or video", visit / "group.png")
    assert one.faces().count() == 3
    boxes = boxes_on(one.page, (640, 480))
    one.faces().nth(1).click()
    one.bring("Speech of person 2", visit / "hello.wav")
    one.page.get_by_text("Says: hello.wav").wait_for()
    one.page.get_by_role("button", name="Preview one frame").click()
    one.page.get_by_text("Preview: the chosen mouths").wait_for()
    one.page.get_by_role("button", name="Make the video").click()
    pictures = one.video(tmp_path / "result.mp4")
    assert len(pictures) == round(16800 / 16000 * 25)
    levels, lips = zip(*(moved(pictures, box) for box in boxes))
    assert levels[1] > 3 * max(levels[0], levels[2]), levels
    assert lips[1] > 2 * max(lips[0], lips[2]), lips
    assert verify(tmp_path / "result.mp4").synthetic
    playing = one.page.locator("video").evaluate("v => v.play().then(() => v.duration)")
    assert playing == pytest.approx(len(pictures) / 25, abs=0.1)
    assert one.errors == []


def test_keyboard_only(visitor, visit, tmp_path):
    one = visitor()
    one.bring("Picture or video", visit / "group.png")  # the system's file dialogue is not part of the page
    one.faces()
    one.page.get_by_label("Picture or video").focus()
    one.page.keyboard.press("Tab")
    focused = "document.activeElement.getAttribute('aria-label')"
    assert one.page.evaluate(focused) == "Person 1 of 3, not chosen"
    one.page.keyboard.press("ArrowRight")
    one.page.keyboard.press("ArrowRight")
    one.page.keyboard.press("Space")
    one.page.get_by_label("Speech of person 3").wait_for()
    assert one.page.evaluate(focused) == "Person 3 of 3, chosen to speak"
    outline = one.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "the focus must be seen"
    one.bring("Speech of person 3", visit / "hello.wav")
    one.page.get_by_text("Says: hello.wav").wait_for()
    for _ in range(8):
        one.page.keyboard.press("Tab")
        if one.page.evaluate("document.activeElement.textContent").strip() == "Make the video":
            break
    one.page.keyboard.press("Enter")
    assert one.video(tmp_path / "result.mp4")
    assert one.errors == []


def test_two_visitors_do_not_see_each_others_files(visitor, visit, server, tmp_path):
    first, second = visitor(), visitor()
    first.bring("Picture or video", visit / "group.png")
    first.faces()
    assert second.page.locator(".lipsync-face").count() == 0 and "group.png" not in second.page.content()
    folders = list(server[1].glob("lipsync-session-*"))
    uploads = [sum(1 for f in folder.glob("*.png")) for folder in folders]
    assert sorted(uploads)[-2:] in ([0, 1], [1, 1])
    mine = max(folders, key=lambda folder: max((f.stat().st_mtime for f in folder.glob("*.png")), default=0))
    name = next(mine.glob("*.png")).name
    for path in (f"voila/files/{name}", f"voila/files/{mine.name}/{name}", f"files/{name}"):
        with pytest.raises(OSError):
            urllib.request.urlopen(server[0] + path, timeout=10)
    first.page.close(run_before_unload=True)
    for _ in range(120):
        if not mine.exists():
            break
        time.sleep(0.5)
    assert not mine.exists(), "a visit's files go away with it"
    assert second.errors == []


def test_bad_files_are_told_in_words(visitor, visit):
    one = visitor()
    one.bring("Picture or video", visit / "text.png")
    alert = one.page.get_by_role("alert")
    alert.wait_for()
    assert "text.png" in alert.inner_text() and not re.search(r"[0-9a-f]{32}", alert.inner_text())
    sent = []
    one.page.on("websocket", lambda socket: socket.on("framesent", lambda data: sent.append(len(data))))
    one.bring("Picture or video", visit / "large.mp4")
    one.page.get_by_text("large.mp4 has 200 MB; at most 100 MB are allowed").wait_for()
    assert sum(sent) < 1e6, "the size is checked before anything is sent"
    one.bring("Picture or video", visit / "hello.wav")
    one.page.get_by_text("this is a sound file").wait_for()
    one.bring("Picture or video", visit / "group.png")  # and it still works
    assert one.faces().count() == 3
    assert one.errors == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_light_and_dark(scheme, visitor, visit):
    one = visitor(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    one.bring("Picture or video", visit / "group.png")
    one.faces().nth(0).click()
    one.page.get_by_label("Speech of person 1").wait_for()
    assert one.page.evaluate("document.documentElement.scrollWidth") <= 390
    size = one.faces().nth(0).bounding_box()
    assert min(size["width"], size["height"]) >= 24
    colours = one.page.evaluate("""() => { const at = (e, p) => getComputedStyle(e)[p];
        const text = document.querySelector('.lipsync-stage .lipsync-state');
        return [at(text, 'color'), at(document.body, 'backgroundColor')]; }""")
    ink, paper = (np.array(re.findall(r"[\d.]+", c)[:3], float) for c in colours)
    assert (paper.mean() > ink.mean()) == (scheme == "light") and abs(paper.mean() - ink.mean()) > 120
    assert one.errors == []
