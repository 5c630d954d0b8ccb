"""lip_sync(): a picture or video and speech in, a video out in which the chosen people say it and nobody else moves.

Read it from top to bottom: find the faces and who is meant, lay out every frame of the result, draw the mouths in
batches, paste them, encode. With paste="reference" layout and paste are the published inference's instead (exact.py).
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from .. import audio
from ..config import InferenceConfig
from ..errors import FaceError, SettingError
from ..faces import FaceBox, FaceTable, find_faces
from ..media import VideoWriter, frames
from ..project import content_hash, home, made_from, progress
from . import exact, film, mouths, people
from .engine import GRID, Engine, make_engine
from .mouths import Talker

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LipSyncResult:
    """What lip_sync() made. gaps: by track, (first, last) frame whose mouth stays as it is; notes say why."""

    output: Path
    n_frames: int
    fps: float
    size: tuple[int, int]
    drawn_frames: dict[int, int]
    gaps: dict[int, list[tuple[int, int]]]
    faces_from_cache: bool
    engine: str
    seconds: dict[str, float]  # decode, detect, prepare, network, blend, encode, and total
    notes: tuple[str, ...]

    @property
    def duration_s(self) -> float:
        """Length of the result."""
        return self.n_frames / self.fps


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
    on_progress: Callable[[int, int], None] | None = None,
) -> LipSyncResult:
    """Make the chosen people in a picture or video say something; nobody else moves.

    media: picture or video.  speech: a sound file (or video with sound), or {track_id: path} for several people.
    output: the mp4 to write, which carries a label (see verify).  generator: a network such as checkpoints.load gives.
    choice: a FaceChoice; not needed where there is one person or speech names tracks.  faces: a FaceTable from
    elsewhere, else faces are found, or read from the cache in cache_dir.  on_progress: called with (frames done, all).
    Frames whose face is not there, turned away, covered or too small stay as they are: see the result's notes.
    Raises a LipsyncError that says what to do (MediaError, FaceError, SettingError); then no output is left behind.
    """
    output, media = Path(output), Path(media)
    if output.suffix.lower() != ".mp4":
        raise SettingError(f"output {output.name!r}: the result is an mp4; give a name that ends in .mp4")
    job = prepare(
        media, speech, generator=generator, choice=choice, settings=settings, faces=faces, cache_dir=cache_dir
    )
    source, clock, total = job.source, job.clock, len(job.order)
    said = {talker.track_id: talker.speech.path for talker in job.talkers}
    inputs = [media, *said.values()]
    if output.exists() and any(output.samefile(path) for path in inputs):
        raise SettingError(f"output {output.name!r} is one of the inputs: give another name")
    made_from([output], inputs)
    tags = film.label_tags(content_hash(media), {str(track): content_hash(path) for track, path in said.items()})
    with film.mixed(voices(job), total / source.fps) as samples:
        sound = {"sound": samples, "sample_rate_hz": film.RATE_HZ}
        clock.lap("prepare")
        with VideoWriter(
            output, size=source.size, fps=source.fps, crf=job.settings.crf, metadata=tags, **sound
        ) as writer:
            for frame in progress(job.frames(), total=total, desc="lip-sync", unit="frame", disable=bool(on_progress)):
                film.draw_label(frame, job.settings.label)
                writer.write(frame)
                clock.lap("encode")
                if on_progress:
                    on_progress(writer.n_frames, total)
    clock.lap("encode")
    return LipSyncResult(
        output=output,
        n_frames=total,
        fps=source.fps,
        size=(writer.width, writer.height),
        drawn_frames={talker.track_id: int((talker.strength > 0).sum()) for talker in job.talkers},
        gaps={t.track_id: [(gap.first, gap.last) for gap in t.doubts(job.order)] for t in job.talkers},
        faces_from_cache=job.table.from_cache,
        engine=job.engine.name,
        seconds={name: round(s, 3) for name, s in [*clock.items(), ("total", clock.total())]},
        notes=job.notes,
    )


class Stopwatch(Counter):
    """Seconds by name; lap(name) adds the time since the last lap."""

    last = 0.0

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self[name] += now - self.last
        self.last = now


@dataclass(frozen=True)
class Job:
    """Everything that is known before the first frame is drawn.

    order: (n,) source frame of each frame of the result.  starts: (n,) first mel column that it is drawn from.
    paste: puts a drawn face into a frame, see mouths.paste.
    """

    source: film.Source
    table: FaceTable
    settings: InferenceConfig
    clock: Stopwatch
    paste: Callable
    talkers: list[Talker]
    order: np.ndarray
    starts: list[int]
    notes: tuple[str, ...] = ()
    engine: Engine | None = None

    def drawn_by(self, generator) -> Job:
        """The same film by a network, perhaps another one."""
        engine = make_engine(generator, self.settings)
        self.clock.lap("prepare")
        return replace(self, engine=engine)

    def frames(self, start: int = 0) -> Iterator[np.ndarray]:
        """The frames of the result before label and encoding: uint8 (h, w, 3) BGR, streamed."""
        pictures, calm = self.source.pictures(self.order[start:].tolist()), {}
        for first in range(start, len(self.order), self.engine.batch_size):
            batch = list(islice(pictures, self.engine.batch_size))
            self.clock.lap("decode")
            todo = [(i, f, t) for i, f in enumerate(batch, first) for t in self.talkers if t.strength[i]]
            if todo:  # all crops are taken before anything is changed
                mels = np.stack([audio.mel_window(talker.speech.mel, self.starts[i]) for i, _, talker in todo])
                crops = np.stack([face_input(frame, talker.boxes[self.order[i]]) for i, frame, talker in todo])
                self.clock.lap("blend")
                drawn = self.engine.draw(mels, crops)
                self.clock.lap("network")
                for (i, frame, talker), face in zip(todo, drawn):
                    self.paste(frame, face, talker, i, self.order[i], self.table, calm)
                self.clock.lap("blend")
            yield from batch


def face_input(frame_bgr: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The face as the network sees it: uint8 (96, 96, 3), resized as the training crops were."""
    return cv2.resize(mouths.cut(frame_bgr, box), (GRID, GRID), interpolation=cv2.INTER_LINEAR)


