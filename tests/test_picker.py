"""FaceChoice, the session and FacePicker through its real buttons; uploads as a browser sends them."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from mouths import Painter, faces, video, wav

from lipsync_utils.config import InferenceConfig
from lipsync_utils.errors import FaceError, ManifestError, MediaError, SettingError
from lipsync_utils.inference import lip_sync
from lipsync_utils.picker import FaceChoice, FacePicker, Limits, Session
from lipsync_utils.picker import session as sessions
from lipsync_utils.picker.parts import Result, Upload

PLAIN = InferenceConfig(engine="torch", label="none", min_face_px=30)
BOXES = ((15, 30, 60, 100), (95, 30, 145, 100))


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    folder = tmp_path_factory.mktemp("picker")
    video(folder / "video.mp4", 12)
    video(folder / "other.mp4", 9)
    wav(folder / "a.wav", 0.4)
    wav(folder / "b.wav", 0.3)
    return folder


@pytest.fixture
def choice(media):
    return FaceChoice.of(media / "video.mp4", faces=faces(12, BOXES))


# The state


def test_everybody_is_listed_from_left_to_right_with_a_picture(choice):
    assert [(p.number, p.track_id, p.frames_seen) for p in choice.people] == [(1, 0, 12), (2, 1, 12)]
    assert all(p.thumbnail_jpeg[:2] == b"\xff\xd8" for p in choice.people) and choice.chosen == []


def test_importing_the_state_imports_no_widget():
    code = "import sys; from lipsync_utils.picker import FaceChoice; print([m for m in sys.modules if 'widget' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_choice_goes_through_json_and_replays(media, choice, tmp_path):
    choice.pick(1, media / "a.wav")
    choice.pick(0)
    path = choice.save(tmp_path / "choice.json")
    assert FaceChoice.load(path) == choice
    table = faces(12, BOXES)
    again = FaceChoice.of(media / "video.mp4", choice=path, speech=media / "b.wav", faces=table)
    assert again.speech == {1: media / "a.wav", 0: media / "b.wav"}
    swapped = faces(12, BOXES[::-1])  # found again with other track ids: the place decides
    assert again.resolve(swapped, media / "video.mp4") == {0: media / "a.wav", 1: media / "b.wav"}
    result = lip_sync(
        media / "video.mp4", None, tmp_path / "o.mp4", generator=Painter(), choice=again, faces=table, settings=PLAIN
    )
    assert result.drawn_frames == {1: 10, 0: 10}


def test_speech_beside_the_json_travels_with_it(media, choice, tmp_path):
    (tmp_path / "one").mkdir()
    wav(tmp_path / "one" / "s.wav", 0.3)
    choice.pick(0, tmp_path / "one" / "s.wav")
    choice.save(tmp_path / "one" / "c.json")
    (tmp_path / "one").rename(tmp_path / "two")
    assert FaceChoice.load(tmp_path / "two" / "c.json").speech[0] == tmp_path / "two" / "s.wav"


def test_a_choice_of_another_video_is_refused(media, choice, tmp_path):
    choice.pick(0, media / "a.wav")
    with pytest.raises(FaceError, match="other content: choose again"):
        lip_sync(
            media / "other.mp4",
            None,
            tmp_path / "o.mp4",
            generator=Painter(),
            choice=choice,
            faces=faces(9, BOXES),
            settings=PLAIN,
        )
    assert not (tmp_path / "o.mp4").exists()


def test_unknown_persons_and_two_ways_at_once_are_refused(media):
    table = faces(12, BOXES)
    with pytest.raises(FaceError, match="no person 7|there is no person 7"):
        FaceChoice.of(media / "video.mp4", person=7, faces=table)
    with pytest.raises(SettingError, match="person and reference"):
        FaceChoice.of(media / "video.mp4", person=1, reference="x.png", faces=table)
    with pytest.raises(MediaError, match="no such file"):
        FaceChoice.of(media / "missing.mp4", person=1, cache_dir=media / "cache")
    with pytest.raises(FaceError, match="track id 9"):
        FaceChoice.of(media / "video.mp4", faces=table).pick(9)


@pytest.mark.parametrize("spoil", ["{", "[]", '{"format": 2}', '{"format": 1, "media": {}, "people": []}'])
def test_a_spoilt_choice_file_is_an_error_in_words(spoil, tmp_path):
    (tmp_path / "c.json").write_text(spoil)
    with pytest.raises(ManifestError, match="c.json: not a choice"):
        FaceChoice.load(tmp_path / "c.json")
    with pytest.raises(ManifestError, match="cannot be read"):
        FaceChoice.load(tmp_path / "missing.json")


def test_a_choice_cannot_smuggle_code(choice, tmp_path):
    path = choice.save(tmp_path / "c.json")
    data = json.loads(path.read_text())
    data["people"][0]["box"]["left"] = "__import__('os').system('touch hacked')"
    path.write_text(json.dumps(data))
    with pytest.raises(ManifestError):
        FaceChoice.load(path)


# The session


def test_uploads_get_names_of_their_own(tmp_path):
    visit = Session(Painter(), folder=tmp_path / "visit")
    for name in ("../../etc/passwd", "a; rm -rf ~.png", "-x.mp4", "\u2603" * 300 + ".wav", "con.mp4", ".."):
        path = visit.new_file(name)
        assert path.parent == tmp_path / "visit" and path.stem.isalnum() and len(path.name) < 45
    visit.close()
    assert not (tmp_path / "visit").exists()


def test_limits_speak_of_the_visitors_names(media, tmp_path):
    visit = Session(Painter(), folder=tmp_path / "visit", limits=Limits(seconds=0.2))
    upload = visit.new_file("holiday.mp4")
    upload.write_bytes((media / "video.mp4").read_bytes())
    with pytest.raises(MediaError, match="holiday.mp4: 0 s long, at most 0 s are allowed"):
        visit.open_media(upload, "holiday.mp4")
    text = visit.new_file("text.png")
    text.write_text("not a picture")
    with pytest.raises(MediaError) as caught:
        visit.open_media(text, "text.png")
    assert "text.png" in str(caught.value) and text.stem not in str(caught.value)


def test_folders_of_dead_visits_are_swept(tmp_path, monkeypatch):
    monkeypatch.setattr(sessions.tempfile, "gettempdir", lambda: str(tmp_path))
    dead, alive = tmp_path / f"{sessions.PREFIX}999999-x", tmp_path / f"{sessions.PREFIX}{os.getpid()}-y"
    for folder in (dead, alive):
        folder.mkdir()
        os.utime(folder, (0, 0))
    sessions.sweep_old_sessions()
    assert not dead.exists() and alive.exists()


def test_runs_wait_for_their_turn(tmp_path, monkeypatch):
    monkeypatch.setattr(sessions.tempfile, "gettempdir", lambda: str(tmp_path))
    waited, order, never = threading.Event(), [], threading.Event()

    def second():
        with sessions.turn(1, waited.set, never):
            order.append("second")

    with sessions.turn(1, lambda: None, never):
        thread = threading.Thread(target=second)
        thread.start()
        assert waited.wait(10)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    never.set()
    with sessions.turn(1, lambda: None, threading.Event()), pytest.raises(sessions.Cancelled):  # noqa: SIM117
        with sessions.turn(1, lambda: None, never):
            pass


# The widget, through its own buttons


@pytest.fixture
def picker(media, monkeypatch, tmp_path):
    monkeypatch.setattr(sessions, "find_faces", lambda path, *_: faces(12, BOXES))
    made = FacePicker(
        media / "video.mp4",
        generator=Painter,
        settings=PLAIN,
        cache_dir=tmp_path / "cache",
        output=tmp_path / "out.mp4",
    )
    yield made
    made.close()


def send(upload: Upload, name: str, data: bytes, piece: int = 1 << 20, total: int | None = None):
    """What the browser sends for a file."""
    for offset in range(0, max(len(data), 1), piece):
        message = {"kind": "piece", "number": 1, "offset": offset, "total": total or len(data), "name": name}
        upload._take(upload, message, [memoryview(data[offset : offset + piece])])


def test_from_press_to_video(picker, media, tmp_path):
    assert [f["number"] for f in picker.stage.faces] == [1, 2] and picker.run_button.disabled
    picker.stage.press(2)
    assert picker.choice.chosen == [1] and picker.stage.faces[1]["chosen"] and picker.run_button.disabled
    assert "give speech for person 2" in picker.stage.message
    send(picker.speeches.children[0], "hello.wav", (media / "a.wav").read_bytes(), piece=5000)
    picker.wait(60)
    assert picker.speeches.children[0].state == "Says: hello.wav" and not picker.run_button.disabled
    shown = picker.stage.image
    picker.preview_button.click()
    picker.wait(60)
    assert picker.stage.image != shown and "Preview" in picker.alert.value
    picker.run_button.click()
    picker.wait(60)
    assert picker.result.drawn_frames == {1: 10} and "AI-generated" in picker.alert.value
    assert picker.result_view.size == (tmp_path / "out.mp4").stat().st_size
    assert picker.result_view.name == "video_lipsync.mp4"


def test_pressing_twice_unchooses_and_a_frame_can_be_picked(picker):
    picker.stage.press(1)
    picker.stage.press(1)
    assert picker.choice.chosen == [] and picker.speeches.children == ()
    picker.stage._take(picker.stage, {"kind": "frame", "frame": 5}, [])
    assert picker.stage.frame == 5
    picker.stage._take(picker.stage, {"kind": "press", "track": 99}, [])
    picker.stage._take(picker.stage, "nonsense", [])
    assert picker.choice.chosen == []


def test_bad_speech_is_told_and_nothing_breaks(picker):
    picker.stage.press(1)
    send(picker.speeches.children[0], "notes.wav", b"this is text")
    picker.wait(60)
    assert 'role="alert"' in picker.alert.value and "notes.wav" in picker.alert.value
    assert "Says" not in picker.speeches.children[0].state
    assert picker.run_button.disabled


def test_a_name_cannot_become_markup(picker):
    picker.stage.press(1)
    send(picker.speeches.children[0], "<img src=x onerror=alert(1)>.wav", b"this is text")
    picker.wait(60)
    assert "<img" not in picker.alert.value and "&lt;img" in picker.alert.value


def test_a_run_can_be_cancelled(picker, media):
    picker.stage.press(1)
    picker.choice.pick(0, wav(media / "long.wav", 30))
    picker._show_choice()
    picker.run_button.click()
    picker.session.cancelled.wait(0.05)
    while picker.bar.value == 0 and picker.busy:
        threading.Event().wait(0.02)
    picker.cancel_button.click()
    picker.wait(60)
    assert "Cancelled" in picker.alert.value and picker.result is None and not Path(picker.output).exists()


def test_the_kernel_refuses_what_the_browser_should_not_have_sent(tmp_path):
    taken = []
    upload = Upload(lambda name: tmp_path / "x", lambda path, name: taken.append(name), limit_bytes=1000)
    send(upload, "big.wav", b"0" * 100, total=5000)
    assert "at most" in upload.state and not (tmp_path / "x").exists() and not taken
    send(upload, "lying.wav", b"0" * 900, piece=600, total=700)
    assert not taken and not (tmp_path / "x").exists()
    send(upload, "good.wav", b"0" * 900, piece=600)
    assert taken == ["good.wav"] and (tmp_path / "x").stat().st_size == 900


def test_the_video_goes_out_in_pieces(tmp_path):
    data = np.random.default_rng(0).bytes(700_000)
    (tmp_path / "v.mp4").write_bytes(data)
    view, sent = Result(), []
    view.send = lambda message, buffers=None: sent.append((message, buffers[0]))
    view.show(tmp_path / "v.mp4", "v.mp4")
    while sum(len(b) for _, b in sent) < len(data):
        view._take(view, {"kind": "want", "number": view.number, "offset": sum(len(b) for _, b in sent)}, [])
    assert b"".join(b for _, b in sent) == data and len(sent) == 3
    count = len(sent)
    for wrong in ({"kind": "want", "number": 99, "offset": 0}, {"kind": "want", "number": view.number, "offset": -5}):
        view._take(view, wrong, [])
    assert len(sent) == count


def test_the_same_choice_starts_the_widget(media, monkeypatch, tmp_path):
    monkeypatch.setattr(sessions, "find_faces", lambda path, *_: faces(12, BOXES))
    choice = FaceChoice.of(media / "video.mp4", person="right", faces=faces(12, BOXES))
    picker = FacePicker(
        media / "video.mp4", media / "a.wav", generator=Painter, settings=PLAIN, choice=choice.save(tmp_path / "c.json")
    )
    assert picker.choice.speech == {1: media / "a.wav"} and not picker.run_button.disabled
    picker.close()
