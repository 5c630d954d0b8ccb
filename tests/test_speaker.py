import numpy as np
import pandas as pd
import pytest
from face_data import copy

from lipsync_utils import collect, media, records, silence, speaker, talkshow
from lipsync_utils.config import SpeakerConfig
from lipsync_utils.errors import FaceError, SettingError
from lipsync_utils.faces import find_in_frames
from lipsync_utils.faces.detect import HogDetector
from lipsync_utils.project import DataSet
from lipsync_utils.records import Clip, Reason, Source, SpeakerCheck, Verdict, read_csv
from lipsync_utils.speaker import SpeakerFace, judge


def rows_of(*frames):
    """Rows of one clip; per frame the distances of its faces, the surest first; the place of a face is its track."""
    found = []
    for number, distances in enumerate(frames):
        if not distances:
            found.append(SpeakerFace("c", "v", number, *(None,) * 9))
        found += [SpeakerFace("c", "v", number, k, k, 0, 0, 9, 9, d, None, None) for k, d in enumerate(distances)]
    return records.from_cells(records.to_cells(found, SpeakerFace), SpeakerFace, "test")


@pytest.mark.parametrize(
    "frames, verdict, reason",
    [
        ([[0.3]] * 6, Verdict.SPEAKER_ALONE, None),
        ([[0.3, 0.8]] * 6, Verdict.SPEAKER_AND_OTHERS, Reason.WITH_OTHERS),
        ([[0.8]] * 6, Verdict.SOMEONE_ELSE, Reason.SOMEONE_ELSE),
        ([[]] * 6, Verdict.NO_FACE, Reason.NO_FACE),
        ([[]] * 4 + [[0.3]] * 2, Verdict.NO_FACE, Reason.NO_FACE),
        ([[0.3]] * 3 + [[0.8]] * 3, Verdict.MIXED, Reason.MIXED),
        ([[0.3]] * 5 + [[]], Verdict.SPEAKER_ALONE, None),
        ([[0.3]] * 5 + [[0.55]], Verdict.SPEAKER_ALONE, None),  # a blink of the same track, in doubt
        ([[0.3]] * 5 + [[0.65]], Verdict.MIXED, Reason.MIXED),
    ],
)
def test_verdicts(frames, verdict, reason):
    check = judge(rows_of(*frames), SpeakerConfig())
    assert (check.verdict, check.reason, check.kept) == (verdict, reason, reason is None)
    assert check.frames_checked == len(frames)


def test_what_is_kept_is_a_setting():
    rows = rows_of(*[[0.3, 0.8]] * 4)
    assert judge(rows, SpeakerConfig(keep=("speaker_alone", "speaker_and_others"))).kept
    alone = judge(rows_of(*[[0.3]] * 4), SpeakerConfig(keep=("speaker_and_others",)))
    assert not alone.kept and alone.note
    assert judge(rows, SpeakerConfig(tolerance=0.2)).verdict == "someone_else"


@pytest.mark.parametrize(
    "frames, kept",
    [
        ([[0.59]] * 3, True),
        ([[0.59], [0.61], [0.1]], False),  # the first mismatch rejects
        ([[0.3, 0.9]] * 3, True),  # only the first face counts
        ([[0.9, 0.3]] * 3, False),
        ([[], []], True),  # nobody at all is kept
    ],
)
def test_article_rule(frames, kept):
    assert speaker.article_keeps(rows_of(*frames)).to_dict() == {"c": kept}


def test_frames_to_look_at():
    assert speaker.frames_to_look_at(100, 25, SpeakerConfig()) == [6, 18, 31, 43, 56, 68, 81, 93]
    assert speaker.frames_to_look_at(10, 25, SpeakerConfig()) == [5]
    assert speaker.frames_to_look_at(1, 25, SpeakerConfig(samples_per_s=10)) == [0]


def test_suggested_tolerance_lies_in_the_gap():
    rng = np.random.default_rng(0)
    near, far = rng.normal(0.25, 0.05, 300), rng.normal(0.75, 0.04, 100)
    assert 0.42 < speaker.suggest_tolerance([*near, *far]) < 0.62
    assert speaker.suggest_tolerance(near) == 0.5 == speaker.suggest_tolerance([])


