"""silence: pydub's parts, clips that add up to the video, and cuts that are exact whatever the video is."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from lipsync_utils import media, silence
from lipsync_utils.audio import load_wav
from lipsync_utils.config import PRESETS, SplitConfig
from lipsync_utils.errors import ManifestError
from lipsync_utils.media.tools import file_url
from lipsync_utils.project import data_set
from lipsync_utils.records import Clip, Reason, Source, Video, read_rows, rows, write_csv
from lipsync_utils.silence import FULL_SCALE, cut_clips, pieces

DEFAULT = SplitConfig()
EXACT_ENDS = SplitConfig(keep_silence_ms=0)


def sound_of(*pieces_, rate=16000):
    """Noise and silence: sound_of((seconds, level in dBFS), ...); a level of None is digital silence."""
    rng = np.random.default_rng(0)
    parts = [
        rng.standard_normal(int(s * rate)).clip(-3, 3) * (0 if level is None else 10 ** (level / 20))
        for s, level in pieces_
    ]
    return np.round(np.concatenate(parts).clip(-1, 1) * 32767).astype(np.float32) / FULL_SCALE


def pydub_parts(wav, settings):
    """The parts as pydub finds them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no ffmpeg on the PATH; not needed for this
        from pydub import AudioSegment
        from pydub.silence import detect_nonsilent
    samples = np.rint(wav * FULL_SCALE).astype("<i2").tobytes()
    segment = AudioSegment(samples, frame_rate=16000, sample_width=2, channels=1)
    level = silence.threshold_dbfs(wav, settings)
    found = detect_nonsilent(segment, settings.min_silence_ms, level, settings.seek_step_ms)
    return [(a / 1000, b / 1000) for a, b in found]


@pytest.mark.parametrize("step_ms", [1, 7, 10, 450])
def test_parts_are_those_of_pydub(step_ms):
    rng = np.random.default_rng(step_ms)
    for trial in range(4):
        wav = sound_of(*((rng.uniform(0.05, 0.9), rng.choice([-60, -41, -39, -30, -12])) for _ in range(14)))
        settings = SplitConfig(seek_step_ms=step_ms, relative_to_loudness=trial == 3)
        assert silence.find_parts(wav, settings) == pydub_parts(wav, settings)


def test_edges_of_the_detector():
    assert silence.find_parts(np.zeros(0, np.float32), DEFAULT) == []
    assert silence.find_parts(sound_of((0.1, -20)), DEFAULT) == [(0.0, 0.1)]
    assert silence.find_parts(sound_of((3, None)), DEFAULT) == []
    assert silence.find_parts(sound_of((3, -20)), DEFAULT) == [(0.0, 3.0)]
    assert silence.find_parts(sound_of((1, -20), (0.39, None), (1, -20)), DEFAULT) == [(0.0, 2.39)]
    (a, b), (c, d) = silence.find_parts(sound_of((1, -20), (0.5, None), (1, -20)), DEFAULT)
    assert (a, d) == (0, 2.5) and b == pytest.approx(1.0, abs=0.01) and c == pytest.approx(1.5, abs=0.01)


def test_a_quiet_video_wants_the_relative_threshold():
    quiet = sound_of((1, None), (2, -50), (1, None), (2, -55), (1, None))
    assert silence.find_parts(quiet, DEFAULT) == []
    found = silence.find_parts(quiet, replace(DEFAULT, relative_to_loudness=True))
    assert np.array(found) == pytest.approx(np.array([(1, 3), (4, 6)]), abs=0.02)
    loud = sound_of((1, None), (2, -12), (1, None))
    relative = silence.find_parts(loud, replace(DEFAULT, relative_to_loudness=True))
    assert np.array(relative) == pytest.approx(np.array(silence.find_parts(loud, DEFAULT)), abs=0.01)


