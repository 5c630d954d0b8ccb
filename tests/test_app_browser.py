"""The web app in a real browser against a really started server: as a visitor with a mouse, a keyboard, bad files."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from jupyter_server.services.kernels.connection.base import serialize_msg_to_ws_v1
from tornado.websocket import WebSocketClosedError, websocket_connect

from lipsync_utils import checkpoints, metrics, talkshow
from lipsync_utils.inference import verify
from lipsync_utils.media import frames
from lipsync_utils.models import Wav2Lip

CHROMIUM = os.environ.get("LIPSYNC_CHROMIUM", "/usr/bin/chromium")
QUIET = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
WAIT_MS = 60_000
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
    tall = cv2.imread(str(talkshow.portrait(folder / "portrait.png", people[0], seed=5)))
    cv2.imwrite(str(folder / "tall.png"), cv2.copyMakeBorder(tall, 0, tall.shape[1] * 16 // 9 - tall.shape[0], 0, 0, 1))
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
        yield url, folder, process.pid
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
        self.page.get_by_label("picture or video").wait_for(state="attached")

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


@pytest.fixture(scope="module")
def page(browser, server):
    """One visitor for the tests below that take the page as it is."""
    one = Page(browser, server[0])
    yield one
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
    one.bring("picture or video", visit / "group.png")
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
    one.bring("picture or video", visit / "group.png")  # the system's file dialogue is not part of the page
    one.faces()
    one.page.get_by_label("picture or video").focus()
    one.page.keyboard.press("Tab")
    focused = "document.activeElement.getAttribute('aria-label')"
    assert one.page.evaluate(focused) == "Person 1 of 3, not chosen"
    one.page.keyboard.press("ArrowRight")
    one.page.keyboard.press("ArrowRight")
    one.page.keyboard.press("Space")
    one.page.get_by_label("Speech of person 3").wait_for(state="attached")
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
    first.bring("picture or video", visit / "group.png")
    first.faces()
    assert second.page.locator(".lipsync-face").count() == 0 and "group.png" not in second.page.content()
    folders = list(server[1].glob("lipsync-session-*"))
    uploads = [sum(1 for f in folder.rglob("*.png")) for folder in folders]
    assert sorted(uploads)[-2:] in ([0, 1], [1, 1])
    mine = max(folders, key=lambda folder: max((f.stat().st_mtime for f in folder.rglob("*.png")), default=0))
    name = next(mine.rglob("*.png")).relative_to(mine).as_posix()
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


def test_it_fits_a_phone_and_a_desktop_in_light_and_dark(page, visit):
    """The picture fits into the window with the buttons beside or below it, above the fold."""
    one = page
    fine = one.page.get_by_text("Use only pictures of people who agreed")
    first = one.page.get_by_text("Choose a picture or video")
    parts = one.page.get_by_role("button", name="Make the video"), one.page.locator(".lipsync-faces")
    views = [(390, 844, "light"), (390, 844, "dark"), (1280, 800, "light")]
    assert first.bounding_box()["y"] < fine.bounding_box()["y"], "the fine print comes after the first button"
    for picture in ("tall.png", "group.png"):
        one.bring("picture or video", visit / picture)
        one.page.get_by_alt_text(picture).wait_for()
        if picture == "group.png":
            one.faces().nth(0).click()
        one.page.get_by_label("Speech of person 1").wait_for(state="attached")
        for width, height, scheme in views:
            one.page.set_viewport_size({"width": width, "height": height})
            one.page.emulate_media(color_scheme=scheme)
            for box in (part.bounding_box() for part in parts):
                inside = box["y"] >= 0 and box["y"] + box["height"] <= height and box["x"] + box["width"] <= width
                assert inside, (picture, width, box)
            assert one.page.evaluate("document.documentElement.scrollWidth") <= width
            size = one.faces().nth(0).bounding_box()
            assert min(size["width"], size["height"]) >= 24
            colours = one.page.evaluate("""() => { const at = (e, p) => getComputedStyle(e)[p];
                const text = document.querySelector('.lipsync-panel p');
                return [at(text, 'color'), at(document.body, 'backgroundColor')]; }""")
            ink, paper = (np.array(re.findall(r"[\d.]+", c)[:3], float) for c in colours)
            assert (paper.mean() > ink.mean()) == (scheme == "light") and abs(paper.mean() - ink.mean()) > 120
    assert one.errors == []


def test_bad_files_are_told_in_words(page, visit):
    one = page
    one.bring("picture or video", visit / "text.png")
    alert = one.page.get_by_role("alert")
    alert.get_by_text("text.png").or_(alert.filter(has_text="text.png")).first.wait_for()
    assert not re.search(r"[0-9a-f]{32}", alert.inner_text())
    sent = []
    one.page.on("websocket", lambda socket: socket.on("framesent", lambda data: sent.append(len(data))))
    one.bring("picture or video", visit / "large.mp4")
    one.page.get_by_text("large.mp4 has 200 MB; at most 100 MB are allowed").wait_for()
    assert alert.count() == 1 and "text.png" not in alert.inner_text(), "the alert of the file before is gone"
    assert sum(sent) < 1e6, "the size is checked before anything is sent"
    one.bring("picture or video", visit / "hello.wav")
    one.page.get_by_text("has no picture").wait_for()
    one.bring("picture or video", visit / "group.png")  # and it still works
    alert.wait_for(state="detached")  # the faces of the test before stand there until then
    one.page.get_by_text("looking for faces").wait_for(state="hidden")
    assert one.faces().count() == 3 and alert.count() == 0
    assert one.errors == []


def test_when_the_kernel_is_gone_the_page_says_so_and_begins_again(page, server):
    one = page
    kernel = one.page.evaluate("JSON.parse(document.getElementById('jupyter-config-data').textContent).kernelId")
    ended = one.page.get_by_text("This visit has ended")
    assert not ended.is_visible()
    urllib.request.urlopen(urllib.request.Request(f"{server[0]}voila/api/shutdown/{kernel}", b""), timeout=30).close()
    one.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # as when the visitor comes back
    ended.wait_for()
    one.page.get_by_role("button", name="Begin again").click()
    ended.wait_for(state="hidden")
    one.page.get_by_label("picture or video").wait_for(state="attached")


# Strangers: no browser, only sockets


def message(channel: str = "shell", kind: str = "comm_msg", n_bytes: int = 0, target: str = "x") -> bytes:
    """A message as a page sends it."""
    header = {"msg_id": os.urandom(8).hex(), "msg_type": kind, "session": "x", "username": "", "version": "5.3"}
    content = {"comm_id": "none", "target_name": target, "data": {}}
    return serialize_msg_to_ws_v1(
        [*(json.dumps(p).encode() for p in (header, {}, {}, content)), bytes(n_bytes)], channel
    )


FLOODS = {
    "a count of parts that makes the server build an endless list": [
        (8_000_000).to_bytes(8, "little") + bytes(1 << 20)
    ],
    "bytes that are no message": [bytes(1 << 20)] * 3,
    "a text": ["{}"],
    "one message over the limit": [message(n_bytes=3 << 20)],
    "messages that nobody reads": [message("stdin", n_bytes=1 << 20)] * 20,
    "the same message twice": [message(n_bytes=1 << 20)] * 60,
    "more than the kernel keeps up with": [message(n_bytes=1 << 20) for _ in range(60)],
    "a comm that the page does not have": [message(kind="comm_open", target="jupyter.widget")],
    "code": [message(kind="execute_request")],
}


def test_a_flood_over_a_kernels_channel_ends_with_a_closed_socket(server):
    url, _, process = server
    status = Path(f"/proc/{process}/status")

    def memory_mb() -> int:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read_text())[1]) // 1024 if status.exists() else 0

    def socket_of(kernel: str, session: str):
        address = f"{url.replace('http', 'ws')}api/kernels/{kernel}/channels?session_id={session}"
        return websocket_connect(address, subprotocols=["v1.kernel.websocket.jupyter.org"])

    async def is_closed(socket, timeout_s: float) -> bool:
        try:
            while await asyncio.wait_for(socket.read_message(), timeout_s) is not None:
                pass
        except TimeoutError:
            return False
        return True

    async def attack() -> None:
        kernel = re.search(r'"kernelId": "([0-9a-f-]+)"', urllib.request.urlopen(url).read().decode())[1]
        page = await socket_of(kernel, "page")
        assert await is_closed(await socket_of(kernel, "stranger"), 20), "a second session on a kernel"
        before = memory_mb()
        for name, flood in FLOODS.items():
            socket = await socket_of(kernel, "page")
            try:
                for one in flood:
                    await socket.write_message(one, binary=isinstance(one, bytes))
            except WebSocketClosedError:
                pass
            assert await is_closed(socket, 20), name
            assert memory_mb() < before + 100, name
            urllib.request.urlopen(url + "voila/static/voila-style.js", timeout=5).close()
        socket = await socket_of(kernel, "page")
        for _ in range(300):  # what a page does: it waits for each answer
            await socket.write_message(message(kind="comm_info_request", n_bytes=1000), binary=True)
            while b'"idle"' not in await asyncio.wait_for(socket.read_message(), 20):
                pass
        assert page is not None and socket.close_code is None
        request = urllib.request.Request(f"{url}voila/api/shutdown/{kernel}", bytes(2 << 20))
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(request, timeout=20)

    with ThreadPoolExecutor(1) as pool:  # playwright's loop runs in this thread
        pool.submit(asyncio.run, attack()).result()