def test_tracks_of_the_speaker_are_surest_first():
    rows = rows_of([0.8, 0.3, 0.2], [0.7, 0.4, 0.1])
    assert speaker.tracks_of_speaker(rows, SpeakerConfig()) == {"c": [2, 1]}
    assert speaker.tracks_of_speaker(rows_of([0.9]), SpeakerConfig()) == {}


@pytest.fixture(scope="module")
def filtered(show_clips, tmp_path_factory):
    data = copy(DataSet("show", show_clips / "filtered"), tmp_path_factory.mktemp("speaker") / "data")
    references = [data.root / "references" / "host.png"]
    return data, references, speaker.filter_speaker(data, references, scheduler="inline")


def test_every_kind_of_clip_gets_its_verdict_and_nothing_is_deleted(filtered):
    data, _, (checks, faces) = filtered
    verdicts = dict(zip(checks.clip_id, checks.verdict))
    assert verdicts == {
        "host_0": "speaker_alone",
        "host_1": "speaker_alone",
        "other": "someone_else",
        "card": "no_face",
        "half": "mixed",
        "three": "speaker_and_others",
    }
    assert checks.clip_id[checks.kept].tolist() == ["host_0", "host_1"]
    pd.testing.assert_frame_equal(read_csv(data.path("speaker.csv"), SpeakerCheck), checks)
    assert len(list(data.clips.rglob("*.mp4"))) == 6
    assert ((faces.clip_id == "three") & (faces.frame == 6)).sum() == 3


def test_article_rule_on_clips(filtered):
    by_article = speaker.article_keeps(filtered[2][1])
    kept = set(by_article[by_article].index)
    # A clip without a face is kept; in a group it depends on which face the detector is surest of.
    assert kept - {"three"} == {"host_0", "host_1", "card"}


def test_another_tolerance_looks_at_nothing_again(filtered, monkeypatch):
    data, references, (_, first) = filtered
    speaker.filter_speaker(data, references, scheduler="inline")
    monkeypatch.setattr(speaker, "look_at_clip", lambda item, **_: 1 / 0)
    checks, faces = speaker.filter_speaker(data, references, SpeakerConfig(tolerance=0.05), scheduler="inline")
    assert not checks.kept.any() and faces.equals(first)


def test_candidates_become_references(filtered):
    data, _, _ = filtered
    clips = read_csv(data.path("clips.csv"), Clip)
    candidates = speaker.find_candidates(data, clips)
    assert len(candidates) == 3 and len(candidates[0].clips) >= 3
    (picture,) = speaker.choose(data, candidates, "0")
    portrait = talkshow.portrait(data.root / "host2.png", talkshow.host(), seed=7)
    codes = speaker.encode_references([picture, portrait])
    assert np.linalg.norm(codes[0] - codes[1]) < 0.45
    for wrong in ("9", "host", "-1", ""):
        with pytest.raises(SettingError, match="0 to 2"):
            speaker.choose(data, candidates, wrong)


def test_reference_without_a_face_is_a_clear_error(filtered, tmp_path):
    data, _, _ = filtered
    grey = media.write_picture(tmp_path / "grey.png", np.full((200, 200, 3), 90, np.uint8))
    with pytest.raises(FaceError, match="grey.png"):
        speaker.filter_speaker(data, [grey])
    with pytest.raises(SettingError, match="reference"):
        speaker.filter_speaker(data, [])


def test_contact_sheet_has_a_picture_and_a_label_per_clip(filtered):
    data, _, (checks, faces) = filtered
    pictures, labels = speaker.sheet(data, checks, faces, 0.5, most=4)
    assert len(pictures) == len(labels) == 4 and all(p.ndim == 3 for p in pictures)
    assert any("speaker_alone" in label for label in labels)