@pytest.mark.parametrize("seed", range(4))
def test_spans_fill_the_video_without_gap_or_overlap(seed):
    rng = np.random.default_rng(seed)
    marks = np.round(np.cumsum(rng.choice([0.4, 0.7, 1.3, 6.0, 10.0, 10.4, 23.0], 20)), 3)
    parts = list(zip(marks[::2].tolist(), marks[1::2].tolist()))
    duration_s = float(rng.choice([marks[-1] + 2, marks[-1], marks[-1] - 3, marks[-3] - 0.02]))
    settings = replace(DEFAULT, keep_silence_ms=int(rng.choice([0, 150, 400])), count_kept_silence=seed % 2 == 0)
    clips, rejected = silence.plan_clips(parts, duration_s, settings)
    spans = sorted([*clips, *rejected], key=lambda s: s.start_s)
    assert spans[0].start_s == 0 and spans[-1].end_s == duration_s
    assert all(a.end_s == b.start_s for a, b in zip(spans, spans[1:]))
    assert sum(s.length_s for s in spans) == pytest.approx(duration_s)
    assert all(s.length_s > 0 for s in spans) and {s.reason for s in rejected} <= {Reason.SILENCE, Reason.TOO_SHORT}
    kept_s = 2 * settings.keep_silence_ms / 1000 * settings.count_kept_silence
    assert all(settings.min_clip_s - kept_s - 1e-9 <= c.length_s <= settings.max_part_s + 1e-9 for c in clips)
    assert all((c.end_frame - c.first_frame) / 25 >= settings.min_clip_s - 0.0401 for c in clips)
    for clip in clips:  # the clip holds its part, and at most the kept silence (rounded to frames) more
        first_s, last_s = clip.first_frame / 25, clip.end_frame / 25
        assert first_s <= clip.start_s + 1e-9 and last_s >= min(clip.end_s, duration_s) - 0.0401
        assert clip.start_s - first_s <= settings.keep_silence_ms / 1000 + 0.0401
        assert last_s <= duration_s + 0.0201
    names = [s.clip_id("v") for s in spans]
    assert len(set(names)) == len(names) and names == sorted(names)


def test_long_and_short_parts():
    assert pieces(0.0, 10.0, DEFAULT) == [(0.0, 10.0)]
    assert pieces(1.0, 13.5, DEFAULT) == [(1.0, 6.0), (6.0, 11.0), (11.0, 13.5)]
    assert pieces(0.0, 15.0, DEFAULT) == [(0.0, 5.0), (5.0, 10.0), (10.0, 15.0)]
    clips, rejected = silence.plan_clips([(1.0, 11.5), (13.0, 13.6), (16.0, 17.0)], 20.0, DEFAULT)
    assert [(c.start_s, c.end_s) for c in clips] == [(1.0, 6.0), (6.0, 11.0), (16.0, 17.0)]
    assert [(r.start_s, r.end_s) for r in rejected if r.reason is Reason.TOO_SHORT] == [(11.0, 11.5), (13.0, 13.6)]
    assert clips[0].end_frame == clips[1].first_frame, "pieces of one part share no frame"
    assert (clips[0].first_frame, clips[2].end_frame) == (21, 429), "150 ms more, to whole frames"
    article, _ = silence.plan_clips([(1.0, 3.0)], 20.0, EXACT_ENDS)
    assert (article[0].first_frame, article[0].end_frame) == (25, 75), "0 gives the article's cuts"


def test_the_kept_silence_counts_towards_the_shortest_clip_but_not_in_the_article():
    parts = [(0.5, 1.47), (3.0, 3.72), (4.2, 4.85)]  # 0.97 s would be 1.27 s with the kept silence; 1.02 s; 0.95 s
    clips, rejected = silence.plan_clips(parts, 6.0, DEFAULT)
    assert [(c.start_s, c.end_s) for c in clips] == parts[:2]
    assert all((c.end_frame - c.first_frame) / 25 >= 1 for c in clips), "as long as min_clip_s says"
    assert [(r.start_s, r.end_s) for r in rejected if r.reason is Reason.TOO_SHORT] == parts[2:]
    assert not silence.plan_clips(parts, 6.0, PRESETS["article"].split)[0]
    assert not silence.plan_clips([(0.0, 0.97)], 0.97, DEFAULT)[0], "there is no silence to keep"


def test_ids_carry_the_time_span():
    assert silence.Span(0.123, 4.567).clip_id("show01") == "show01_0000123_0004567"


