import cv2
import numpy as np
import pytest
from face_data import contents, copy

from lipsync_utils import audio, media, preprocess, speaker
from lipsync_utils.config import PreprocessConfig, SpeakerConfig
from lipsync_utils.errors import ManifestError
from lipsync_utils.faces import find_faces
from lipsync_utils.preprocess import preprocess_clips, speaker_boxes, split_by_video, why_not
from lipsync_utils.project import DataSet
from lipsync_utils.records import FaceClip, Reason, SpeakerCheck, read_csv, read_rows, rows, write_csv


@pytest.fixture(scope="module")
def done(show_clips, tmp_path_factory):
    data = copy(DataSet("show", show_clips / "filtered"), tmp_path_factory.mktemp("preprocess") / "data")
    references = [data.root / "references" / "host.png"]
    keep = SpeakerConfig(keep=("speaker_alone", "speaker_and_others", "mixed"))
    speaker.filter_speaker(data, references, keep, scheduler="inline")
    return data, run(data)


def run(data, *settings):
    """The rows of faces.csv that stage 04 makes."""
    return rows(preprocess_clips(data, *settings, scheduler="inline"), FaceClip)


def test_layout_is_the_reference_s(done):
    data, made = done
    assert read_rows(data.path("faces.csv"), FaceClip) == made
    row = next(r for r in made if r.clip_id == "host_0")
    folder = data.faces / "talk" / "host_0"
    assert row.folder == "faces/talk/host_0" and row.reason is None
    names = {p.name for p in folder.iterdir()}
    assert names == {"audio.wav", "mel.npy", *(f"{n}.jpg" for n in range(30))}
    wav = audio.load_wav(folder / "audio.wav")
    assert abs(len(wav) / 16000 - 30 / 25) <= 1 / 25
    mel = np.load(folder / "mel.npy")
    assert mel.dtype == np.float32 and np.array_equal(mel, audio.melspectrogram(wav))
    assert mel.shape[1] == row.mel_columns


def test_only_the_speaker_is_cut_out(done):
    data, made = done
    host = speaker.encode_references([data.root / "references" / "host.png"])[0]
    folder = data.faces / "group" / "three"
    table = find_faces(data.clips / "group" / "three.mp4", cache_dir=data.cache)
    assert table.from_cache and len(table.track_ids) == 3
    near = table.at(5)
    frame = list(media.frames(data.clips / "group" / "three.mp4"))[5].image_bgr
    from lipsync_utils.faces import encode

    rgb = np.ascontiguousarray(frame[..., ::-1])
    mine = min(near, key=lambda t: np.linalg.norm(encode(rgb, near[t]) - host))
    crop = near[mine].crop(frame)
    written = cv2.imread(str(folder / "5.jpg"))
    assert written.shape == crop.shape and np.abs(written.astype(int) - crop).mean() < 3
    half = next(r for r in made if r.clip_id == "half")
    assert half.reason is Reason.FACE_GAPS and half.folder is None and 10 <= half.gaps <= 20


def test_split_is_by_video(done):
    data, made = done
    lists = {s: data.path("filelists", f"{s}.txt").read_text().splitlines() for s in ("train", "val")}
    assert sorted(lists["train"] + lists["val"]) == sorted(f"{r.video_id}/{r.clip_id}" for r in made if r.folder)
    assert len(lists["train"]) and len(lists["val"])
    assert not {x.split("/")[0] for x in lists["train"]} & {x.split("/")[0] for x in lists["val"]}


def test_split_is_stable():
    names = [f"video{n:02d}" for n in range(80)]
    split = split_by_video(names, 0.25, 1)
    assert sum(s == "val" for s in split.values()) == 20 and split == split_by_video(reversed(names), 0.25, 1)
    more = split_by_video([*names, "new"], 0.25, 1)
    assert sum(more[n] != split[n] for n in names) <= 1
    assert split_by_video(names, 0.25, 2) != split
    assert set(split_by_video(["a", "b"], 0.1, 1).values()) == {"train", "val"}
    assert split_by_video(["a"], 0.5, 1) in ({"a": "train"}, {"a": "val"}) and split_by_video([], 0.5, 1) == {}
    assert set(split_by_video(names, 0.0, 1).values()) == {"train"}


def test_second_run_does_nothing_and_changes_nothing(done, monkeypatch):
    data, made = done
    before = contents(data.root)
    monkeypatch.setattr(preprocess, "preprocess_clip", lambda item, **_: 1 / 0)
    assert run(data) == made and contents(data.root) == before
    other = run(data, PreprocessConfig(seed=5, val_share=0.5))  # crops stay
    assert [r.folder for r in other] == [r.folder for r in made]
    run(data)


def test_crops_can_be_made_smaller(done, tmp_path):
    data = copy(done[0], tmp_path / "copy")
    made = run(data, PreprocessConfig(crop_px=96, min_face_px=125))
    folder = data.root / next(r.folder for r in made if r.clip_id == "host_1")
    assert cv2.imread(str(folder / "0.jpg")).shape == (96, 96, 3)
    assert next(r for r in made if r.clip_id == "three").reason is Reason.FACE_TOO_SMALL


def test_boxes_come_from_the_surest_track():
    a, b = np.full((3, 4), np.nan), np.full((3, 4), np.nan)
    a[:2], b[1:] = 1, 2
    assert speaker_boxes([a, b], 3)[:, 0].tolist() == [1, 1, 2]
    assert np.isnan(speaker_boxes([], 3)).all()


def test_reasons():
    row = FaceClip("c", "v", None, None, 100, 0, 21, 90, None, None, None)
    import dataclasses

    assert why_not(row, PreprocessConfig())[0] is Reason.FACE_GAPS
    assert why_not(dataclasses.replace(row, gaps=20), PreprocessConfig()) == (None, None)
    assert why_not(dataclasses.replace(row, gaps=0, median_face_px=40), PreprocessConfig())[0] is Reason.FACE_TOO_SMALL
    assert why_not(dataclasses.replace(row, median_face_px=None), PreprocessConfig())[0] is Reason.NO_FACE


def test_funnel_counts(done):
    data, made = done
    assert preprocess.funnel(data).values.tolist() == [
        ["videos", 3, 80],
        ["clips", 6, 5821],
        ["of the speaker", 4, 4700],
        ["with faces", sum(r.folder is not None for r in made), 4700],
    ]


def test_one_video_left_is_a_clear_warning(done, tmp_path, caplog):
    """Nothing to validate with: before, the stage said nothing and the next notebooks failed."""
    data = copy(done[0], tmp_path / "copy")
    checks = read_csv(data.path("speaker.csv"), SpeakerCheck)
    write_csv(data.path("speaker.csv"), checks[checks.video_id == "talk"], SpeakerCheck)
    assert {row.split for row in run(data)} == {"train"}
    assert "only one video, talk" in caplog.text and "Add another video of the speaker" in caplog.text
    caplog.clear()
    run(data, PreprocessConfig(val_share=0.0))
    assert not caplog.text, "nothing was asked for"


def test_missing_stage_is_a_clear_error(done, tmp_path):
    data = copy(done[0], tmp_path / "copy")
    data.path("speaker.csv").unlink()
    with pytest.raises(ManifestError, match="speaker.csv"):
        preprocess_clips(data)
