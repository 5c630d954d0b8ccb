"""lip_sync(): a picture or video and speech in, a video out in which the chosen people say it and nobody else moves.

It finds the faces, reads what they say, plans every frame of the result, draws the mouths in batches, blends them in
and encodes. With paste="reference" the plan and the paste are the published inference's instead (exact.py).
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from ..audio import MEL_LIMIT, MEL_STEP, N_MELS, frame_window_start, mel_window
from ..config import InferenceConfig
from ..errors import FaceError, SettingError
from ..faces import FaceBox, FaceTable, find_faces, steady_landmarks, to_detector_box
from ..media import VideoReader, VideoWriter
from ..project import content_hash, home, made_from, progress
from . import exact
from .engine import GRID, MIDDLE, Engine, make_engine
from .film import Source, draw_label, label_tags, mixed
from .mouths import LOST, Doubt, Paster, Talker, cut, find_mouths, misplaced, on_grid
from .people import assign, read_speech, runs, source_frames, strengths

log = logging.getLogger(__name__)

SAMPLES = 12  # frames drawn beforehand to see where this network puts a mouth
UNDER_NOSE = np.array([[0, 0.03], [0, 0]])  # the drawn nose's own shadow must not show under the real one
CANDIDATES = 24  # loudest windows that a preview tries


class Stopwatch(Counter):
    """Seconds by name; lap(name) adds the time since the last lap."""

    def __init__(self):
        super().__init__()
        self.last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self[name] += now - self.last
        self.last = now


@dataclass(frozen=True)
class LipSyncResult:
    """What lip_sync() made. gaps: by track, (first, last) frame of the result whose mouth stays as it is, and so do
    the source's frames in `doubts`, which say why."""

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
    doubts: tuple[Doubt, ...] = ()

    @property
    def duration_s(self) -> float:
        """Length of the result."""
        return self.n_frames / self.fps


@dataclass(frozen=True)
class Job:
    """Everything that is known before the first frame is drawn.

    order: (n,) source frame of each frame of the result.  starts: (n,) first mel column that it is drawn from.
    paster: (table, talker) -> a function that puts drawn faces into frames, see Paster.
    """

    source: Source
    table: FaceTable
    engine: Engine
    settings: InferenceConfig
    clock: Stopwatch
    paster: Callable
    talkers: list[Talker]
    order: np.ndarray
    starts: list[int]
    notes: tuple[str, ...] = ()

    @property
    def n_frames(self) -> int:
        """Frames of the result."""
        return len(self.order)

    def frames(self) -> Iterator[np.ndarray]:
        """The frames of the result before label and encoding: uint8 (h, w, 3) BGR, streamed."""
        pictures = self.source.pictures(self.order.tolist())
        talkers = [(talker, self.paster(self.table, talker)) for talker in self.talkers]
        for first in range(0, len(self.order), self.engine.batch_size):
            batch = list(islice(pictures, self.engine.batch_size))
            self.clock.lap("decode")
            todo = [
                (i, frame, talker, paste)
                for i, frame in enumerate(batch, first)
                for talker, paste in talkers
                if talker.strength[i]
            ]
            if todo:  # all crops are taken before anything is changed
                mels = np.stack([mel_window(talker.speech.mel, self.starts[i]) for i, _, talker, _ in todo])
                faces = np.stack([face_input(frame, talker.boxes[self.order[i]]) for i, frame, talker, _ in todo])
                self.clock.lap("blend")
                drawn = self.engine.draw(mels, faces)
                self.clock.lap("network")
                for (i, frame, talker, paste), face in zip(todo, drawn):
                    paste(frame, self.order[i], face, float(talker.strength[i]))
                self.clock.lap("blend")
            yield from batch


