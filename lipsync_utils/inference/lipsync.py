"""lip_sync(): a picture or video and speech in, a video out in which the chosen people say it and nobody else moves."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..config import InferenceConfig
from ..errors import FaceError, SettingError
from ..faces import FaceTable, find_faces
from ..media import VideoWriter
from ..project import content_hash, home, progress
from .engine import make_engine
from .job import Job, Stopwatch
from .label import draw_label, make_label
from .reference import prepared_size, reference_frames
from .sound import Voice, mixed
from .source import Source
from .talkers import assign, lay_out, make_talker
from .timeline import output_frames, source_frames

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LipSyncResult:
    """What lip_sync() made. gaps: by track, (first, last) frame of the result in which the face was not seen."""

    output: Path
    n_frames: int
    fps: float
    size: tuple[int, int]
    drawn_frames: dict[int, int]
    gaps: dict[int, list[tuple[int, int]]]
    faces_from_cache: bool
    engine: str
    seconds: dict[str, float]  # decode, detect, prepare, network, blend, encode, and total
    notes: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        """Length of the result."""
        return self.n_frames / self.fps


def prepare(
    media,
    speech,
    *,
    generator,
    choice=None,
    settings: InferenceConfig | None = None,
    faces: FaceTable | None = None,
    cache_dir: Path | None = None,
    face_settings=None,
) -> Job:
    """Read, find faces, check everything that can be wrong, and get the engine ready: all but the drawing.

    Arguments as for lip_sync().
    """
    settings, media, watch = settings or InferenceConfig(), Path(media), Stopwatch()
    exact = settings.paste == "reference"
    with watch("decode"):
        source = Source(media, settings.picture_fps, settings.static_frame if settings.static else None)
    fixed_box = exact and settings.box_px[0] != -1
    with watch("detect"):
        if faces is None and not fixed_box:
            faces = find_faces(media, face_settings, cache_dir or home() / "outputs" / "cache")
    if fixed_box and faces is None:
        faces = _whole_picture(source, settings)
    if not exact and faces.size != source.size:
        raise FaceError(f"the faces were found at {faces.size} px, {media.name} has {source.size} px: find them again")
    with watch("prepare"):
        wanted = assign(speech, choice, faces, media)
        if exact and len(wanted) > 1:
            raise SettingError("paste='reference' moves one mouth, as the published code does; several: paste='blend'")
        static = settings.static_frame if settings.static and faces.n_frames > 1 else None
        talkers = []
        for track, path in wanted.items():
            boxes = faces.track_boxes(track)
            boxes = boxes if static is None else boxes[static : static + 1]
            talkers.append(make_talker(track, path, boxes, settings))
        if static is not None:
            faces = faces.thinned([static])
        engine = make_engine(
            generator,
            engine=settings.engine,
            device=settings.device,
            batch_size=settings.batch_size,
            precision="float32" if exact and settings.precision == "auto" else settings.precision,
            compile_network=settings.compile,
        )
        settings = replace(settings, alignment=alignment_for(generator, settings))
        job = Job(source, faces, talkers, engine, settings, watch, np.zeros(0, int), source.size)
        _plan_exact(job) if exact else _plan(job)
    return job


def alignment_for(generator, settings: InferenceConfig) -> str:
    """Where a frame's mel window begins: as asked, else as the network was trained.

    The published code trains its networks one frame earlier than it runs them; paste="reference" repeats that.
    """
    if settings.alignment != "auto":
        return settings.alignment
    return "inference" if settings.paste == "reference" else getattr(generator, "mel_alignment", "inference")


def _whole_picture(source: Source, settings: InferenceConfig) -> FaceTable:
    """A table with one nominal face per frame, for a box that is given: only its length is used."""
    from ..faces import FaceBox

    count = 1 if source.still else sum(1 for _ in _decoded(source))
    return FaceTable.from_boxes([FaceBox(0, 0, *source.size)] * count, source.size, source.fps)


def _decoded(source: Source):
    from ..media import VideoReader

    with VideoReader(source.path) as reader:
        yield from reader.decoded()


def _plan(job: Job) -> None:
    """Lay everything out over the frames of the result, and say what the reader should know."""
    settings, fps, still = job.settings, job.source.fps, job.source.still
    n_source = 1 if still else job.table.n_frames
    spoken_s = max(t.duration_s for t in job.talkers)
    n_spoken = output_frames(n_source, spoken_s, fps, settings.longer_speech, "stop", still)
    total = output_frames(n_source, spoken_s, fps, settings.longer_speech, settings.shorter_speech, still)
    job.order = np.fromiter(source_frames(total, n_source, settings.longer_speech), int, total)
    for talker in job.talkers:
        boxes = talker.boxes[~np.isnan(talker.boxes[:, 0])]
        if not len(boxes):
            raise FaceError(f"the face of track {talker.track_id} is not in the frame asked for; choose another frame")
        side = float(np.median(boxes[:, 2] - boxes[:, 0]))
        if side < settings.min_face_px:
            raise FaceError(
                f"the chosen face is {side:.0f} px wide, at least {settings.min_face_px} px are needed: "
                "use a larger picture, or cut out and enlarge the part with the face"
            )
        lay_out(talker, job.order, n_spoken, fps, settings)
        if talker.spoken_share == 0:
            job.notes.append(f"{talker.speech.name}: no speech is heard in it, the mouth stays closed; check its level")
        if talker.gaps:
            lost = sum(last - first + 1 for first, last in talker.gaps)
            job.notes.append(f"track {talker.track_id}: not seen in {lost} of {total} frames, which stay as they are")
    if n_spoken < round(spoken_s * fps):
        job.notes.append(f"the speech is cut after {n_spoken / fps:.1f} s, where the video ends (longer_speech='cut')")
    if job.source.shrunk_from:
        job.notes.append("the picture was shrunk from {}x{} to {}x{} px".format(*job.source.shrunk_from, *job.size))
    for note in job.notes:
        log.info("%s", note)


def _plan_exact(job: Job) -> None:
    talker = job.talkers[0]
    if talker.mel.shape[1] < 16:
        raise SettingError(
            f"{talker.speech.name}: {talker.duration_s:.2f} s of speech are too short for the published "
            "code (0.19 s at least); use paste='blend', which pads it"
        )
    job.size = prepared_size(job.source, job.settings)
    count, job.exact = reference_frames(job.source, talker.mel, job.table, talker.track_id, job.engine, job.settings)
    job.order = np.arange(count) % (1 if job.source.still else job.table.n_frames)
    lay_out(talker, job.order, count, job.source.fps, job.settings)


def lip_sync(
    media,
    speech,
    output,
    *,
    generator,
    choice=None,
    settings: InferenceConfig | None = None,
    faces: FaceTable | None = None,
    cache_dir: Path | None = None,
    face_settings=None,
    on_progress: Callable[[int, int], None] | None = None,
) -> LipSyncResult:
    """Make the chosen people in a picture or video say something; nobody else moves.

    media: picture or video.  speech: a sound file (or video with sound), or {track_id: path} for several people.
    output: the mp4 to write, which carries a label (see verify).  generator: a network such as checkpoints.load gives.
    choice: a FaceChoice; not needed where there is one person or speech names tracks.  faces: a FaceTable from
    elsewhere, else faces are found, or read from the cache in cache_dir.  on_progress: called with (frames done, all).
    Frames without the face stay as they are and are listed in the result's gaps.
    Raises a LipsyncError that says what to do (MediaError, FaceError, SettingError); then no output is left behind.
    """
    output, media = Path(output), Path(media)
    if output.suffix.lower() != ".mp4":
        raise SettingError(f"output {output.name!r}: the result is an mp4; give a name that ends in .mp4")
    begun = time.perf_counter()
    job = prepare(
        media,
        speech,
        generator=generator,
        choice=choice,
        settings=settings,
        faces=faces,
        cache_dir=cache_dir,
        face_settings=face_settings,
    )
    files = [media, *(t.speech for t in job.talkers)]
    if output.exists() and any(f.exists() and output.samefile(f) for f in files):
        raise SettingError(f"output {output.name!r} is one of the inputs: give another name")
    with job.watch("prepare"):
        label = make_label(content_hash(media), {t.track_id: content_hash(t.speech) for t in job.talkers})
    output.parent.mkdir(parents=True, exist_ok=True)
    _encode(job, output, label, on_progress)
    seconds = {**job.watch.seconds, "total": time.perf_counter() - begun}
    return LipSyncResult(
        output=output,
        n_frames=job.n_frames,
        fps=job.source.fps,
        size=(job.size[0] // 2 * 2, job.size[1] // 2 * 2),
        drawn_frames={t.track_id: int(t.drawn.sum()) for t in job.talkers},
        gaps={t.track_id: t.gaps for t in job.talkers},
        faces_from_cache=job.table.from_cache,
        engine=f"{job.engine.name}: {job.engine.why}",
        seconds={name: round(s, 3) for name, s in seconds.items()},
        notes=tuple(job.notes),
    )


def _encode(job: Job, output: Path, label, on_progress) -> None:
    """Draw, label and write all frames with their sound."""
    settings, fps, watch = job.settings, job.source.fps, job.watch
    voices = [Voice(t.speech) for t in job.talkers]
    spoken_s = max(t.duration_s for t in job.talkers)
    if job.source.has_sound and settings.keep_sound:
        voices.append(Voice(job.source.path, settings.kept_sound_db))
    elif job.source.has_sound and settings.shorter_speech == "continue" and job.n_frames > round(spoken_s * fps):
        voices.append(Voice(job.source.path, from_s=spoken_s))
    with watch("encode"):
        mixing = mixed(voices, job.n_frames / fps, output.parent)
        mix = mixing.__enter__()
    try:
        bar = progress(total=job.n_frames, desc="lip-sync", unit="frame") if on_progress is None else None
        with VideoWriter(
            output,
            fps=fps,
            size=job.size,
            sound=mix.samples,
            sample_rate_hz=mix.rate_hz,
            crf=settings.crf,
            metadata=label.metadata(),
            audio_bit_rate=mix.bit_rate,
        ) as writer:
            for number, frame in enumerate(job.frames(), 1):
                with watch("encode"):
                    draw_label(frame, settings.label)
                    writer.write(frame)
                bar.update() if bar is not None else on_progress(number, job.n_frames)
        if bar is not None:
            bar.close()
    finally:
        mixing.__exit__(None, None, None)
