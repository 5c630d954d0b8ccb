"""forget: what was made of a video goes, wherever it lies; what only a person can remove is named."""

import base64
import hashlib
import io
import json
import re
from pathlib import Path

import cv2
import nbformat
import numpy as np
import pytest

from lipsync_utils import colab, collect, course, media, talkshow
from lipsync_utils.audio import load_wav
from lipsync_utils.errors import ManifestError
from lipsync_utils.project import data_set, made_from
from lipsync_utils.records import Source

ROOT = Path(__file__).resolve().parents[1]
GIVEN = {"licence": "CC BY 4.0", "consent": "written, 2026-03-01"}


@pytest.fixture
def house(tmp_path, monkeypatch):
    """An empty project folder."""
    monkeypatch.setenv("LIPSYNC_HOME", str(tmp_path))
    return tmp_path


def write(path, content=b"x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_forget_follows_what_was_noted_and_names_the_rest(house, monkeypatch):
    data, other = data_set("people"), house / "outputs" / "other.mp4"
    own = write(house / "own" / "a.mp4", b"film of a")
    collect.write_sources(data, [Source(i, str(own), i, "nl", "anna", "mine", "written") for i in ("a", "a.b", "a_1")])
    clip = "a_0000000_0001000"
    gone = [
        write(data.path("raw", "a.mp4"), b"film of a"),
        write(data.path("raw", "a.truth.json")),
        write(data.path("clips", "a", f"{clip}.mp4"), b"clip of a"),
        write(data.path("faces", "a", clip, "0.jpg")),
        write(data.path("cache", "crops", "a", f"{clip}-1.npy")),
        write(data.path(".journal", "split", "a.json")),
        write(data.path(".journal", "speaker", f"{clip}.json")),
        write(data.cache / f"faces-{hashlib.sha256(b'clip of a').hexdigest()[:16]}-12345678.csv"),
        write(house / "outputs" / "cache" / f"faces-{hashlib.sha256(b'exported').hexdigest()[:16]}-12345678.csv"),
    ]
    stays = [
        write(data.path("raw", "a_1.mp4"), b"film of a_1"),
        write(data.path("raw", "a.b.mp4"), b"film of a.b"),
        write(data.path("clips", "a_1", "a_1_0000000_0001000.mp4")),
        write(data.path(".journal", "split", "a_1.json")),
        write(data.path("cache", "faces-0000000000000000-12345678.csv")),
    ]
    data.path("clips.csv").write_text(f"clip_id,video_id,frames\n{clip},a,1\na_1_0000000_0001000,a_1,1\nx,a.b,1\n")
    write(data.path("filelists", "train.txt"), f"a/{clip}\na_1/x\n".encode())
    reference, chosen = data.path("references", f"{clip}-7.png"), write(house / "mine" / "anna.png")
    made_from([reference], [gone[2]])
    made_from([data.path("speaker.csv")], [reference, chosen])
    data.path("speaker.csv").write_text(f"clip_id,video_id\n{clip},a\nx,a_1\n")
    results = house / "outputs" / "evaluation" / "results.csv"
    made_from([results], [*data.clips.rglob("*.mp4")])
    write(results, f"clip_id,video_id,speech_id\nx,a_1,{clip}\n{clip},a,x\nx,a_1,x\n".encode())
    film, copy, exported = house / "outputs" / "film.mp4", house / "outputs" / "copy", house / "party.mp4"
    made_from([film], [own])
    made_from([copy], [film])
    made_from([exported], [film])
    made_from([other], [stays[0]])
    with monkeypatch.context() as notebook:
        notebook.setenv("PAPERMILL_OUTPUT_PATH", str(house / "outputs" / "executed" / "02.ipynb"))
        data_set("people")
    shown = nbformat.v4.new_code_cell(outputs=[nbformat.v4.new_output("stream", text="a face")])
    by_hand = ("notebooks/02.ipynb", "notebooks/.ipynb_checkpoints/02-checkpoint.ipynb", "outputs/papermill.ipynb")
    for name in (*by_hand, "notebooks/clean.ipynb"):
        (house / name).parent.mkdir(parents=True, exist_ok=True)
        cells = [shown] if name in by_hand else []
        nbformat.write(nbformat.v4.new_notebook(cells=cells), house / name)
    gone += [write(p) for p in (reference, film, copy / "b.png")]
    gone += [write(house / "outputs" / "executed" / name) for name in ("02.ipynb", "02.html")]
    gone[8] = gone[8].with_name(f"faces-{hashlib.sha256(b'x').hexdigest()[:16]}-1.csv")  # of the film
    write(gone[8])
    yours = [write(exported), own, chosen, write(house / "notebooks" / "02.html"), *(house / name for name in by_hand)]
    stays.append(write(other, b"of another"))
    for run, ids, val in (("saw", ["a", "b"], []), ("chose", ["b"], ["a"]), ("not", ["a_1"], [])):
        write(house / "outputs" / run / "checkpoints" / "generator_1.pt")
        (gone if run != "not" else stays).append(write(house / "outputs" / run / "samples" / "step_1.png"))
        (house / "outputs" / run / "data.json").write_text(json.dumps({"video_ids": ids, "val_video_ids": val}))

    done = collect.forget(data, "a")
    assert not [path for path in gone if path.exists()]
    assert all(path.exists() for path in stays + yours)
    assert done.yours == sorted(yours) and all(str(path) in str(done) for path in yours)
    assert [path.parents[1].name for path in done.saw_it] == ["chose", "saw"]
    assert done.rows == {"videos.csv": 1, "clips.csv": 1, "speaker.csv": 1, "results.csv": 2, "train.txt": 1}
    assert results.read_text() == "clip_id,video_id,speech_id\nx,a_1,x\n"
    with pytest.raises(ManifestError, match="nothing is known"):
        collect.forget(data, "a")
    assert other in collect.forget(data, "a_1").removed, "the notes of other videos are kept"


def test_a_notebook_that_forgets_stays_noted_for_other_videos(house, monkeypatch):
    data = data_set("people")
    videos = [write(data.path("raw", f"{name}.mp4"), name.encode()) for name in ("a", "b")]
    shown = write(house / "outputs" / "executed" / "01.ipynb")
    monkeypatch.setenv("PAPERMILL_OUTPUT_PATH", str(shown))
    made_from([], videos)
    assert collect.forget(data, "a").yours == [shown] and shown.exists()
    monkeypatch.delenv("PAPERMILL_OUTPUT_PATH")
    assert shown in collect.forget(data, "b").removed


HER = "annabella"  # will be forgotten; a name that bytes do not spell by chance
TINT = 0.2  # of the green of her video: its frames, crops and films are known by it
LINE = "Good evening, and welcome to a very short film about nothing but the sea."


def own_videos(folder, names, line=LINE):
    """Own videos of the host, HER with little green; rendered, for real people are not ours to test with."""
    for seed, name in enumerate(names):
        plain = talkshow.render_clip(
            folder / "plain" / f"{name}.mp4", [talkshow.host()], [(0, line)], size=(320, 240), seed=seed
        )
        with media.VideoWriter(folder / f"{name}.mp4", size=(320, 240), sound=load_wav(plain)) as writer:
            for frame in media.frames(plain):
                tint = (1, TINT if name == HER else 1, 1)
                writer.write((frame.image_bgr * tint).astype(np.uint8))
    return [folder / f"{name}.mp4" for name in names]


def pictures_in(content, scratch):
    """Every picture in the bytes of a file: video, crops, picture, or any of these embedded in a notebook or page."""
    if content[4:8] == b"ftyp":
        scratch.write_bytes(content)
        yield from (frame.image_bgr for frame in media.frames(scratch))
    elif content[:6] == b"\x93NUMPY":
        array = np.load(io.BytesIO(content))
        yield from array if array.ndim == 4 and array.dtype == np.uint8 else []
    else:
        for found in re.finditer(rb"\x89PNG|\xff\xd8\xff", content):
            yield cv2.imdecode(np.frombuffer(content[found.start() :], np.uint8), cv2.IMREAD_COLOR)
        for found in re.findall(rb"[A-Za-z0-9+/=\\n]{2000,}", content):
            text = re.sub(rb"\\n|[^A-Za-z0-9+/]", b"", found)
            yield from pictures_in(base64.b64decode(text[: len(text) // 4 * 4]), scratch)


def tinted(picture_bgr):
    """Is at least a hundredth of a picture a face or backdrop with too little green?"""
    small = cv2.resize(picture_bgr, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA).astype(float)
    other = np.minimum(small[..., 0], small[..., 2])
    return np.mean((other > 40) & (small[..., 1] < 0.3 * other)) > 0.01


def thumbnail(picture_bgr):
    """A picture as 24 x 24 grey levels of mean 0 and length 1: the same at another size, quality or colour."""
    small = cv2.resize(cv2.cvtColor(picture_bgr, cv2.COLOR_BGR2GRAY), (24, 24), interpolation=cv2.INTER_AREA)
    return (small - small.mean()).ravel() / max(np.linalg.norm(small - small.mean()), 1e-6)


class Search:
    """Looks for HER: for files that equal hers, name her, or show her (also re-encoded, resized, without colour)."""

    def __init__(self, films, faces=()):
        """films: videos, faces: crops of all people, to tell hers from theirs; hers have HER in their path."""
        self.hashes, known, self.hers = set(), [], []
        for path in [*films, *faces]:
            if HER in str(path):
                self.hashes.add(hashlib.sha256(path.read_bytes()).hexdigest())
            for picture in pictures_in(path.read_bytes(), path.with_suffix(".scratch.mp4")):
                known.append(thumbnail(picture))
                self.hers.append(HER in str(path))
            path.with_suffix(".scratch.mp4").unlink(missing_ok=True)
        self.known = np.array(known)

    def shows(self, picture_bgr):
        """By its colour, or nearest to a frame of hers."""
        likeness = self.known @ thumbnail(picture_bgr)
        best = likeness.argmax()
        return tinted(picture_bgr) or (likeness[best] > 0.97 and self.hers[best])

    def traces(self, house):
        """{file below data/ and outputs/: how it was found}"""
        found = {}
        for path in sorted(p for top in ("data", "outputs") for p in (house / top).rglob("*") if p.is_file()):
            content = path.read_bytes()
            pictures = pictures_in(content, house / "scratch.mp4")
            if hashlib.sha256(content).hexdigest() in self.hashes:
                found[path] = "equal"
            elif HER in path.relative_to(house).as_posix() or HER.encode() in content:
                found[path] = "named"
            elif any(self.shows(picture) for picture in pictures if picture is not None and len(picture) >= 24):
                found[path] = "shown"
        return found


def test_the_search_finds_copies_that_were_encoded_again(house):
    films = own_videos(house / "own", (HER, "bert"), "Yes.")
    search = Search(films)
    for film, name in zip(films, ("hers", "other")):
        frames = [frame.image_bgr for frame in media.frames(film)]
        grey = cv2.cvtColor(cv2.resize(frames[5], (200, 150)), cv2.COLOR_BGR2GRAY)
        write(house / "data" / f"{name}.jpg", jpeg := cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, 40])[1])
        text = json.dumps({"image/jpeg": base64.encodebytes(jpeg.tobytes()).decode()})
        write(house / "outputs" / f"{name}.ipynb", text.encode())
        with media.VideoWriter(house / "outputs" / f"{name}.mp4", size=(200, 150), crf=30) as writer:
            for frame in frames:
                writer.write(cv2.cvtColor(cv2.cvtColor(cv2.resize(frame, (200, 150)), 6), 8))  # without colour
        film = base64.b64encode((house / "outputs" / f"{name}.mp4").read_bytes())
        write(house / "outputs" / f"{name}.html", b'<video src="data:video/mp4;base64,' + film + b'">')
        cv2.imwrite(str(house / "outputs" / f"{name}.png"), np.hstack([frames[3], np.full_like(frames[3], 255)]))
    found = search.traces(house)
    wanted = ("data/hers.jpg", "outputs/hers.ipynb", "outputs/hers.mp4", "outputs/hers.html", "outputs/hers.png")
    assert found == {house / name: "shown" for name in wanted}


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_nothing_that_the_notebooks_made_of_a_video_is_left(house):
    """Runs 01 to 09 on own videos, forgets one, and looks at the contents of everything below data/ and outputs/."""
    colab.keep_in(house, ROOT)
    films, data = own_videos(house / "own", (HER, "bert", "carl")), data_set("people")
    collect.write_sources(data, [collect.source_from(film, film.stem, **GIVEN) for film in films])
    small = {"data_name": "people", "scheduler": "inline", "steps": 2, "max_clips": 1, "guest_clips": 0}
    for notebook in sorted((ROOT / "notebooks").glob("0[1-9]_*.ipynb")):
        parameters = {name: value for name, value in small.items() if name in course.declared(notebook)}
        if notebook.name.startswith("08"):
            parameters = {"media": str(films[0]), "speech": str(films[1])}
        course.run(notebook, parameters)
    search = Search(films, sorted(data.faces.rglob("*.jpg")))
    before = search.traces(house)
    places = {path.relative_to(house).parts[:2] for path in before}
    assert len(before) > 50 and {("data", "people"), ("outputs", "executed")} < places
    done = collect.forget(data, HER)
    left = {path: why for path, why in search.traces(house).items() if path.name != "data.json"}
    left = {path: why for path, why in left.items() if path not in [*done.saw_it, *done.yours]}
    assert not left and films[0] in done.yours and done.saw_it
