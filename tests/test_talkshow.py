"""The talk show's files: what is promised about videos, sound and truth holds in what was really written."""

import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from lipsync_utils import media, talkshow
from lipsync_utils.config import TalkshowConfig
from lipsync_utils.errors import MediaError, SettingError
from lipsync_utils.project import content_hash
from lipsync_utils.talkshow import script, video
from lipsync_utils.talkshow.actor import LOOK_BOUNDS
from lipsync_utils.talkshow.puppet import mouth_opening, warp_mouth
from lipsync_utils.talkshow.speech import play, speak
from lipsync_utils.talkshow.stage import Shot


def sound_of(path: Path) -> tuple[np.ndarray, int]:
    """Decode a video's sound: float32 (n,), rate."""
    with av.open(str(path)) as container:
        blocks = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
        return np.concatenate(blocks), container.streams.audio[0].rate


def level_dbfs(wav) -> float:
    return 20 * np.log10(np.sqrt(np.mean(np.square(wav, dtype=np.float64))) + 1e-9)


def test_cast_has_a_dutch_host_and_guests_of_both_languages():
    languages = [a.voice.language for a in talkshow.guests()]
    assert talkshow.host().voice.language == "nl"
    assert len(talkshow.cast()) >= 5
    assert {"nl", "en"} <= set(languages)


def test_random_actors_stay_in_bounds_and_differ():
    actors = [talkshow.random_actor(seed) for seed in range(40)]
    for actor in actors:
        for key, (low, high) in LOOK_BOUNDS.items():
            assert low <= getattr(actor, key) <= high, (actor.name, key)
    assert len({(a.hair, a.skin, a.eye_dx) for a in actors}) == 40
    assert talkshow.random_actor(7) == actors[7]
    assert talkshow.random_actor(7, "en").voice.language == "en"


def test_random_actor_looks_the_same_in_both_languages():
    for seed in range(10):
        dutch, english = talkshow.random_actor(seed, "nl"), talkshow.random_actor(seed, "en")
        assert (dutch.voice.language, english.voice.language) == ("nl", "en")
        assert replace(english, voice=dutch.voice) == dutch


def test_the_host_alone_has_a_habit_of_the_mouth():
    others = [*talkshow.guests(), *(talkshow.random_actor(seed) for seed in range(30))]
    assert {(a.habit_side, a.habit_round, a.habit_teeth) for a in others} == {(0, 0, 0)}
    assert min(talkshow.host().habit_side, talkshow.host().habit_round, talkshow.host().habit_teeth) >= 0.5


def test_habit_is_drawn_and_true():
    """It shows in the picture while the mouth is open, more on her open side, and in the truth of the opening."""
    with_it = replace(talkshow.random_actor(3), habit_side=0.8, habit_round=0.7, habit_teeth=0.9)
    actors = with_it, talkshow.random_actor(3)
    curves = np.array([[0, 0, 0, 0, 0, 0], [0.5, 0, 0, 0.2, 0, 0]])
    played = [play(actor, curves, 1, 0.0) for actor in actors]
    at_rest, speaking = ([mouth_opening(*pair) for pair in zip(actors, states)] for states in zip(*played))
    assert at_rest == [0, 0] and speaking[0] != speaking[1]
    shots = [Shot(talkshow.Scene("single", (actor,), seed=3), (200, 220)) for actor in actors]
    still, open_ = ([shot.render([s], 0).astype(int) for shot, s in zip(shots, states)] for states in zip(*played))
    assert np.array_equal(*still)
    assert np.abs(open_[0] - open_[1]).max() > 50
    *_, top, bottom = warp_mouth(with_it, played[0][1], np.float32([-0.2, 0.2]), np.float32([1.0, 1.0]))
    left, right = bottom - top
    assert right > 2 * left