def prepare(media, speech, *, generator, **how) -> Job:
    """Read, find faces, check everything that can be wrong, and get the engine ready: all but the drawing.

    Arguments as for lip_sync().
    """
    return plan(media, speech, **how).drawn_by(generator)


def plan(
    media,
    speech,
    *,
    choice=None,
    settings: InferenceConfig | None = None,
    faces: FaceTable | None = None,
    cache_dir: Path | None = None,
) -> Job:
    """What prepare() does before it needs a network; several may draw the same plan, see Job.drawn_by."""
    settings, clock = settings or InferenceConfig(), Stopwatch()
    clock.last = time.perf_counter()
    layout = lay_out
    if settings.paste == "reference":
        precision = "float32" if settings.precision == "auto" else settings.precision
        settings, layout = replace(settings, close_mouth=False, precision=precision), exact.lay_out
    source = film.Source(media, settings)
    clock.lap("decode")
    if settings.box_px[0] != -1:
        faces = given_box(source, settings)
    elif faces is None:
        faces = find_faces(media, None, cache_dir or home() / "outputs" / "cache")
    clock.lap("detect")
    wanted = people.assign(speech, choice, faces, media)
    speeches = {track: people.read_speech(path, settings.close_mouth) for track, path in wanted.items()}
    if settings.static and faces.n_frames > 1:
        faces = faces.thinned([settings.static_frame])
    job = Job(source, faces, settings, clock, *layout(source, faces, speeches, settings))
    for note in job.notes:
        log.info("%s", note)
    clock.lap("prepare")
    return job


def given_box(source: film.Source, settings: InferenceConfig) -> FaceTable:
    """The box of the settings in every frame, instead of faces that were found."""
    (top, bottom, left, right), (width, height) = settings.box_px, source.size
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise SettingError(f"box_px {settings.box_px} (top, bottom, left, right) is not inside {width}x{height} px")
    count = 1 if source.image_bgr is not None else sum(1 for _ in frames(source.path))
    return FaceTable.from_boxes([FaceBox(left, top, right, bottom)] * count, source.size, source.fps)


