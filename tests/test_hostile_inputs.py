"""Hostile and odd inputs to stage 01: each is a row or an error that says what to do; nothing is lost or leaks."""

import functools
import http.server
import io
import os
import tarfile
import threading
import zipfile

import numpy as np
import pytest

from lipsync_utils import collect, media
from lipsync_utils.config import CollectConfig
from lipsync_utils.errors import DiskFullError, LipsyncError, ManifestError, MediaError
from lipsync_utils.media.tools import file_url
from lipsync_utils.project import data_set
from lipsync_utils.records import Reason, Video, rows

HEAD = "video_id,source,title,language,speaker,licence,consent,crop,note\n"
ROW = "one,../good.mp4,Title,nl,anna,mine,written,,\n"
FAST = CollectConfig(pause_s=0.0, retries=0, timeout_s=5.0)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A small video with sound."""
    path, rng = tmp_path_factory.mktemp("good") / "good.mp4", np.random.default_rng(0)
    wav = (0.2 * np.sin(np.arange(16000) / 8)).astype(np.float32)
    with media.VideoWriter(path, size=(64, 48), sound=wav) as writer:
        for _ in range(25):
            writer.write(rng.integers(0, 255, (48, 64, 3)).astype(np.uint8))
    return path


@pytest.fixture
def place(tmp_path, good, monkeypatch):
    """A project folder with a data set and, beside it, a good video."""
    monkeypatch.setenv("LIPSYNC_HOME", str(tmp_path / "home"))
    (tmp_path / "good.mp4").write_bytes(good.read_bytes())
    return data_set("test", tmp_path / "data")


def outside(data):
    """Everything beside the data set and the notes, with its content."""
    kept = {}
    for path in sorted(data.root.parent.rglob("*")):
        if path.is_file() and not path.is_relative_to(data.root) and "home" not in path.parts:
            kept[path] = path.read_bytes()
    return kept


# ---- videos.csv: its text, and words of the error; None: it is fine
def line(**cells):
    given = {"video_id": "one", "source": "../good.mp4", "title": "Title", "language": "nl", "speaker": "anna"}
    return ",".join({**given, "licence": "mine", "consent": "written", "crop": "", "note": "", **cells}.values()) + "\n"


TABLES = {
    "a byte order mark": (b"\xef\xbb\xbf" + (HEAD + ROW).encode(), None),
    "line ends of Windows": ((HEAD + ROW).replace("\n", "\r\n"), None),
    "no row": (HEAD, None),
    "a formula": (HEAD + line(title="=cmd|' /C calc'!A0", note="+1+1"), None),
    "code": (HEAD + line(title="__import__('os').remove('good.mp4')"), None),
    "a title in many scripts": (HEAD + line(title='"Ünï 🎬 شكرا, ""x"""'), None),
    "an id that looks like a number": (HEAD + line(video_id="007"), None),
    "an id that looks like nothing": (HEAD + line(video_id="NA"), None),
    "semicolons": ((HEAD + ROW).replace(",", ";"), "missing column.*separated by commas"),
    "an empty file": ("", "missing column"),
    "UTF-16": ((HEAD + ROW).encode("utf-16"), "row 0: not a CSV row in UTF-8"),
    "Latin-1": ((HEAD + line(title="Enquête")).encode("latin-1"), "not a CSV row in UTF-8"),
    "a NUL byte": (HEAD + line(title="a\0b"), None),
    "an open quote": (HEAD + line(title='"open'), "row 1: not a CSV row"),
    "a missing column": ((HEAD + ROW).replace(",consent", ""), "missing column 'consent'"),
    "an unknown column": ((HEAD + ROW).replace("note", "notes"), "unknown column 'notes'"),
    "columns in another order": ((HEAD + ROW).replace("video_id,source", "source,video_id"), "another order"),
    "a cell too few": (HEAD + "one,../good.mp4\n", "row 1: 2 cells where 9"),
    "a cell too many": (HEAD + ROW.replace("\n", ",,\n"), "row 1: 11 cells where 9"),
    "an id twice": (HEAD + ROW + ROW, "row 2, column video_id.*more than once"),
    "an id twice, but for case": (HEAD + ROW + line(video_id="ONE"), "row 2, column video_id.*more than once"),
    "an id that climbs": (HEAD + line(video_id="../../one"), "row 1, column video_id.*use 'one'"),
    "an id with a folder": (HEAD + line(video_id="a/one"), "column video_id.*use 'a_one'"),
    "an absolute id": (HEAD + line(video_id="/etc/passwd"), "column video_id"),
    "an empty id": (HEAD + line(video_id=""), "column video_id"),
    "a hidden id": (HEAD + line(video_id=".one"), "column video_id"),
    "an id that is a device of Windows": (HEAD + line(video_id="con"), "column video_id.*use 'xcon'"),
    "an id with an option": (HEAD + line(video_id="-rf"), "column video_id"),
    "an endless id": (HEAD + line(video_id="x" * 300), "column video_id"),
    "no source": (HEAD + line(source=" "), "row 1, column source"),
    "a crop in words": (HEAD + line(crop="left half"), "column crop.*320,0,640,480"),
    "a crop inside out": (HEAD + line(crop='"9,0,3,4"'), "column crop"),
    "code in the crop": (HEAD + line(crop="exit()"), "column crop"),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table(name, place):
    text, words = TABLES[name]
    place.path("videos.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    before, given = outside(place), place.path("videos.csv").read_bytes()
    if words is None:
        collected = collect.collect_videos(place, FAST, workers=1)
        assert collected.reason.isna().all()
    else:
        with pytest.raises(ManifestError, match=f"videos.csv.*{words}"):
            collect.collect_videos(place, FAST, workers=1)
        assert not place.raw.exists()
    assert outside(place) == before and place.path("videos.csv").read_bytes() == given


# ---- sources: how the file is made beside the good one, and what becomes of it; None: it is collected
def convert(*arguments):
    def make(path):
        media.ffmpeg(["-v", "error", "-i", file_url(path.with_name("good.mp4")), *arguments, file_url(path)])

    return make


SOURCES = {
    "missing.mp4": (lambda path: None, Reason.NOT_FOUND),
    "empty.mp4": (lambda path: path.touch(), Reason.UNREADABLE),
    "text.mp4": (lambda path: path.write_text("not a video\n" * 99), Reason.UNREADABLE),
    "page.mp4": (lambda path: path.write_text("<html>sign in</html>" * 99), Reason.UNREADABLE),
    "pickle.mp4": (lambda path: path.write_bytes(b"\x80\x04cposix\nsystem\n(S'touch gotcha'\ntR."), Reason.UNREADABLE),
    "playlist.mp4": (
        lambda path: path.write_text(f"#EXTM3U\n#EXTINF:1,\n{path.with_name('good.mp4')}\n#EXT-X-ENDLIST\n"),
        Reason.UNREADABLE,
    ),
    "concat.mp4": (
        lambda path: path.write_text(f"ffconcat version 1.0\nfile {path.with_name('good.mp4')}\n"),
        Reason.UNREADABLE,
    ),
    "cut.mp4": (lambda path: path.write_bytes(path.with_name("good.mp4").read_bytes()[:400]), Reason.UNREADABLE),
    "folder.mp4": (lambda path: path.mkdir(), Reason.UNREADABLE),
    "loop.mp4": (lambda path: path.symlink_to(path), Reason.NOT_FOUND),
    "pipe.mp4": (os.mkfifo, Reason.UNREADABLE),
    "picture.png": (lambda path: media.write_picture(path, np.zeros((20, 20, 3), np.uint8)), Reason.NO_PICTURE),
    "sound.wav": (convert("-vn"), Reason.NO_PICTURE),
    "mute.mp4": (convert("-an"), Reason.NO_SOUND),
    "short.mp4": (convert("-t", "0.2"), None),
    "rotated.mp4": (convert("-c", "copy", "-metadata:s:v", "rotate=90"), None),
    "variable.mkv": (convert("-vf", "select='not(eq(mod(n,5),3))'", "-fps_mode", "vfr"), None),
    "ten_bit.mp4": (convert("-c:v", "libx265", "-pix_fmt", "yuv420p10le", "-x265-params", "log-level=error"), None),
    "old.mpg": (convert("-c:v", "mpeg1video", "-c:a", "mp2", "-ar", "44100"), None),
    '-it\'s "odd" 🎬\n.mp4': (convert("-c", "copy"), None),
    "link.mp4": (lambda path: path.symlink_to("good.mp4"), None),
}


def test_sources(place):
    quoted = {}
    for number, (name, (make, _)) in enumerate(SOURCES.items()):
        make(place.root.parent / name)
        quoted[f"v{number}"] = '"../{}"'.format(name.replace('"', '""'))
    table = "".join(line(video_id=video_id, source=source) for video_id, source in quoted.items())
    table += line(video_id="itself", source="raw/itself.mp4") + line(video_id="zero", source="/dev/zero") + ROW
    place.path("videos.csv").write_text(HEAD + table)
    place.raw.mkdir()
    (place.raw / "itself.mp4").write_bytes((place.root.parent / "good.mp4").read_bytes())
    before = outside(place)
    found = {row.video_id: row for row in rows(collect.collect_videos(place, FAST, workers=1), Video)}
    wanted = dict(zip(quoted, (reason for _, reason in SOURCES.values())))
    assert {name: found[name].reason for name in wanted} == wanted
    assert found["itself"].reason is None and found["zero"].reason == Reason.UNREADABLE and found["one"].reason is None
    assert all(row.note for row in found.values() if row.reason)
    notes = {name: found[video_id].note for name, video_id in zip(SOURCES, quoted)}
    assert "0 bytes" in notes["empty.mp4"] and "folder" in notes["folder.mp4"]
    assert str(place.root) not in notes["cut.mp4"]
    raw = sorted(place.raw.glob("*.mp4"))
    assert [path.stem for path in raw] == sorted(name for name, row in found.items() if row.file)
    assert all(path.read_bytes()[4:8] == b"ftyp" for path in raw), "other containers become mp4"
    assert outside(place) == before, "inputs are never changed, and nothing is written beside the data set"


def test_a_full_disk_stops_the_stage_and_costs_nothing(place, monkeypatch):
    place.path("videos.csv").write_text(HEAD + ROW)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("shutil.copyfile", full)
        with pytest.raises(DiskFullError, match="one.mp4: the disk is full"):
            collect.collect_videos(place, FAST, workers=1)
    assert not list(place.raw.iterdir())
    assert collect.collect_videos(place, FAST, workers=1).reason.isna().all()


@pytest.mark.parametrize("video_id", ["", ".", "..", "../test", ".*", "on", "one/../one", "/"])
def test_forgetting_a_strange_id_touches_nothing(video_id, place):
    place.path("videos.csv").write_text(HEAD + ROW)
    collect.collect_videos(place, FAST, workers=1)
    before = {p: p.read_bytes() for p in place.root.parent.rglob("*") if p.is_file() and "home" not in p.parts}
    with pytest.raises(LipsyncError, match="nothing is known"):
        collect.forget(place, video_id)
    assert all(p.read_bytes() == content for p, content in before.items() if p.name != ".lock")


# ---- archives: {name in it: content}, or what it is made by; and words of the error
def zipped(members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def tarred(members, **how):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            for field, value in how.items():
                setattr(member, field, value)
            member.size = len(content) if member.isreg() else 0
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


ARCHIVES = {
    "climbing.zip": (zipped({"a.mp4": b"x", "../up.mp4": b"x"}), "'../up.mp4' is a link or leads out"),
    "climbing_on_windows.zip": (zipped({"a\\..\\..\\up.mp4": b"x"}), "leads out"),
    "absolute.zip": (zipped({"/tmp/up.mp4": b"x"}), "leads out"),
    "drive.zip": (zipped({"C:\\up.mp4": b"x"}), "leads out"),
    "bomb.zip": (zipped({"a.mp4": bytes(10**7)}), "20 times as large"),
    "many.zip": (zipped({f"{n}.txt": bytes(10**5) for n in range(99)}), "20 times as large"),
    "no_video.zip": (zipped({"a.txt": b"x" * 9}), "no video is inside"),
    "nothing.zip": (zipped({}), "no video is inside"),
    "not_one.zip": (b"not an archive", "neither a zip nor a tar"),
    "cut.zip": (zipped({"a.mp4": os.urandom(999)})[:600], "neither a zip nor a tar"),
    "climbing.tar.gz": (tarred({"../up.mp4": b"x"}), "leads out"),
    "absolute.tar.gz": (tarred({"/tmp/up.mp4": b"x"}), "leads out"),
    "symlink.tar.gz": (tarred({"a.mp4": b""}, type=tarfile.SYMTYPE, linkname="/etc/passwd"), "'a.mp4' is a link"),
    "hard_link.tar.gz": (tarred({"a.mp4": b""}, type=tarfile.LNKTYPE, linkname="../good.mp4"), "is a link"),
    "device.tar.gz": (tarred({"a.mp4": b""}, type=tarfile.CHRTYPE, devmajor=1, devminor=5), "is a link"),
    "bomb.tar.gz": (tarred({"a.mp4": bytes(10**7)}), "20 times as large"),
    "cut.tar.gz": (tarred({"a.mp4": os.urandom(99999)})[:50000], "cannot be unpacked"),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_that_is_refused(name, place):
    content, words = ARCHIVES[name]
    path = place.root.parent / name
    path.write_bytes(content)
    place.path("videos.csv").write_text(HEAD + ROW)
    before, table = outside(place), place.path("videos.csv").read_bytes()
    with pytest.raises(MediaError, match=f"{name}: .*{words}"):
        collect.add_archive(place, str(path), ("en", "anna", "mine", "written"))
    assert outside(place) == before and place.path("videos.csv").read_bytes() == table
    assert not [p for p in place.root.rglob("*") if p.suffix in (".mp4", ".txt")]


@pytest.fixture
def site(tmp_path):
    """A folder that is served, and its address."""
    folder = tmp_path / "home" / "site"
    folder.mkdir(parents=True)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("pack, name", [(zipped, "s1.zip"), (tarred, "s1.tar.gz")])
def test_an_archive_fills_the_list(pack, name, place, site, good):
    members = {f"s1/{n}.mp4": good.read_bytes() for n in range(5)} | {"s1/read me.txt": b"x", "s1/ü 🎬.MP4": b"x" * 99}
    folder, address = site
    (folder / name).write_bytes(pack(members))
    place.path("videos.csv").write_text(HEAD + ROW)
    with pytest.raises(MediaError, match="gone.zip: the site answers 404"):
        collect.add_archive(place, f"{address}/gone.zip", ("en", "s1", "", ""))
    sources = collect.add_archive(place, f"{address}/{name}", ("en", "s1", "CC BY 4.0", "published"), limit=3)
    assert [s.video_id for s in sources] == ["one", "s1_0", "s1_2", "s1_u"]
    assert (sources[1].source, sources[1].title, sources[1].licence) == ("archive/s1_0.mp4", "0", "CC BY 4.0")
    assert not list(place.path(".downloads").iterdir()), "the archive itself is not kept"
    collected = collect.collect_videos(place, FAST, workers=1)
    assert list(collected.reason.fillna("ok")) == ["ok", "ok", "ok", "unreadable"]
    forgotten = collect.forget(place, "s1_0")
    assert place.path("archive/s1_0.mp4") in forgotten.removed and not place.path("archive/s1_0.mp4").exists()


def test_a_speaker_of_grid(place, real_clips):
    films = sorted((real_clips / "grid").glob("*.mpg"))
    archive = place.root.parent / "s1.zip"
    archive.write_bytes(zipped({f"s1/{film.name}": film.read_bytes() for film in films}))
    sources = collect.add_grid(place, sentences=3, archive=str(archive))
    assert len(sources) == 3 and {s.licence for s in sources} == {"CC BY 4.0"} and sources[0].video_id.startswith("s1_")
    collected = collect.collect_videos(place, FAST, workers=1)
    assert collected.reason.isna().all() and set(collected.width_px) == {360}
    assert collected.fps.to_numpy() == pytest.approx(25)  # 75 frames; the mp4 counts one less in its length
    done = collect.forget(place, sources[0].video_id)
    assert archive in done.yours and archive.exists() and not place.path(sources[0].source).exists()