def striped(path, fps, seconds, size=(64, 48), rate=16000, channels=1, codec=()):
    """A video whose brightness says its time (3.5 levels per 40 ms), with a beep at each second."""
    with media.VideoWriter(path, fps=fps, size=size, crf=5) as writer:
        for k in range(int(fps * seconds)):
            writer.write(np.full((size[1], size[0], 3), brightness(k / fps), np.uint8))
    t = np.arange(int(seconds * rate)) / rate
    wav = (0.4 * np.sin(2 * np.pi * 500 * t) * ((t % 1) < 0.3)).astype(np.float32)
    sound = path.with_suffix(".f32")
    np.repeat(wav[:, None], channels, 1).tofile(sound)
    raw = ["-f", "f32le", "-ar", rate, "-ac", channels, "-i", file_url(sound)]
    media.ffmpeg(
        [
            "-v",
            "error",
            "-i",
            file_url(path),
            *raw,
            *(codec or ["-c:v", "copy"]),
            "-c:a",
            "aac",
            "-b:a",
            "128k",
            file_url(path.with_suffix(".out.mp4")),
        ]
    )
    return path.with_suffix(".out.mp4")


def brightness(time_s):
    return int(20 + 3.5 * ((time_s * 25) % 60))


HEVC = ["-c:v", "libx265", "-x265-params", "log-level=error", "-crf", "12"]
PQ = [*HEVC, "-vf", "format=yuv420p10le,setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc"]
TURNED = "turned"
INPUTS = {
    "22 fps": {"fps": 22},
    "24 fps 48 kHz stereo": {"fps": 24, "rate": 48000, "channels": 2},
    "29.97 fps 44.1 kHz": {"fps": 30000 / 1001, "rate": 44100},
    "60 fps 8 kHz": {"fps": 60, "rate": 8000},
    "odd size": {"fps": 25, "size": (66, 50), "codec": ["-vf", "crop=65:49", "-pix_fmt", "yuv444p", "-crf", "8"]},
    "HEVC": {"fps": 30, "codec": HEVC},
    "10-bit HDR": {"fps": 25, "codec": PQ},
    "variable rate": {"fps": 30, "codec": ["-vf", "select='not(eq(mod(n,7),3))'", "-fps_mode", "vfr", "-crf", "8"]},
    TURNED: {"fps": 25},
}


@pytest.mark.parametrize("kind", INPUTS)
def test_clips_are_exact_whatever_the_video_is(tmp_path, kind):
    video = striped(tmp_path / "in.mp4", seconds=3.2, **INPUTS[kind])
    if kind == TURNED:
        flat, video = video, tmp_path / "turned.mp4"
        media.ffmpeg(
            ["-v", "error", "-display_rotation:v:0", "-90", "-i", file_url(flat), "-c", "copy", file_url(video)]
        )
    spans = [silence.Span(0.4, 1.6, 10, 40), silence.Span(1.6, 2.8, 40, 70)]
    files, notes = cut_clips(video, load_wav(video), spans, tmp_path / "clips", "v", DEFAULT)
    assert not notes
    for span, file in zip(spans, files):
        info, frames = media.probe(file), list(media.frames(file))
        assert info.fps == 25 and not info.variable_rate and len(frames) == 30 and info.audio_hz == 16000
        wav = load_wav(file)
        assert abs(len(wav) / 16000 - len(frames) / 25) < 0.04 and info.audio_channels == 1
        assert info.size == {"odd size": (64, 48), TURNED: (48, 64)}.get(kind, (64, 48))
        if kind != "10-bit HDR":
            seen = np.array([f.image_bgr.mean() for f in frames])
            wanted = np.array([brightness((span.first_frame + k) / 25) for k in range(30)])
            assert np.abs(seen - wanted)[:-1].max() < 3.5 * 1.1 + 2, "each frame shows its own moment, within a frame"
            assert abs((seen - wanted).mean()) < 3.5, "and on average is neither early nor late"
        beep = np.flatnonzero(np.abs(wav) > 0.2)
        begins = 1.0 if span.start_s < 1 else 2.0
        beep = beep[beep > (begins - 0.5 - span.start_s) * 16000]
        assert beep[0] / 16000 == pytest.approx(begins - span.start_s, abs=0.01)


def test_crop_is_applied(tmp_path):
    image = np.zeros((48, 64, 3), np.uint8)
    image[:, 32:] = 180
    with media.VideoWriter(tmp_path / "a.mp4", size=(64, 48), sound=sound_of((2, -20))) as writer:
        for _ in range(50):
            writer.write(image)
    files, notes = cut_clips(
        tmp_path / "a.mp4",
        sound_of((2, -20)),
        [silence.Span(0, 2, 0, 50)],
        tmp_path,
        "v",
        DEFAULT,
        crop=(32, 0, 64, 48),
    )
    frame = next(media.frames(files[0])).image_bgr
    assert frame.shape == (48, 32, 3) and frame[:, 4:].mean() > 170