def lay_out(source: film.Source, table: FaceTable, speeches: dict, settings: InferenceConfig):
    """Lay everything out over the frames of the result: paste, talkers, order, starts, notes of a Job."""
    if table.size != source.size:
        raise FaceError(f"the faces were found at {table.size} px, the medium has {source.size} px: find them again")
    fps, spoken_s = source.fps, max(speech.duration_s for speech in speeches.values())
    n_source = 1 if source.image_bgr is not None else table.n_frames
    order = people.source_frames(n_source, spoken_s, fps, settings.longer_speech)
    starts = [audio.frame_window_start(i, settings.alignment, fps) for i in range(len(order))]
    used, talkers, notes = np.unique(order), [], []
    pictures = zip(used.tolist(), source.pictures(used.tolist()))
    boxes = {track: whole_boxes(table, track, used, settings.min_face_px) for track in speeches}
    for mouth in mouths.find_mouths(pictures, table, speeches, settings.min_face_px):
        track, speech = mouth.track_id, speeches[mouth.track_id]
        active = mouth.reason[order] == ""
        if not settings.close_mouth:
            active &= speech.in_frames(len(order), fps)
        strength = people.strengths(active)
        talkers.append(Talker(**vars(mouth), speech=speech, boxes=boxes[track], strength=strength))
        if not speech.voiced.any():
            notes.append(f"{speech.path.name}: no speech is heard in it, the mouth stays closed; check its level")
        if not mouth.by_landmarks:
            notes.append(f"track {track}: no landmarks were found, the mouth stays at one place in the box")
        gaps = [f"{why} {first / fps:.1f}-{(last + 1) / fps:.1f} s" for _, first, last, why in mouth.doubts(order)]
        if gaps:
            count = f"{(mouth.reason[order] != '').sum()} of {len(order)} frames"
            notes.append(f"track {track}: {count} stay as they are ({', '.join(gaps)})")
    if len(order) < round(spoken_s * fps):
        notes.append(f"the speech is cut after {len(order) / fps:.1f} s, where the video ends (longer_speech='cut')")
    return mouths.paste, talkers, order, starts, tuple(notes)


def whole_boxes(table: FaceTable, track: int, used: np.ndarray, min_face_px: int) -> np.ndarray:
    """The boxes of a track in whole pixels, int64 (n, 4), 0 where it is not seen.

    Raises FaceError for a face that is too small in the used frames, or in none of them.
    """
    boxes = table.track_boxes(track)
    sides = boxes[used, 2] - boxes[used, 0]
    if np.isnan(sides).all():
        raise FaceError(f"the face of track {track} is not in the frames that are used; choose another frame")
    if np.nanmedian(sides) < min_face_px:
        raise FaceError(
            f"the chosen face is {np.nanmedian(sides):.0f} px wide, at least {min_face_px} px are needed: "
            "use a larger picture, or cut out and enlarge the part with the face"
        )
    return np.nan_to_num(np.rint(boxes)).astype(np.int64)


def voices(job: Job) -> list[tuple[Path, str]]:
    """The sounds of a result, and what ffmpeg's filter does to each."""
    own = [(job.source.path, f"volume={job.settings.kept_sound_db}dB")]
    keeps = job.settings.keep_sound and job.source.has_sound
    return [(talker.speech.path, "anull") for talker in job.talkers] + own * keeps


def preview(media, speech, frame: int, *, generator, settings: InferenceConfig, faces: FaceTable) -> np.ndarray:
    """One frame of the medium with every mouth as where the speech is loudest: uint8 (h, w, 3) BGR.

    speech: {track_id: path}; who is not in that frame stays as they are, and where nobody is, another frame is shown.
    """
    if not faces.at(frame).keys() & speech.keys():
        frame = faces.best_frame(next(iter(speech)))
    seen, still = faces.at(frame), replace(settings, static=True, static_frame=frame)
    speech = {track: path for track, path in speech.items() if track in seen}
    job = prepare(media, speech, generator=generator, settings=still, faces=faces)
    loudness = [sum(audio.mel_window(talker.speech.mel, i).mean() for talker in job.talkers) for i in job.starts]
    return next(job.frames(int(np.argmax(loudness))))