def test_precision_and_recall_against_the_truth_of_the_show(filtered):
    data, _, (checks, faces) = filtered
    host = talkshow.host().name
    found = speaker.score(data, checks.clip_id[checks.kept], host)
    assert (found.precision, found.recall, found.wrong) == (1.0, 1.0, [])
    found = speaker.score(data, ["host_0", "other", "half"], host)
    assert (found.precision, found.recall, found.wrong) == (1 / 3, 1 / 2, ["half", "host_1", "other"])
    known = data.raw / "cuts.truth.csv"
    known.rename(known.with_suffix(".away"))
    assert speaker.score(data, [], host) is None, "no truth, as with real videos"
    known.with_suffix(".away").rename(known)


@pytest.mark.slow
def test_two_real_people_in_one_video(real_clips, tmp_path):
    """Joined with 0.6 s of silence between them: exactly the chosen person's clips are kept."""
    man, woman = real_clips / "man_suit_700x700.mp4", real_clips / "woman_blue_700x700_30fps.mp4"
    joined, still = tmp_path / "joined.mp4", "anullsrc=r=16000:cl=mono,atrim=0:0.6[s]"
    even = "fps=25,scale=480:480,setsar=1,format=yuv420p,trim=0:{0},setpts=PTS-STARTPTS"
    graph = (
        f"[0:v]{even.format(5)}[a];[1:v]{even.format(6)},split[b0][b];[b0]trim=0:0.6,setpts=PTS-STARTPTS[n];"
        f"[0:a]aresample=16000,aformat=channel_layouts=mono,atrim=0:5,apad=whole_dur=5[p];{still};"
        "[1:a]aresample=16000,aformat=channel_layouts=mono,atrim=0:6,apad=whole_dur=6[q];"
        "[a][p][n][s][b][q]concat=n=3:v=1:a=1[v][w]"
    )
    inputs = ["-v", "error", "-i", str(man), "-i", str(woman)]
    media.ffmpeg([*inputs, "-filter_complex", graph, "-map", "[v]", "-map", "[w]", str(joined)])
    data = DataSet("two", tmp_path / "two")
    source = Source("joined", str(joined), "two people", "en", "a man", "Apache-2.0", "public demo")
    collect.write_sources(data, [source])
    collect.collect_videos(data, scheduler="inline")
    clips = silence.split_videos(data, scheduler="inline")
    clips = clips[clips.file.notna()]
    for chosen, first_s, last_s in ((man, 0, 5.3), (woman, 5.3, 99)):
        picture = media.write_picture(tmp_path / f"{chosen.stem}.png", next(media.frames(chosen, start_s=1)).image_bgr)
        checks, _ = speaker.filter_speaker(data, [picture], scheduler="inline")
        mine = set(clips.clip_id[((clips.start_s + clips.end_s) / 2).between(first_s, last_s)])
        assert mine and set(checks.clip_id[checks.kept]) == mine


def test_known_faces_make_a_search_coarser_but_people_who_come_in_are_seen(sample_show, monkeypatch):
    """Stage 03 took most of its time to search whole pictures again for the smallest faces."""
    searched, whole = [], HogDetector.scan
    monkeypatch.setattr(HogDetector, "scan", lambda *a: searched.append(a[2]) or whole(*a))
    frame = next(media.frames(sample_show.video("talk"), start_s=0.5)).image_bgr
    face = frame[:, frame.shape[1] // 4 : -frame.shape[1] // 4]
    alone, beside = np.hstack([face, np.full_like(face, 90)]), np.hstack([face, face])
    fading = [(alone * (1 - share) + beside * share).astype(np.uint8) for share in np.linspace(0, 1, 25)]
    found = find_in_frames([alone] * 10 + fading + [beside] * 20)
    assert len(found.at(5)) == 1 and len(found.at(50)) == 2
    width = np.nanmedian(found.track_boxes(0, raw=True)[:, 2] - found.track_boxes(0, raw=True)[:, 0])
    assert searched[0] == 0, "where a shot begins, the smallest faces are searched"
    assert len(searched) > 2 and all(0.4 * width < smallest < 0.9 * width for smallest in searched[1:])