def test_same_lines_give_the_same_samples_in_a_fresh_process():
    lines = [("Bonte bessen, vis en saus.", actor.voice) for actor in talkshow.cast().values()]
    lines += [("A sentence.", talkshow.random_actor(seed, "en").voice) for seed in range(20)]
    first = speak(lines)
    time.sleep(1.1)  # some of espeak-ng's voices take their noise from the clock's seconds
    second = speak(lines)
    for a, b in zip(first, second, strict=True):
        assert np.array_equal(a.wav, b.wav)
        assert a.phonemes == b.phonemes


def test_unknown_voice_is_an_error_that_names_it():
    with pytest.raises(MediaError, match="nobody"):
        speak([("Hello", talkshow.Voice("nobody"))])


def test_programme_has_what_the_course_needs():
    scripts = talkshow.course_scripts(TalkshowConfig())
    films = [talkshow.film(s) for s in scripts]
    kinds = {scene.kind for f in films for scene, *_ in f.takes}
    lengths = [cue.speech.length_s for f in films for cue in f.cues]
    pauses = [b.start_s - a.end_s for f in films for a, b in zip(f.cues, f.cues[1:])]
    assert len(scripts) == 8
    assert all(f.n_frames == 750 for f in films)
    assert kinds == set(script.KINDS)
    assert max(lengths) > 10
    assert min(lengths) < 1
    assert min(pauses) >= 0.5
    assert max(pauses) <= 1.5
    assert sum(s.quiet for s in scripts) == 1
    assert all(len(set(scene.people)) == len(scene.people) for f in films for scene, *_ in f.takes)


def test_longer_shows_begin_with_the_same_videos_and_fill_their_length():
    assert talkshow.course_scripts(TalkshowConfig(n_videos=11))[:8] == talkshow.course_scripts(TalkshowConfig())
    long = talkshow.course_scripts(TalkshowConfig(n_videos=1, seconds=120))[0]
    film = talkshow.film(long)
    assert film.n_frames == 3000
    assert film.cues[-1].end_s > 115


def test_held_out_sentences_are_used_nowhere_else():
    settings = TalkshowConfig()
    held = [n.text for s in talkshow.held_out_scripts(settings) for n in s.lines]
    course = " ".join(n.text for s in talkshow.course_scripts(settings) for n in s.lines)
    assert len(talkshow.held_out_scripts(settings)) == 12
    assert len(set(held)) == len(held)
    assert not [text for text in held if text in course or text in talkshow.sentences("nl")["talk"]]
    assert all(s.scenes[0].people == (talkshow.host(),) for s in talkshow.held_out_scripts(settings))
    many = talkshow.held_out_scripts(TalkshowConfig(n_held_out=40))
    assert len({n.text for s in many for n in s.lines}) == 80


def test_a_line_that_does_not_fit_is_an_error():
    host = talkshow.host()
    scene = talkshow.Scene("single", (host,), (talkshow.Line(host, "Dit is een veel te lange zin voor dit filmpje."),))
    with pytest.raises(SettingError, match="no line fits"):
        talkshow.film(talkshow.Script("short", (scene,), seconds=2))
    with pytest.raises(SettingError, match="an inset needs 2"):
        talkshow.Scene("inset", (talkshow.host(),))
    with pytest.raises(SettingError, match="kind"):
        talkshow.Scene("weather")


def test_video_is_what_the_truth_says(sample_show):
    for name in ("talk", "group", "inset"):
        info, rows, probed = sample_show.info(name), sample_show.rows(name), media.probe(sample_show.video(name))
        assert (probed.width_px, probed.height_px, probed.fps) == (480, 360, 25)
        assert sum(1 for _ in media.frames(sample_show.video(name))) == info["n_frames"] == rows[-1].frame + 1
        wav, rate = sound_of(sample_show.video(name))
        assert rate >= 16000
        assert abs(len(wav) / rate - info["duration_s"]) < 0.1


