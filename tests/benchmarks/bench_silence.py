"""How fast a video is split at 640x360: silences by pydub and by find_parts, cuts by MoviePy and directly."""

import time
import warnings

import numpy as np

from lipsync_utils import media, silence
from lipsync_utils.audio import load_wav
from lipsync_utils.config import SplitConfig
from lipsync_utils.silence import cut_clips

SECONDS = 20


def video_of(folder):
    """Twenty seconds of moving picture, 640x360, with a pause every four seconds."""
    rng = np.random.default_rng(0)
    t = np.arange(SECONDS * 16000) / 16000
    wav = (0.1 * rng.standard_normal(len(t)) * (t % 4 < 3)).astype(np.float32)
    y, x = np.mgrid[:360, :640]
    with media.VideoWriter(folder / "a.mp4", size=(640, 360), sound=wav) as writer:
        for k in range(25 * SECONDS):
            wave = 127 + 60 * np.sin(x / 40 + k / 9) + 40 * np.cos(y / 25 - k / 13)
            writer.write(np.repeat(wave[..., None], 3, 2).astype(np.uint8))
    return folder / "a.mp4"


def bench_split(tmp_path, record_property):
    video, settings = video_of(tmp_path), SplitConfig()
    wav = load_wav(video)
    clips, _ = silence.plan_clips(silence.find_parts(wav, settings), SECONDS, settings)
    for name, work in (
        ("pydub_1_ms", lambda: by_pydub(wav, settings)),
        ("find_parts", lambda: silence.find_parts(wav, settings)),
        ("moviepy", lambda: by_moviepy(video, clips, settings, tmp_path)),
        ("direct", lambda: cut_clips(video, wav, clips, tmp_path / "direct", "v", settings)),
    ):
        began = time.perf_counter()
        work()
        record_property(f"{name}_times_real_time", round(SECONDS / (time.perf_counter() - began), 1))


def by_pydub(wav, settings):
    """Silences as the article found them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pydub import AudioSegment
        from pydub.silence import detect_nonsilent
    samples = np.rint(wav * 32768).astype("<i2").tobytes()
    sound = AudioSegment(samples, frame_rate=16000, sample_width=2, channels=1)
    return detect_nonsilent(sound, settings.min_silence_ms, settings.silence_dbfs, 1)


def by_moviepy(video, clips, settings, folder):
    """Cuts as the article made them."""
    from moviepy import VideoFileClip

    with VideoFileClip(str(video)) as film:
        for k, clip in enumerate(clips):
            film.subclipped(clip.first_frame / 25, clip.end_frame / 25).write_videofile(
                str(folder / f"moviepy{k}.mp4"),
                fps=25,
                audio_fps=16000,
                codec="libx264",
                preset="veryfast",
                ffmpeg_params=["-crf", str(settings.crf)],
                logger=None,
                temp_audiofile_path=str(folder),
            )