def face_input(frame_bgr: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The face as the network sees it: uint8 (96, 96, 3), resized as the training crops were."""
    return cv2.resize(cut(frame_bgr, box), (GRID, GRID), interpolation=cv2.INTER_LINEAR)


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
    Frames whose face is not there, turned away, covered or too small stay as they are: see the result's notes.
    Raises a LipsyncError that says what to do (MediaError, FaceError, SettingError); then no output is left behind.
    """
    output, media = Path(output), Path(media)
    if output.suffix.lower() != ".mp4":
        raise SettingError(f"output {output.name!r}: the result is an mp4; give a name that ends in .mp4")
    known = {"choice": choice, "faces": faces, "cache_dir": cache_dir, "face_settings": face_settings}
    job = prepare(media, speech, generator=generator, settings=settings, **known)
    source, settings, n_frames = job.source, job.settings, len(job.order)
    spoken = {talker.mouth.track_id: talker.speech.path for talker in job.talkers}
    if output.exists() and any(f.exists() and output.samefile(f) for f in (media, *spoken.values())):
        raise SettingError(f"output {output.name!r} is one of the inputs: give another name")
    output.parent.mkdir(parents=True, exist_ok=True)
    made_from([output], [media, *spoken.values()])
    tags = label_tags(content_hash(media), {track: content_hash(path) for track, path in spoken.items()})
    options = {"fps": source.fps, "size": source.size, "crf": settings.crf, "metadata": tags}
    with mixed(voices(job), n_frames / source.fps, output.parent) as sound:
        job.clock.lap("prepare")
        with VideoWriter(output, **options, **sound) as writer:
            frames = job.frames()
            if on_progress is None:
                frames = progress(frames, total=n_frames, desc="lip-sync", unit="frame")
            for number, frame in enumerate(frames, 1):
                draw_label(frame, settings.label)
                writer.write(frame)
                job.clock.lap("encode")
                if on_progress is not None:
                    on_progress(number, n_frames)
    job.clock.lap("encode")
    seconds = {**job.clock, "total": sum(job.clock.values())}
    tracks = {talker.mouth.track_id: talker for talker in job.talkers}
    return LipSyncResult(
        output=output,
        n_frames=n_frames,
        fps=source.fps,
        size=(source.size[0] // 2 * 2, source.size[1] // 2 * 2),
        drawn_frames={track: int((talker.strength > 0).sum()) for track, talker in tracks.items()},
        gaps={track: runs(talker.mouth.reason[job.order] != "") for track, talker in tracks.items()},
        faces_from_cache=job.table.from_cache,
        engine=f"{job.engine.name}: {job.engine.why}",
        seconds={name: round(s, 3) for name, s in seconds.items()},
        notes=job.notes,
        doubts=tuple(doubt for talker in job.talkers for doubt in talker.mouth.doubts),
    )


def voices(job: Job) -> list[tuple[Path, float, float]]:
    """The sounds of a result: path, gain in dB, time in s before which it is silent."""
    settings, source, spoken = job.settings, job.source, [talker.speech for talker in job.talkers]
    spoken_s = max(speech.duration_s for speech in spoken)
    heard = [(speech.path, 0.0, 0.0) for speech in spoken]
    if source.has_sound and settings.keep_sound:
        heard.append((source.path, settings.kept_sound_db, 0.0))
    elif source.has_sound and settings.shorter_speech == "continue" and len(job.order) > round(spoken_s * source.fps):
        heard.append((source.path, 0.0, spoken_s))
    return heard


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
    settings, clock, plan, options = settings or InferenceConfig(), Stopwatch(), plan_frames, {}
    if settings.paste == "reference":
        settings, plan = exact.as_published(settings), exact.plan_exactly
        options = {"shaped": partial(exact.shaped, settings=settings)}
    static_frame = settings.static_frame if settings.static else None
    source = Source(media, settings.picture_fps, static_frame, **options)
    clock.lap("decode")
    if settings.box_px[0] != -1:
        faces = given_box(source, settings)
    elif faces is None:
        faces = find_faces(media, face_settings, cache_dir or home() / "outputs" / "cache")
    clock.lap("detect")
    wanted = assign(speech, choice, faces, media)
    speeches = {track: read_speech(path, settings.close_mouth) for track, path in wanted.items()}
    if settings.static and faces.n_frames > 1:
        faces = faces.thinned([settings.static_frame])
    engine = make_engine(
        generator,
        engine=settings.engine,
        precision=settings.precision,
        device=settings.device,
        batch_size=settings.batch_size,
        compile_network=settings.compile,
    )
    job = Job(source, faces, engine, settings, clock, *plan(source, faces, speeches, settings, engine))
    for note in job.notes:
        log.info("%s", note)
    clock.lap("prepare")
    return job


def given_box(source: Source, settings: InferenceConfig) -> FaceTable:
    """The box of the settings in every frame, instead of faces that were found."""
    count = 1
    if source.image_bgr is None:
        with VideoReader(source.path) as reader:
            count = sum(1 for _ in reader.decoded())
    top, bottom, left, right = settings.box_px
    width, height = source.size
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise SettingError(
            f"box_px {settings.box_px} (top, bottom, left, right) is not inside the picture of {width}x{height} px"
        )
    return FaceTable.from_boxes([FaceBox(left, top, right, bottom)] * count, source.size, source.fps)


def plan_frames(source: Source, table: FaceTable, speeches: dict, settings: InferenceConfig, engine: Engine):
    """Lay everything out over the frames of the result: paster, talkers, order, starts, notes of a Job."""
    if table.size != source.size:
        raise FaceError(f"the faces were found at {table.size} px, the medium has {source.size} px: find them again")
    fps, spoken_s = source.fps, max(speech.duration_s for speech in speeches.values())
    n_source = 1 if source.image_bgr is not None else table.n_frames
    order, n_spoken = source_frames(n_source, spoken_s, fps, settings.longer_speech, settings.shorter_speech)
    starts = [frame_window_start(i, settings.alignment, fps) for i in range(len(order))]
    used = np.unique(order[:n_spoken])
    boxes = {track: whole_boxes(table, track, used, settings.min_face_px) for track in speeches}
    samples, crops, talkers, notes = np.linspace(0, n_spoken - 1, SAMPLES).astype(int), {}, [], []

    def pictures():
        for k, picture in zip(used.tolist(), source.pictures(used.tolist())):
            if k in order[samples]:
                crops.update({(t, k): face_input(picture, box[k]) for t, box in boxes.items() if box[k].any()})
            yield k, picture

    mouths = find_mouths(pictures(), table, speeches, settings.min_face_px)
    for track, speech in speeches.items():
        mouth, reason = mouths[track], mouths[track].reason[order]
        active = (reason == "") & (np.arange(len(order)) < n_spoken)
        if not settings.close_mouth:
            active &= speech.in_frames(len(order), fps)
        shown = [
            (mel_window(speech.mel, starts[i]), crops[track, k], on_grid(mouth.points[k], boxes[track][k], GRID))
            for i, k in zip(np.unique(samples), order[np.unique(samples)])
            if active[i] and mouth.by_landmarks
        ]
        talkers.append(Talker(speech, mouth, boxes[track], strengths(active), drawn_shift(engine, shown)))
        if not speech.voiced.any():
            notes.append(f"{speech.path.name}: no speech is heard in it, the mouth stays closed; check its level")
        if not mouth.by_landmarks:
            notes.append(f"track {track}: no landmarks were found, the mouth is put where faces in such a box have it")
        for why in sorted({*reason.tolist()} - {""}):
            where = reason == why
            times = ", ".join(f"{first / fps:.1f}-{(last + 1) / fps:.1f} s" for first, last in runs(where))
            notes.append(
                f"track {track}: {why} in {where.sum()} of {len(order)} frames, which stay as they are ({times})"
            )
    if n_spoken < round(spoken_s * fps):
        notes.append(f"the speech is cut after {n_spoken / fps:.1f} s, where the video ends (longer_speech='cut')")
    if source.shrunk_from:
        notes.append("the picture was shrunk from {}x{} to {}x{} px".format(*source.shrunk_from, *source.size))
    return Paster, talkers, order, starts, tuple(notes)


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


def drawn_shift(engine: Engine, shown: list[tuple]) -> np.ndarray:
    """Where this network puts nose and mouth on this face, beside where they are: (2, 2), see mouths.misplaced.

    shown: mel window, crop and landmarks (68, 2) on the grid of some frames.
    """
    found = []
    if not shown:
        return np.zeros((2, 2))
    mels, crops, points = zip(*shown)
    for face, own in zip(engine.draw(np.stack(mels), np.stack(crops)), points):
        grey = cv2.cvtColor(np.clip(face * 255, 0, 255).astype(np.uint8), cv2.COLOR_BGR2GRAY)
        large = cv2.resize(grey, (3 * GRID, 3 * GRID), interpolation=cv2.INTER_CUBIC)
        drawn, scatter = steady_landmarks(large, to_detector_box(FaceBox(0, 0, 3 * GRID, 3 * GRID)))
        if scatter[0] < LOST:
            found.append(misplaced(drawn / 3, own))
    return np.median(found, axis=0) + UNDER_NOSE if found else np.zeros((2, 2))


def preview(job: Job, source_frame: int | None = None) -> np.ndarray:
    """Draw one frame with every chosen mouth at its widest: uint8 (h, w, 3) BGR.

    job: from prepare(), paste="blend".  source_frame: which frame of the video; None: the first that shows most of
    them.  Widest is the drawn mouth that differs most from the one drawn from silence.
    """
    clear = np.array([talker.mouth.reason == "" for talker in job.talkers])
    k = int(np.argmax(clear.sum(axis=0))) if source_frame is None else source_frame
    original = next(job.source.pictures([k]))
    frame = original.copy()
    tracks = [talker.mouth.track_id for talker in job.talkers]
    mouths = find_mouths([(k, original)], job.table, tracks, job.settings.min_face_px)
    for talker in (talker for talker, seen in zip(job.talkers, clear[:, k]) if seen):
        count = max(1, round(talker.speech.duration_s * job.source.fps))
        windows = np.stack([mel_window(talker.speech.mel, s) for s in job.starts[: count : max(1, count // 400)]])
        loudest = windows[np.argsort(-windows.mean(axis=(1, 2)))[:CANDIDATES]]
        mels = np.concatenate([np.full((1, N_MELS, MEL_STEP), -MEL_LIMIT, np.float32), loudest])
        crop = face_input(original, talker.boxes[k])
        drawn = job.engine.draw(mels, np.repeat(crop[None], len(mels), axis=0))
        moved = np.abs(drawn[1:, MIDDLE + 8 :, 24:72] - drawn[:1, MIDDLE + 8 :, 24:72]).mean(axis=(1, 2, 3))
        paste = Paster(job.table, replace(talker, mouth=mouths[talker.mouth.track_id]))
        paste(frame, k, drawn[1 + int(np.argmax(moved))])
    return frame