def test_truth_says_who_is_seen_and_who_speaks(sample_show):
    host, guest, other = talkshow.host().name, talkshow.guests()[0].name, talkshow.guests()[2].name
    per_frame = {}
    for row in sample_show.rows("talk"):
        per_frame.setdefault(row.shot, set()).add(row.actor)
    assert per_frame == {"single": {host, guest}, "title": {None}}
    assert {r.actor for r in sample_show.rows("group")} == {host, guest, other}
    assert {r.speaker for r in sample_show.rows("group")} == {host, None}
    assert all(r.speaking == (r.actor == r.speaker) for r in sample_show.rows("inset") if r.speaker)
    assert {r.speaker for r in sample_show.rows("talk") if r.shot == "title"} >= {host}
    boxes = {r.actor: r for r in sample_show.rows("inset") if r.frame == 0}
    assert boxes[guest].right_px < 240 < boxes[host].left_px
    assert boxes[host].right_px - boxes[host].left_px > 2 * (boxes[guest].right_px - boxes[guest].left_px)


def test_speech_lies_where_the_truth_says(sample_show):
    info = sample_show.info("talk")
    wav, rate = sound_of(sample_show.video("talk"))
    for line in info["spoken"]:
        inside = wav[round((line["start_s"] + 0.05) * rate) : round((line["end_s"] - 0.05) * rate)]
        before = wav[round((line["start_s"] - 0.3) * rate) : round((line["start_s"] - 0.04) * rate)]
        assert level_dbfs(inside) > -26
        assert level_dbfs(before) < -60
    first, last = info["phonemes"][0], info["phonemes"][-1]
    assert first["start_s"] == info["spoken"][0]["start_s"]
    assert abs(last["end_s"] - info["spoken"][-1]["end_s"]) < 0.01


def test_mouth_moves_with_the_speaker_only(sample_show):
    rows = sample_show.rows("group")
    speaking = talkshow.mouth_curve(rows, talkshow.host().name)
    listening = talkshow.mouth_curve(rows, talkshow.guests()[0].name)
    assert speaking.max() > 0.25
    assert listening.max() < 0.01
    silent = [r.mouth_open for r in rows if r.actor == talkshow.host().name and r.time_s < 0.4]
    assert max(silent) < 0.02


def test_rendering_again_changes_nothing_and_a_fresh_run_gives_the_same_bytes(tmp_path, request):
    request.addfinalizer(partial(cv2.setNumThreads, cv2.getNumThreads()))
    cv2.setNumThreads(2)
    host = talkshow.host()
    first, second = tmp_path / "a" / "x.mp4", tmp_path / "b" / "x.mp4"
    for path in (first, second, first):
        talkshow.render_clip(path, [host], [(0, "Ja hoor.")], size=(128, 128), seed=3)
    for suffix in (".mp4", ".truth.csv", ".truth.json"):
        assert content_hash(first.with_suffix(suffix)) == content_hash(second.with_suffix(suffix))
    changed = first.stat().st_mtime_ns
    talkshow.render_clip(first, [host], [(0, "Ja hoor.")], size=(128, 128), seed=3)
    assert first.stat().st_mtime_ns == changed
    talkshow.render_clip(first, [host], [(0, "Nee hoor.")], size=(128, 128), seed=3)
    assert first.stat().st_mtime_ns != changed
    assert cv2.getNumThreads() == 2, "rendering sets the process's threads"


def test_render_makes_any_number_on_all_cores(tmp_path, monkeypatch):
    monkeypatch.setattr(video, "render_video", lambda script, folder: folder / f"{script.video_id}.mp4")
    paths = talkshow.render(3, 20, tmp_path, workers=1)
    assert [p.name for p in paths] == ["show01.mp4", "show02.mp4", "show03.mp4"]


def test_failed_videos_are_named(tmp_path, monkeypatch):
    def broken(script, folder):
        raise MediaError("no more film")

    monkeypatch.setattr(video, "render_video", broken)
    with pytest.raises(MediaError, match=r"show01: no more film"):
        talkshow.render(1, 10, tmp_path, workers=1)