def make_data(folder, videos, crops=None):
    """A data set with these files as collected videos."""
    data = data_set("test", folder)
    sources = [Source(i, str(p), i, "nl", "host", "MIT", "given", (crops or {}).get(i)) for i, p in videos.items()]
    write_csv(data.path("videos.csv"), sources, Source)
    rows = []
    for video_id, path in videos.items():
        target = data.path("raw", f"{video_id}.mp4")
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
        rows.append(Video(video_id, f"raw/{video_id}.mp4", None, 64, 48, 25.0, 1.0, None, None, None, None, None, None))
    write_csv(data.path("collected.csv"), rows, Video)
    return data


def spoken_video(path, *levels, size=(64, 48), seed=0):
    """A video with this sound."""
    wav = sound_of(*levels)
    picture = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3)).astype(np.uint8)
    with media.VideoWriter(path, size=size, sound=wav) as writer:
        for _ in range(round(len(wav) / 640)):
            writer.write(picture)
    return path


TALK = ((0.6, None), (2.0, -20), (0.7, None), (0.6, -20), (0.7, None), (1.4, -20), (0.8, None))


def split(data, settings=DEFAULT):
    """The rows of clips.csv that splitting makes."""
    return rows(silence.split_videos(data, settings, workers=1), Clip)


def test_a_data_set_is_split_and_the_rows_add_up(tmp_path):
    data = make_data(tmp_path / "d", {"one": spoken_video(tmp_path / "a.mp4", *TALK)})
    found = split(data)
    assert [r.reason for r in found] == [
        Reason.SILENCE,
        None,
        Reason.SILENCE,
        Reason.TOO_SHORT,
        Reason.SILENCE,
        None,
        Reason.SILENCE,
    ]
    assert sum(r.end_s - r.start_s for r in found) == pytest.approx(6.8, abs=1e-3)
    for row in (r for r in found if r.file):
        assert row.frames == sum(1 for _ in media.frames(data.path(row.file)))
        assert row.cut_end_s - row.cut_start_s == pytest.approx(row.frames / 25)
        assert row.start_s - 0.191 <= row.cut_start_s <= row.start_s - 0.14
    assert read_rows(data.path("clips.csv"), Clip) == found
    before = {p: p.stat().st_mtime_ns for p in data.clips.rglob("*.mp4")}
    assert split(data) == found
    assert before == {p: p.stat().st_mtime_ns for p in data.clips.rglob("*.mp4")}
    longer = split(data, replace(DEFAULT, min_clip_s=0.5))
    assert sum(r.file is not None for r in longer) == 3


