"""Stage 02: silences, parts, clips. find_parts and plan_clips are pure; split_videos does the work.

The rule is pydub's `detect_nonsilent` (and gives its numbers): a window of min_silence_ms whose root mean square is not
above the threshold is silent; what no silent window touches is a part. pydub looks at every window afresh; here the
energy of every millisecond is summed once, which gives the same answer some hundred times faster.
"""

import contextlib
from dataclasses import dataclass
from functools import partial
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from .audio import SAMPLE_RATE_HZ, load_wav
from .config import SplitConfig
from .media import VideoReader, VideoWriter, constant_rate, picture_end_s, probe
from .parallel import Done, Item, run_stage
from .project import DataSet, content_hash
from .records import Clip, Reason, Source, Video, read_csv, read_rows, write_csv

VERSION = 1  # of what this stage makes; raised when the same settings give other clips
PER_MS = SAMPLE_RATE_HZ // 1000  # samples
FULL_SCALE = 32768  # of 16-bit sound; dBFS count from it
CHUNK_MS = 60_000
NOTHING_DBFS = -75.0  # a video that never gets louder than this is silent rather than quiet


@dataclass(frozen=True)
class Span:
    """A piece of a video's time: a clip (with the frames that are cut for it), or left out for a reason.

    Frames count at SplitConfig.fps from the start of the video; first_frame <= frame < end_frame.
    """

    start_s: float
    end_s: float
    first_frame: int | None = None
    end_frame: int | None = None
    reason: Reason | None = None

    @property
    def length_s(self) -> float:
        """Seconds, without the kept ends."""
        return self.end_s - self.start_s

    def clip_id(self, video_id: str) -> str:
        """The video's id and the span in milliseconds, so that no two ids are the same."""
        return f"{video_id}_{round(self.start_s * 1000):07d}_{round(self.end_s * 1000):07d}"


def energies(wav: np.ndarray) -> np.ndarray:
    """Per millisecond of 16 kHz sound: the sum of squared 16-bit samples, and the largest magnitude: int64 (2, n_ms).

    wav: float32 (n,) in [-1, 1]. Half a last millisecond counts as one, less does not, as with pydub.
    """
    found = np.zeros((2, round(len(wav) / PER_MS)), np.int64)
    for first in range(0, found.shape[1], CHUNK_MS):
        part = found[:, first : first + CHUNK_MS]
        block = np.rint(np.asarray(wav[first * PER_MS :][: part.shape[1] * PER_MS], np.float32) * FULL_SCALE)
        samples = np.zeros((part.shape[1], PER_MS), np.int64)
        samples.flat[: len(block)] = np.clip(block, -FULL_SCALE, FULL_SCALE - 1)
        part[:] = (samples**2).sum(axis=1), np.abs(samples).max(axis=1)
    return found


def loudness_dbfs(wav: np.ndarray) -> float:
    """How loud the loud moments are: the level that the peaks of one millisecond in 200 exceed; -inf for nothing."""
    peaks = energies(wav)[1]
    loud = np.quantile(peaks, 0.995) if len(peaks) else 0
    return float(20 * np.log10(loud / FULL_SCALE)) if loud else -np.inf


def threshold_dbfs(wav: np.ndarray, settings: SplitConfig) -> float:
    """The level that counts as silence: fixed, or as far below the video's own loud moments."""
    return settings.silence_dbfs + (loudness_dbfs(wav) if settings.relative_to_loudness else 0.0)


