"""FaceChoice, the session, and FacePicker through the messages that its buttons send."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import types
from pathlib import Path

import numpy as np
import pytest
import traitlets
from ipywidgets.widgets import widget
from mouths import Painter, faces, video, wav

from lipsync_utils.config import InferenceConfig
from lipsync_utils.errors import FaceError, ManifestError, MediaError, SettingError
from lipsync_utils.inference import lip_sync
from lipsync_utils.picker import FaceChoice, FacePicker, Limits, view, visit
from lipsync_utils.picker.visit import Uploads

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


def test_everybody_is_listed_from_left_to_right(choice):
    assert [(p.number, p.track_id, p.frames_seen) for p in choice.people] == [(1, 0, 12), (2, 1, 12)]
    assert choice.chosen == []


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
    with pytest.raises(FaceError, match="there is no person '7'"):
        FaceChoice.of(media / "video.mp4", person=7, faces=table)
    with pytest.raises(SettingError, match="person and reference"):
        FaceChoice.of(media / "video.mp4", person=1, reference="x.png", faces=table)
    with pytest.raises(MediaError, match="no such file"):
        FaceChoice.of(media / "missing.mp4", person=1, cache_dir=media / "cache")
    with pytest.raises(FaceError, match="track id 9"):
        FaceChoice.of(media / "video.mp4", faces=table).pick(9)


@pytest.mark.parametrize("spoil", ["{", "[]", '{"format": 3}', '{"format": 1, "media": {}, "people": []}'])
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


# The files of a visit


def test_uploads_lie_in_the_visits_folder_whatever_their_name():
    uploads = Uploads(Limits(), set)
    for name in ("../../etc/passwd", "a; rm -rf ~.png", "-x.mp4", "\u2603" * 300 + ".wav", "con.mp4", ".."):
        path = receive(uploads, name, b"0")
        assert path.resolve().parent.parent == uploads.folder.resolve()
        assert path.name.replace(".", "").replace("_", "").replace("-", "").isalnum() and len(path.name) < 85
    uploads.temporary.cleanup()
    assert not uploads.folder.exists()


def test_errors_speak_of_the_visitors_names(make_picker, media):
    picker = make_picker(limits=Limits(seconds=0.2))
    send(picker, None, "holiday.mp4", (media / "video.mp4").read_bytes())
    assert picker.message == "holiday.mp4: 0 s long, at most 0 s are allowed; cut it" and picker.wrong
    send(picker, None, "text.png", b"not a picture")
    assert picker.message.startswith("text.png") and str(picker.uploads.folder) not in picker.message
    picker.choice = FaceChoice.of(media / "video.mp4", faces=faces(12, BOXES))
    assert picker.in_visitors_words("track 1: covered, track 7") == "person 2: covered, track 7"


def receive(uploads, name: str, data: bytes, number=1, piece: int = 1 << 20, total: int | None = None):
    """A file as a browser sends it; the path once it is complete."""
    path = None
    for offset in range(0, max(len(data), 1), piece):
        path = uploads.receive(number, name, offset, total or len(data), data[offset : offset + piece])
    return path


def test_an_upload_keeps_to_its_size_and_its_order():
    uploads = Uploads(Limits(upload_mb=0.001), set)
    for total in (5000, -1, 0, None, "100", 1e3, True):
        with pytest.raises(MediaError, match="big.wav was not taken: at most 0.001 MB are allowed"):
            uploads.receive(1, "big.wav", 0, total, b"0" * 100)
        assert uploads.files() == []
    with pytest.raises(MediaError):
        receive(uploads, "lying.wav", b"0" * 900, piece=600, total=700)
    for number, offset in ((1, 5), (2, 600), (1, -600), (1, None), (None, "0")):
        uploads.receive(1, "a.wav", 0, 900, b"0" * 600)
        with pytest.raises(MediaError):
            uploads.receive(number, "a.wav", offset, 900, b"0")
        assert uploads.files() == []
    assert receive(uploads, "good.wav", b"0" * 900, piece=600).stat().st_size == 900


def test_refused_and_replaced_uploads_are_deleted_at_once_and_a_visit_has_a_disk_budget(make_picker, media):
    film, sound = (media / "video.mp4").read_bytes(), (media / "a.wav").read_bytes()
    picker = make_picker()
    uploads = picker.uploads
    send(picker, None, "text.png", b"this is no picture")
    assert picker.wrong and uploads.files() == []
    uploads.receive(7, "interrupted.mp4", 0, 900, b"0" * 600)
    send(picker, None, "film.mp4", film)
    first = picker.media
    assert first.name == "film.mp4" and uploads.files() == [first]
    tell(picker, "press", number=2)
    for _ in range(2):
        send(picker, 1, "a.wav", sound)
    picker.run()
    picker.wait(60)
    everything = {first, picker.choice.speech[1], picker.result.output}
    assert set(uploads.files()) == everything
    send(picker, 1, "notes.wav", b"this is text")
    assert picker.wrong and set(uploads.files()) == everything
    uploads.limits = Limits(disk_mb=(sum(file.stat().st_size for file in uploads.files()) + len(film) - 1) / 1e6)
    send(picker, None, "more.mp4", film)
    assert "not taken" in picker.message
    uploads.limits = Limits()
    send(picker, None, "film.mp4", film)
    assert uploads.files() == [picker.media] != [first], "what belonged to the film before goes with it"


def test_folders_of_dead_visits_are_swept(tmp_path, monkeypatch):
    monkeypatch.setattr(visit.tempfile, "gettempdir", lambda: str(tmp_path))
    dead, alive = tmp_path / f"{visit.PREFIX}999999-x", tmp_path / f"{visit.PREFIX}{os.getpid()}-y"
    for folder in (dead, alive):
        folder.mkdir()
        os.utime(folder, (0, 0))
    visit.sweep_old_sessions()
    assert not dead.exists() and alive.exists()


def test_runs_wait_for_their_turn(tmp_path, monkeypatch):
    monkeypatch.setattr(visit.tempfile, "gettempdir", lambda: str(tmp_path))
    waited, order, never = threading.Event(), [], threading.Event()

    def second():
        with visit.turn(1, waited.set, never):
            order.append("second")

    with visit.turn(1, lambda: None, never):
        thread = threading.Thread(target=second)
        thread.start()
        assert waited.wait(10)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    never.set()
    with visit.turn(1, lambda: None, threading.Event()), pytest.raises(visit.Cancelled):  # noqa: SIM117
        with visit.turn(1, lambda: None, never):
            pass


# The widget, through the messages of its buttons


@pytest.fixture
def make_picker(media, monkeypatch, tmp_path):
    """A function that makes a picker whose messages to the browser are listed in .sent."""
    monkeypatch.setattr(view, "find_faces", lambda path, *_: faces(12, BOXES))
    made = []

    def make(*given, **options):
        picker = FacePicker(*given, generator=Painter, settings=PLAIN, **options)
        picker.sent = []
        picker.send = lambda message, buffers=None: picker.sent.append((message, buffers))
        made.append(picker)
        return picker

    yield make
    for picker in made:
        picker.close()


@pytest.fixture
def picker(make_picker, media, tmp_path):
    return make_picker(media / "video.mp4", cache_dir=tmp_path / "cache", output=tmp_path / "out.mp4")


def tell(picker, action, data=None, **more):
    """A message of the browser, as it arrives."""
    picker._take(picker, {"do": action, **more}, [] if data is None else [memoryview(data)])
    if action != "run":
        picker.wait(60)


def send(picker, track, name: str, data: bytes, piece: int = 1 << 20):
    """What the browser sends for a file."""
    for offset in range(0, len(data), piece):
        part = data[offset : offset + piece]
        tell(picker, "piece", part, track=track, number=1, offset=offset, total=len(data), name=name)


def test_from_press_to_video(picker, media, tmp_path):
    assert [p["number"] for p in picker.view["people"]] == [1, 2] and not picker.view["ready"]
    tell(picker, "press", number=2)
    assert picker.choice.chosen == [1] and picker.view["people"][1]["chosen"] and not picker.view["ready"]
    assert "give speech for person 2" in picker.view["hint"]
    send(picker, 1, "hello.wav", (media / "a.wav").read_bytes(), piece=5000)
    assert [m["is"] for m, _ in picker.sent] == ["taken"] * 3
    assert picker.view["people"][1]["says"] == "hello.wav" and picker.view["ready"] and picker.message == ""
    shown = picker.image
    tell(picker, "preview")
    assert picker.image != shown and "Preview" in picker.message
    tell(picker, "run")
    picker.wait(60)
    assert picker.result.drawn_frames == {1: 10} and "AI-generated" in picker.message
    size = (tmp_path / "out.mp4").stat().st_size
    assert picker.view["result"] == {"number": 1, "size": size, "name": "video_lipsync.mp4"}
    assert not picker.view["busy"] and picker.view["progress"] is None


def test_pressing_twice_unchooses_and_nonsense_does_nothing(picker):
    for _ in range(2):
        tell(picker, "press", number=1)
    assert picker.choice.chosen == []
    tell(picker, "frame", number=5)
    assert picker.view["frame"] == 5
    tell(picker, "frame", number=10**12)
    assert picker.view["frame"] == 11
    for action in ("press", "frame", "want", "piece", "close", ["run"], None):
        for number in (99, -1, None, "1", [1], False, 1.5):
            tell(picker, action, b"x", number=number, offset=number, total=number, track=number, name=number)
    picker._take(picker, "nonsense", [])
    assert picker.choice.chosen == [] and picker.view["frame"] in (0, 11) and picker.result is None


def test_bad_speech_is_told_and_the_alert_goes_with_the_next_thing(picker, media):
    tell(picker, "press", number=1)
    send(picker, 0, "<b>notes</b>.wav", b"this is text")
    assert picker.view["wrong"] and "notes" in picker.message and "<" not in picker.message
    assert picker.view["people"][0]["says"] == "" and not picker.view["ready"]
    send(picker, 0, "hello.wav", (media / "a.wav").read_bytes())
    assert not picker.view["wrong"] and picker.message == "" and picker.view["ready"]
    send(picker, 0, "notes.wav", b"this is text")
    tell(picker, "frame", number=3)
    assert not picker.view["wrong"] and picker.message == ""


def test_a_run_can_be_cancelled(picker, media):
    tell(picker, "press", number=1)
    picker.take_speech(0, wav(media / "long.wav", 30))
    picker.wait(60)
    tell(picker, "run")
    while not picker.progress and picker.busy:
        threading.Event().wait(0.02)
    assert picker.view["busy"]
    tell(picker, "cancel")
    picker.wait(60)
    assert picker.message.startswith("Cancelled") and picker.result is None and not Path(picker.output).exists()


def test_nothing_that_a_browser_writes_changes_what_the_server_allows(make_picker, media):
    """Every synchronised trait of every widget of the page is written, with values of every kind."""
    before = set(widget._instances)
    picker = make_picker(limits=Limits(upload_mb=0.001, disk_mb=0.001, seconds=0.1))
    ours = [one for key, one in widget._instances.items() if key not in before]
    assert {type(one).__name__ for one in ours} == {"FacePicker", "Layout"}, "a widget that this test does not know"
    shown = dict(picker.view)
    huge = {**shown, "limit_bytes": 10**13, "ready": True, "busy": False, "people": [{"track": 0, "number": 1}]}
    for one in ours:
        for name in one.keys:
            for value in (10**13, -1, True, None, "x", [], [huge], huge):
                data = {"method": "update", "state": {name: value}, "buffer_paths": []}
                with contextlib.suppress(traitlets.TraitError):
                    one._handle_msg({"content": {"data": data}, "buffers": []})
    assert picker.view == shown and picker.image == b"" and set(picker.keys) >= {"view", "image"}
    assert picker.limits == Limits(upload_mb=0.001, disk_mb=0.001, seconds=0.1)
    send(picker, None, "video.mp4", (media / "video.mp4").read_bytes())
    assert picker.sent[0][0]["is"] == "refused" and picker.view["wrong"] and picker.uploads.files() == []
    tell(picker, "run")
    assert picker.result is None and picker.choice is None


def test_the_video_goes_out_in_pieces(picker, media, tmp_path):
    data = np.random.default_rng(0).bytes(700_000)
    (tmp_path / "v.mp4").write_bytes(data)
    picker.result, picker.results = types.SimpleNamespace(output=tmp_path / "v.mp4"), 3
    got = b""
    while len(got) < len(data):
        tell(picker, "want", number=3, offset=len(got))
        got += picker.sent[-1][1][0]
    assert got == data and len(picker.sent) == 3
    for wrong in ({"number": 99, "offset": 0}, {"number": 3, "offset": -5}, {"number": 3, "offset": 10**9}):
        tell(picker, "want", **wrong)
    assert len(picker.sent) == 3


def test_the_same_choice_starts_the_widget(make_picker, media, tmp_path):
    choice = FaceChoice.of(media / "video.mp4", person="right", faces=faces(12, BOXES))
    picker = make_picker(media / "video.mp4", media / "a.wav", choice=choice.save(tmp_path / "c.json"))
    assert picker.choice.speech == {1: media / "a.wav"} and picker.view["ready"]