def test_bad_videos_are_rows_and_hurt_nobody(tmp_path):
    good = spoken_video(tmp_path / "good.mp4", (0.5, None), (1.2, -20), (0.5, None))
    videos = {
        "good": good,
        "short": spoken_video(tmp_path / "b.mp4", (0.1, -20)),
        "single": spoken_video(tmp_path / "c.mp4", (0.04, -20)),
        "silent": spoken_video(tmp_path / "e.mp4", (2, None)),
        "quiet": spoken_video(tmp_path / "f.mp4", (2, -60)),
        "talk": spoken_video(tmp_path / "g.mp4", (11, -20)),
    }
    mute, sound, text, empty, cut = (tmp_path / f"{n}.mp4" for n in ("mute", "sound", "text", "empty", "cut"))
    media.ffmpeg(["-v", "error", "-i", file_url(good), "-an", "-c", "copy", file_url(mute)])
    media.ffmpeg(["-v", "error", "-i", file_url(good), "-vn", "-c", "copy", file_url(sound)])
    text.write_text("not a video\n" * 30)
    empty.touch()
    data_ = spoken_video(tmp_path / "h.mp4", (0.5, None), (6, -20), (0.5, None)).read_bytes()
    cut.write_bytes(data_[: len(data_) * 6 // 10])
    videos |= {"mute": mute, "sound": sound, "text": text, "empty": empty, "cut": cut}
    data = make_data(tmp_path / "d", videos)
    data.path("raw/folder.mp4").mkdir()
    found = split(data)
    reasons = {v: [r.reason for r in found if r.video_id == v] for v in videos}
    assert reasons["good"] == [Reason.SILENCE, None, Reason.SILENCE]
    assert reasons["short"] == reasons["single"] == [Reason.TOO_SHORT] and reasons["silent"] == [Reason.SILENCE]
    assert reasons["quiet"] == [Reason.TOO_QUIET] and reasons["talk"] == [None, None, None]
    assert {v[0] for k, v in reasons.items() if k in ("mute", "sound", "text", "empty")} == {Reason.UNREADABLE}
    notes = {r.video_id: r.note for r in found}
    assert "relative_to_loudness" in notes["quiet"] and "0 bytes" in notes["empty"]
    assert sum(r.end_s - r.start_s for r in found if r.video_id == "cut") < 6.5, "only what is left of a cut-off file"
    assert None in reasons["cut"]


def test_large_pictures_are_split(tmp_path):
    video = tmp_path / "a.mp4"
    media.ffmpeg(
        [
            "-v",
            "error",
            "-f",
            "lavfi",
            "-i",
            "color=c=gray:s=3840x2160:r=25:d=1.2",
            "-f",
            "lavfi",
            "-i",
            "sine=d=1.2",
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            file_url(video),
        ]
    )
    data = make_data(tmp_path / "d", {"uhd": video}, crops={"uhd": "1920,0,3840,1080"})
    row = split(data)[0]
    assert row.frames == 30 and media.probe(data.path(row.file)).size == (1920, 1080)


def test_a_wrong_manifest_stops_before_any_work(tmp_path):
    data = make_data(tmp_path / "d", {"one": spoken_video(tmp_path / "a.mp4", (1.2, -20))})
    with pytest.raises(ManifestError, match="run the stage"):
        silence.split_videos(data_set("none", tmp_path / "none"))
    text = data.path("collected.csv").read_text()
    data.path("collected.csv").write_text(text.replace("fps", "frames_per_second"))
    with pytest.raises(ManifestError, match="missing column 'fps'"):
        silence.split_videos(data)
    data.path("collected.csv").write_text(text.replace(",25,", ",many,"))
    with pytest.raises(ManifestError, match="row 1, column fps: 'many'"):
        silence.split_videos(data)
    assert not data.clips.exists()


def test_real_clips_are_split(tmp_path, real_clips):
    names = {"suit": "man_suit_700x700.mp4", "blue": "woman_blue_700x700_30fps.mp4"}
    data = make_data(tmp_path / "d", {k: real_clips / v for k, v in names.items()})
    found = split(data, replace(DEFAULT, relative_to_loudness=True))
    for video, length_s in (("suit", 6.133), ("blue", 6.633)):
        mine = [r for r in found if r.video_id == video]
        assert sum(r.end_s - r.start_s for r in mine) == pytest.approx(length_s, abs=0.01)
        assert any(r.file for r in mine)
        for row in (r for r in mine if r.file):
            assert abs(len(load_wav(data.path(row.file))) / 16000 - row.frames / 25) < 0.04
            assert media.probe(data.path(row.file)).size == (700, 700)
    assert any("variable" in (r.note or "") for r in found if r.video_id == "suit")


def test_speech_of_the_talk_show_is_found_and_no_phoneme_is_cut(tmp_path, sample_show):
    errors = []
    for name in ("talk", "group", "inset"):
        wav, phonemes = load_wav(sample_show.video(name)), sample_show.info(name)["phonemes"]
        spoken = silence.joined([(p["start_s"], p["end_s"]) for p in phonemes], DEFAULT.min_silence_ms / 1000)
        parts = silence.find_parts(wav, DEFAULT)
        assert len(parts) == len(spoken)
        errors.append(np.array(parts) - np.array(spoken))
        clips, _ = silence.plan_clips(parts, len(wav) / 16000, replace(DEFAULT, min_clip_s=0.1))
        for (first_s, last_s), clip in zip(spoken, clips, strict=True):
            assert clip.first_frame / 25 <= first_s and clip.end_frame / 25 >= last_s, "a phoneme is cut"
    errors = np.abs(np.concatenate(errors))
    assert np.median(errors) <= 0.06 and errors.max() <= 0.15