def find_parts(wav: np.ndarray, settings: SplitConfig) -> list[tuple[float, float]]:
    """The parts between silences: [(start_s, end_s)], in order, multiples of a millisecond.

    wav: float32 (n,), 16 kHz mono, in [-1, 1].  Sound shorter than min_silence_ms or without silence is one part.
    """
    total, window, step = np.append(0, energies(wav)[0].cumsum()), settings.min_silence_ms, settings.seek_step_ms
    n_ms, limit = len(total) - 1, 10 ** (threshold_dbfs(wav, settings) / 20) * FULL_SCALE
    starts = np.unique([*range(0, n_ms - window, step), n_ms - window]) if n_ms >= window else np.empty(0, int)
    rms = np.sqrt((total[starts + window] - total[starts]) // (window * PER_MS)).astype(int)  # whole steps, as pydub's
    silent = starts[rms <= limit]
    if not len(silent):
        return [(0.0, n_ms / 1000)] if n_ms else []
    # windows that overlap or touch are one silence; a part is what lies between two
    gaps = np.flatnonzero((np.diff(silent) > window) & (np.diff(silent) != step))
    begins = np.append(0, silent[[*gaps, -1]] + window)
    ends = np.append(silent[[0, *(gaps + 1)]], n_ms)
    return [(int(a) / 1000, int(b) / 1000) for a, b in zip(begins, ends) if b > a]


def joined(intervals: list[tuple[float, float]], pause_s: float) -> list[tuple[float, float]]:
    """Intervals in order, those closer than pause_s made one: what a perfect detector makes of phonemes."""
    parts: list[tuple[float, float]] = []
    for start_s, end_s in sorted(intervals):
        if parts and start_s - parts[-1][1] < pause_s:
            start_s, before_s = parts.pop()
            end_s = max(end_s, before_s)
        parts.append((start_s, end_s))
    return parts


def plan_clips(
    parts: list[tuple[float, float]], duration_s: float, settings: SplitConfig
) -> tuple[list[Span], list[Span]]:
    """Decide what becomes a clip: (clips, rejections), each in order; together they fill 0 .. duration_s exactly.

    Parts over max_part_s become pieces of piece_s and a remainder. A clip's frames reach keep_silence_ms into the
    silence around its part, but not beyond the middle of it. What is shorter than min_clip_s is rejected as too_short
    (with count_kept_silence the kept silence counts); what lies between the parts is rejected as silence.
    """
    parts = [(a, min(b, duration_s)) for a, b in parts if a < min(b, duration_s)]
    edges, middles = [0.0, *chain(*parts), duration_s], [(a + b) / 2 for (_, a), (b, _) in pairwise(parts)]
    rejected = [Span(a, b, reason=Reason.SILENCE) for a, b in zip(edges[::2], edges[1::2]) if a < b]
    clips, keep_s = [], settings.keep_silence_ms / 1000
    for (start, end), low, high in zip(parts, [0.0, *middles], [*middles, duration_s]):
        for a, b in pieces(start, end, settings):
            first = max(a - keep_s, low) if a == start else a
            last = min(b + keep_s, high) if b == end else b
            length_s = last - first if settings.count_kept_silence else b - a
            if length_s < settings.min_clip_s - 1e-9:
                rejected.append(Span(a, b, reason=Reason.TOO_SHORT))
            else:
                clips.append(Span(a, b, *frames_of(first, last, duration_s, settings.fps, b == end)))
    return clips, sorted(rejected, key=lambda span: span.start_s)


def pieces(start_s: float, end_s: float, settings: SplitConfig) -> list[tuple[float, float]]:
    """A part as it is, or cut into pieces of piece_s and the remainder where it is longer than max_part_s."""
    whole = end_s - start_s <= settings.max_part_s + 1e-9
    marks = [start_s] if whole else np.arange(start_s, end_s - 1e-9, settings.piece_s).round(6).tolist()
    return list(pairwise([*marks, end_s]))


def frames_of(first_s: float, last_s: float, duration_s: float, fps: float, is_end: bool) -> tuple[int, int]:
    """The frames that cover a span; between two pieces of a part no frame is in both."""
    first = int(first_s * fps + 1e-6)
    last = int(np.ceil(last_s * fps - 1e-6)) if is_end else int(last_s * fps + 1e-6)
    return first, max(first + 1, min(last, round(duration_s * fps)))


def cut_clips(
    video: Path, wav: np.ndarray, clips: list[Span], folder: Path, video_id: str, settings: SplitConfig, crop=None
) -> tuple[list[Path], list[str]]:
    """Write each clip as folder/<clip_id>.mp4: constant fps, 16 kHz mono, picture and sound of one length.

    wav: float32 (n,), the video's sound from its start; the video is decoded once.  crop: (left, top, right, bottom) of
    the upright picture, or None.  Returns the files, and notes on what was damaged or missing.
    """
    files = [folder / f"{clip.clip_id(video_id)}.mp4" for clip in clips]
    end, fps, writers = max((clip.end_frame for clip in clips), default=0), settings.fps, {}
    with VideoReader(video, crop) as reader, contextlib.ExitStack() as stack:
        for number, frame in enumerate(constant_rate(reader.decoded(), fps, end)):
            for clip, file in zip(clips, files):
                if clip.first_frame == number:
                    first, last = (round(n * SAMPLE_RATE_HZ / fps) for n in (number, clip.end_frame))
                    how = {"size": reader.size, "fps": fps, "crf": settings.crf, "repeatable": True}
                    writers[clip] = stack.enter_context(VideoWriter(file, sound=wav[first:last], **how))
            picture = reader.convert(frame) if writers else None
            for clip in list(writers):
                writers[clip].write_frame(picture)
                if clip.end_frame == number + 1:
                    writers.pop(clip).close()
        repeated = end - round((reader.time_s + 1 / (reader.info.fps or fps)) * fps)
        notes = [f"{reader.damaged} damaged pieces left out"] if reader.damaged else []
        return files, notes + ([f"last frame repeated {repeated} times"] if clips and repeated > 0 else [])


def split_videos(data: DataSet, settings: SplitConfig | None = None, **how) -> pd.DataFrame:
    """Split all collected videos of a data set; writes clips.csv and returns it (columns: records.Clip).

    how: scheduler and workers, as for parallel.map_items.  What is done with these settings stays as it is. A video
    that cannot be split is a row with the reason. Raises ManifestError where collected.csv or videos.csv is missing or
    wrong.
    """
    settings = settings or SplitConfig()
    crops = {source.video_id: source.crop_box for source in read_rows(data.path("videos.csv"), Source)}
    videos = read_csv(data.path("collected.csv"), Video)
    videos = videos[videos.reason.isna()]
    rows = run_stage(
        "split",
        [
            Item(name, (data.path(file),), {"crop": crops.get(name)}, row_of(name, Span(0.0, 0.0)))
            for name, file in zip(videos.video_id, videos.file)
        ],
        partial(split_one, root=data.root, settings=settings),
        row_type=Clip,
        journal=data.journal("split"),
        output=data.clips,
        settings=settings,
        version=VERSION,
        unit="video",
        **how,
    )
    return write_csv(data.path("clips.csv"), rows, Clip)


def is_too_quiet(wav: np.ndarray, settings: SplitConfig) -> bool:
    """Whether something is heard, but nothing above the threshold."""
    return not find_parts(wav, settings) and loudness_dbfs(wav) >= NOTHING_DBFS


def split_one(item: Item, root: Path, settings: SplitConfig) -> Done:
    """Split one video of the data set in `root`; the work function of the stage."""
    path, fps = item.inputs[0], settings.fps
    info, length_s, wav = probe(path), round(picture_end_s(path), 4), load_wav(path)
    if is_too_quiet(wav, settings):
        levels = f"its loud moments have {loudness_dbfs(wav):.0f} dBFS and {threshold_dbfs(wav, settings):.0f} counts"
        whole = Span(0.0, length_s, reason=Reason.TOO_QUIET)
        return Done([row_of(item.id, whole, f"{levels} as silence: use relative_to_loudness")])
    clips, rejected = plan_clips(find_parts(wav, settings), length_s, settings)
    files, notes = cut_clips(path, wav, clips, root / "clips" / item.id, item.id, settings, item.arguments["crop"])
    about = {
        f"tone-mapped from high dynamic range ({info.hdr})": info.hdr,
        f"turned {info.rotation_deg} degrees": info.rotation_deg,
        "from a variable frame rate": info.variable_rate,
    }
    note = "; ".join([*filter(about.get, about), *notes]) or None
    rows = [row_of(item.id, span) for span in rejected]
    for clip, file in zip(clips, files):
        first, end = clip.first_frame, clip.end_frame
        made = first / fps, end / fps, file.relative_to(root).as_posix(), end - first, content_hash(file)
        rows.append(row_of(item.id, clip, note, made))
    return Done(sorted(rows, key=lambda row: row.start_s), files)


def row_of(video_id: str, span: Span, note: str | None = None, made: tuple = (None,) * 5) -> Clip:
    """The row of a span; made: what is known of a clip that was cut, from its start in the video to its hash."""
    return Clip(span.clip_id(video_id), video_id, span.start_s, span.end_s, *made, span.reason, note)
