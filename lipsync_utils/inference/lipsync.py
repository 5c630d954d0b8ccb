"""lip_sync(): a picture or video and speech in, a video out in which the chosen people say it and nobody else moves.

It finds the faces, reads what they say, plans every frame of the result, draws the mouths in batches, blends them in
and encodes. With paste="reference" it repeats the published inference instead (ExactJob).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from ..audio import MEL_LIMIT, MEL_STEP, N_MELS, frame_window_start, mel_window, mel_window_starts
from ..config import InferenceConfig
from ..errors import FaceError, SettingError
from ..faces import FaceBox, FaceTable, find_faces, steady_landmarks, to_detector_box
from ..media import VideoReader, VideoWriter
from ..project import content_hash, home, made_from, progress
from .engine import Engine, make_engine
from .film import Source, Voice, draw_label, make_label, mixed
from .mouths import (
    GRID,
    LOST,
    MIDDLE,
    Doubt,
    Mouth,
    Paster,
    cut,
    find_mouths,
    misplaced,
    on_grid,
    paste_square,
    smooth_boxes,
)
from .people import Speech, assign, output_frames, read_speech, runs, source_frames, strengths

log = logging.getLogger(__name__)

SAMPLES = 12  # frames drawn beforehand to see where this network puts a mouth
UNDER_NOSE = np.array([[0, 0.03], [0, 0]])  # the drawn nose's own shadow must not show under the real one
CANDIDATES = 24  # loudest windows that a preview tries


class Stopwatch:
    """Seconds by name."""

    def __init__(self):
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str):
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


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
class Talker:
    """One person and their speech, laid out over the frames of the result.

    boxes: (n_source, 4) whole pixels.  drawn: (n_output,) frames whose mouth is drawn; strength: how far it is blended
    in.  gaps: (first, last) frame of the result whose mouth cannot be drawn.  shift: see mouths.misplaced.
    """

    track_id: int
    speech: Speech
    boxes: np.ndarray
    mouth: Mouth
    drawn: np.ndarray
    strength: np.ndarray
    gaps: list[tuple[int, int]]
    shift: np.ndarray


@dataclass(frozen=True)
class Job:
    """Everything that is known before the first frame is drawn. order: (n_output,) source frame of each frame."""

    source: Source
    table: FaceTable
    talkers: tuple[Talker, ...]
    engine: Engine
    settings: InferenceConfig
    alignment: str  # of sound and frames, see audio.ALIGNMENTS
    watch: Stopwatch
    order: np.ndarray
    size: tuple[int, int]
    notes: tuple[str, ...] = ()

    @property
    def n_frames(self) -> int:
        """Frames of the result."""
        return len(self.order)

    def frames(self) -> Iterator[np.ndarray]:
        """The frames of the result before label and encoding: uint8 (h, w, 3) BGR, streamed."""
        pictures, batch = self.source.pictures(self.order.tolist()), []
        pasters = {talker.track_id: Paster(talker.shift) for talker in self.talkers}
        for i in range(self.n_frames):
            with self.watch("decode"):
                batch.append((i, next(pictures)))
            if len(batch) == self.engine.batch_size or i == self.n_frames - 1:
                yield from self.draw(batch, pasters)
                batch = []

    def draw(self, batch: list[tuple[int, np.ndarray]], pasters: dict[int, Paster]) -> list[np.ndarray]:
        """Draw every mouth of these frames, in place. All crops are taken before anything is changed."""
        todo = [(i, frame, talker) for i, frame in batch for talker in self.talkers if talker.drawn[i]]
        if todo:
            with self.watch("blend"):
                faces = np.stack([face_input(frame, talker.boxes[self.order[i]]) for i, frame, talker in todo])
                mels = np.stack([self.mel(talker, i) for i, _, talker in todo])
            with self.watch("network"):
                drawn = self.engine.draw(mels, faces)
            with self.watch("blend"):
                for (i, frame, talker), face in zip(todo, drawn):
                    self.blend(frame, self.order[i], talker, pasters[talker.track_id], face, float(talker.strength[i]))
        return [frame for _, frame in batch]

    def blend(self, frame, source_frame: int, talker: Talker, paster: Paster, face, strength: float = 1.0) -> None:
        """Put one drawn face into its frame, in place; nobody else's face is touched."""
        others = self.table.at(source_frame)
        own = others.pop(talker.track_id)
        near = np.array([astuple(box) for box in others.values() if box.iou(own) > 0]).reshape(-1, 4)
        place = (a[source_frame] for a in (talker.boxes, talker.mouth.points, talker.mouth.lips))
        paster.paste(frame, *place, face, strength, near)

    def mel(self, talker: Talker, frame: int) -> np.ndarray:
        """The mel columns that one frame of the result is drawn from: float32 (80, 16), silence past either end."""
        return mel_window(talker.speech.mel, frame_window_start(frame, self.alignment, self.source.fps))


def face_input(frame_bgr: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The face as the network sees it: uint8 (96, 96, 3), resized as the training crops were."""
    return cv2.resize(cut(frame_bgr, box), (GRID, GRID), interpolation=cv2.INTER_LINEAR)


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
    with watch("detect"):
        if faces is None and settings.box_px[0] != -1:
            faces = given_box(source, settings)
        elif faces is None:
            faces = find_faces(media, face_settings, cache_dir or home() / "outputs" / "cache")
    if not exact and faces.size != source.size:
        raise FaceError(f"the faces were found at {faces.size} px, {media.name} has {source.size} px: find them again")
    with watch("prepare"):
        wanted = assign(speech, choice, faces, media)
        speeches = {track: read_speech(path, settings.close_mouth and not exact) for track, path in wanted.items()}
        if settings.static and faces.n_frames > 1:
            faces = faces.thinned([settings.static_frame])
        engine = make_engine(
            generator,
            engine=settings.engine,
            device=settings.device,
            batch_size=settings.batch_size,
            precision="float32" if exact and settings.precision == "auto" else settings.precision,
            compile_network=settings.compile,
        )
        plan = plan_exactly if exact else plan_frames
        alignment = settings.alignment
        if alignment == "auto":  # the published code trains its networks one frame earlier than it runs them
            alignment = "inference" if exact else getattr(generator, "mel_alignment", "inference")
        return plan(source, faces, speeches, engine, settings, alignment, watch)


def given_box(source: Source, settings: InferenceConfig) -> FaceTable:
    """The box of the settings in every frame, instead of faces that were found."""
    count = 1
    if not source.still:
        with VideoReader(source.path) as reader:
            count = sum(1 for _ in reader.decoded())
    top, bottom, left, right = settings.box_px
    width, height = prepared_size(source, settings)
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise SettingError(
            f"box_px {settings.box_px} (top, bottom, left, right) is not inside the picture of {width}x{height} px"
        )
    return FaceTable.from_boxes([FaceBox(left, top, right, bottom)] * count, (width, height), source.fps)


def plan_frames(source, table, speeches, engine, settings, alignment, watch) -> Job:
    """Lay everything out over the frames of the result, and say what the reader should know."""
    fps, still, notes = source.fps, source.still, []
    n_source = 1 if still else table.n_frames
    spoken_s = max(speech.duration_s for speech in speeches.values())
    n_spoken = output_frames(n_source, spoken_s, fps, settings.longer_speech, "stop", still)
    total = output_frames(n_source, spoken_s, fps, settings.longer_speech, settings.shorter_speech, still)
    order = source_frames(total, n_source, settings.longer_speech)
    used = np.unique(order[:n_spoken])
    for track in speeches:
        boxes = table.track_boxes(track)[used]
        if np.isnan(boxes).all():
            raise FaceError(f"the face of track {track} is not in the frames that are used; choose another frame")
        side = float(np.nanmedian(boxes[:, 2] - boxes[:, 0]))
        if side < settings.min_face_px:
            raise FaceError(
                f"the chosen face is {side:.0f} px wide, at least {settings.min_face_px} px are needed: "
                "use a larger picture, or cut out and enlarge the part with the face"
            )
    samples = np.unique(np.linspace(0, n_spoken - 1, SAMPLES).astype(int))
    crops, boxes = {}, {track: np.nan_to_num(np.rint(table.track_boxes(track))).astype(np.int64) for track in speeches}

    def pictures():
        for number, picture in zip(used.tolist(), source.pictures(used.tolist())):
            if number in order[samples]:
                there = [track for track in speeches if boxes[track][number].any()]
                crops.update({(track, number): face_input(picture, boxes[track][number]) for track in there})
            yield number, picture

    mouths = find_mouths(pictures(), table, speeches, settings.min_face_px)
    talkers = []
    for track, speech in speeches.items():
        mouth = mouths[track]
        clear = mouth.reason[order] == ""
        active = clear & (np.arange(total) < n_spoken)
        if not settings.close_mouth:
            active &= speech.in_frames(total, fps)
        if not speech.voiced.any():
            notes.append(f"{speech.path.name}: no speech is heard in it, the mouth stays closed; check its level")
        if not mouth.by_landmarks:
            notes.append(f"track {track}: no landmarks were found, the mouth is put where faces in such a box have it")
        for reason in sorted(set(mouth.reason[order]) - {""}):
            where = mouth.reason[order] == reason
            times = ", ".join(f"{first / fps:.1f}-{(last + 1) / fps:.1f} s" for first, last in runs(where))
            notes.append(
                f"track {track}: {reason} in {where.sum()} of {total} frames, which stay as they are ({times})"
            )
        shown = [(i, order[i]) for i in samples if active[i]] if mouth.by_landmarks else []
        mels = [mel_window(speech.mel, frame_window_start(int(i), alignment, fps)) for i, _ in shown]
        points = [on_grid(mouth.points[k], boxes[track][k], GRID) for _, k in shown]
        shift = drawn_shift(engine, mels, [crops[track, k] for _, k in shown], points)
        gaps = runs(~clear)
        talkers.append(Talker(track, speech, boxes[track], mouth, active, strengths(active), gaps, shift))
    if n_spoken < round(spoken_s * fps):
        notes.append(f"the speech is cut after {n_spoken / fps:.1f} s, where the video ends (longer_speech='cut')")
    if source.shrunk_from:
        notes.append("the picture was shrunk from {}x{} to {}x{} px".format(*source.shrunk_from, *source.size))
    for note in notes:
        log.info("%s", note)
    return Job(source, table, tuple(talkers), engine, settings, alignment, watch, order, source.size, tuple(notes))


def drawn_shift(engine: Engine, mels: list, crops: list, points: list) -> np.ndarray:
    """Where this network puts nose and mouth on this face, beside where they are: (2, 2), see mouths.misplaced."""
    found = []
    for face, own in zip(engine.draw(np.stack(mels), np.stack(crops)) if mels else [], points):
        grey = cv2.cvtColor(np.clip(face * 255, 0, 255).astype(np.uint8), cv2.COLOR_BGR2GRAY)
        large = cv2.resize(grey, (3 * GRID, 3 * GRID), interpolation=cv2.INTER_CUBIC)
        drawn, scatter = steady_landmarks(large, to_detector_box(FaceBox(0, 0, 3 * GRID, 3 * GRID)))
        if scatter[0] < LOST:
            found.append(misplaced(drawn / 3, own))
    return np.median(found, axis=0) + UNDER_NOSE if found else np.zeros((2, 2))


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
    output, media, begun = Path(output), Path(media), time.perf_counter()
    if output.suffix.lower() != ".mp4":
        raise SettingError(f"output {output.name!r}: the result is an mp4; give a name that ends in .mp4")
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
    spoken = {talker.track_id: talker.speech.path for talker in job.talkers}
    if output.exists() and any(f.exists() and output.samefile(f) for f in (media, *spoken.values())):
        raise SettingError(f"output {output.name!r} is one of the inputs: give another name")
    with job.watch("prepare"):
        label = make_label(content_hash(media), {track: content_hash(path) for track, path in spoken.items()})
    output.parent.mkdir(parents=True, exist_ok=True)
    made_from([output], [media, *spoken.values()])
    encode(job, output, label.metadata(), on_progress)
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
        notes=job.notes,
        doubts=tuple(doubt for t in job.talkers for doubt in t.mouth.doubts),
    )


def encode(job: Job, output: Path, metadata: dict[str, str], on_progress) -> None:
    """Draw, label and write all frames with their sound."""
    settings, fps, source = job.settings, job.source.fps, job.source
    voices = [Voice(t.speech.path) for t in job.talkers]
    spoken_s = max(t.speech.duration_s for t in job.talkers)
    if source.has_sound and settings.keep_sound:
        voices.append(Voice(source.path, settings.kept_sound_db))
    elif source.has_sound and settings.shorter_speech == "continue" and job.n_frames > round(spoken_s * fps):
        voices.append(Voice(source.path, from_s=spoken_s))
    options = {"fps": fps, "size": job.size, "crf": settings.crf, "metadata": metadata}
    with mixed(voices, job.n_frames / fps, output.parent) as sound, VideoWriter(output, **options, **sound) as writer:
        frames = job.frames()
        if on_progress is None:
            frames = progress(frames, total=job.n_frames, desc="lip-sync", unit="frame")
        for number, frame in enumerate(frames, 1):
            with job.watch("encode"):
                draw_label(frame, settings.label)
                writer.write(frame)
            if on_progress is not None:
                on_progress(number, job.n_frames)


def preview(job: Job, source_frame: int | None = None) -> np.ndarray:
    """Draw one frame with every chosen mouth at its widest: uint8 (h, w, 3) BGR.

    job: from prepare(), paste="blend".  source_frame: which frame of the video; None: the first that shows all of them.
    Widest is the drawn mouth that differs most from the one drawn from silence.
    """
    clear = np.array([talker.mouth.reason == "" for talker in job.talkers])
    if source_frame is None:
        source_frame = int(np.argmax(clear.all(axis=0) if clear.all(axis=0).any() else clear.any(axis=0)))
    original = next(job.source.pictures([source_frame]))
    frame = original.copy()
    for talker in (t for t, seen in zip(job.talkers, clear[:, source_frame]) if seen):
        if np.isnan(talker.mouth.points[source_frame, 0, 0]):  # a frame that the speech does not reach
            looked = find_mouths([(source_frame, original)], job.table, [talker.track_id], job.settings.min_face_px)
            talker = replace(talker, mouth=looked[talker.track_id])
        count = max(1, round(talker.speech.duration_s * job.source.fps))
        windows = np.stack([job.mel(talker, i) for i in range(0, count, max(1, count // 400))])
        loudest = windows[np.argsort(-windows.mean(axis=(1, 2)))[:CANDIDATES]]
        mels = np.concatenate([np.full((1, N_MELS, MEL_STEP), -MEL_LIMIT, np.float32), loudest])
        crop = face_input(original, talker.boxes[source_frame])
        drawn = job.engine.draw(mels, np.repeat(crop[None], len(mels), axis=0))
        moved = np.abs(drawn[1:, MIDDLE + 8 :, 24:72] - drawn[:1, MIDDLE + 8 :, 24:72]).mean(axis=(1, 2, 3))
        job.blend(frame, source_frame, talker, Paster(talker.shift), drawn[1 + int(np.argmax(moved))])
    return frame


def jpeg(image_bgr: np.ndarray, longest_px: int = 1280, quality: int = 88) -> bytes:
    """A picture as JPEG bytes, shrunk to a size that a browser shows quickly."""
    scale = min(1.0, longest_px / max(image_bgr.shape[:2]))
    if scale < 1:
        image_bgr = cv2.resize(image_bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", image_bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


# The published inference, reproduced: its boxes, its chunks, its square paste. For comparisons, not for good looks.
# The list of mel windows decides how many frames come out, longer speech starts the video again, a box is padded, then
# smoothed over the frames that are used, and the drawn face covers all of it. Source: reference facts, section 7.


@dataclass(frozen=True)
class ExactJob(Job):
    """The same for the published inference. starts: first mel column of each frame; exact_boxes: -1 without a face."""

    starts: tuple[int, ...] = ()
    exact_boxes: np.ndarray | None = None

    def draw(self, batch, pasters) -> list[np.ndarray]:
        """Draw and paste one batch; a frame without the face stays as it is."""
        frames = [frame if self.source.is_picture else prepared(frame, self.settings) for _, frame in batch]
        places = [(i, frame, self.exact_boxes[self.order[i]]) for (i, _), frame in zip(batch, frames)]
        places = [(i, frame, box) for i, frame, box in places if box[0] >= 0]
        if places:
            faces = np.stack([cv2.resize(frame[b[1] : b[3], b[0] : b[2]], (GRID, GRID)) for _, frame, b in places])
            mels = np.stack([mel_window(self.talkers[0].speech.mel, self.starts[i]) for i, _, _ in places])
            with self.watch("network"):
                drawn = self.engine.draw(mels, faces)
            for (_, frame, box), face in zip(places, drawn):
                paste_square(frame, box, face)
        return frames


def plan_exactly(source, table, speeches, engine, settings, alignment, watch) -> ExactJob:
    """Pair frames and mel windows as the published code does."""
    if len(speeches) > 1:
        raise SettingError("paste='reference' moves one mouth, as the published code does; several: paste='blend'")
    ((track, speech),) = speeches.items()
    if speech.mel.shape[1] < MEL_STEP:
        raise SettingError(
            f"{speech.path.name}: {speech.duration_s:.2f} s of speech are too short for the published "
            "code (0.19 s at least); use paste='blend', which pads it"
        )
    starts, size = tuple(mel_window_starts(speech.mel.shape[1], source.fps)), prepared_size(source, settings)
    n_source = 1 if source.still else table.n_frames
    boxes = reference_boxes(table, track, min(n_source, len(starts)), size, settings)
    order = np.arange(len(starts)) % n_source
    seen = boxes[order, 0] >= 0
    mouth = Mouth(track, *(np.zeros((0, 68, 2)),) * 2, np.zeros(0, str), False)
    talker = Talker(track, speech, boxes, mouth, seen, seen.astype(np.float32), runs(~seen), np.zeros((2, 2)))
    known = source, table, (talker,), engine, settings, alignment, watch, order, size, ()
    return ExactJob(*known, starts=starts, exact_boxes=boxes)


def prepared(frame_bgr: np.ndarray, settings: InferenceConfig) -> np.ndarray:
    """Shrink, turn, crop: what the published code does to every frame of a video (not to a picture)."""
    height, width = frame_bgr.shape[:2]
    if settings.shrink > 1:
        frame_bgr = cv2.resize(frame_bgr, (width // settings.shrink, height // settings.shrink))
    if settings.turn_clockwise:
        frame_bgr = cv2.rotate(frame_bgr, cv2.ROTATE_90_CLOCKWISE)
    top, bottom, left, right = settings.crop_px
    height, width = frame_bgr.shape[:2]
    frame_bgr = frame_bgr[top : height if bottom == -1 else bottom, left : width if right == -1 else right]
    if not frame_bgr.size:
        raise SettingError(f"crop_px {settings.crop_px} (top, bottom, left, right) leaves nothing of {width}x{height}")
    return np.ascontiguousarray(frame_bgr)


def prepared_size(source: Source, settings: InferenceConfig) -> tuple[int, int]:
    """(width, height) of the frames after that."""
    if source.is_picture:
        return source.size
    return prepared(np.zeros((*source.size[::-1], 1), np.uint8), settings).shape[1::-1]


def reference_boxes(table: FaceTable, track_id: int, count: int, size: tuple[int, int], settings) -> np.ndarray:
    """The boxes of the first `count` frames: int64 (count, 4) left, top, right, bottom; all -1 where there is no face.

    table: boxes in the prepared frames (its size says so), or in the source's frames, where they are moved along.
    """
    if settings.box_px[0] != -1:
        return np.tile(np.array(settings.box_px, np.int64)[[2, 0, 3, 1]], (count, 1))
    boxes = table.track_boxes(track_id, raw=True)[:count]
    if table.size != size:
        if settings.turn_clockwise:
            raise SettingError("turn_clockwise wants faces found in the turned frames: give such a FaceTable as faces=")
        boxes = boxes / settings.shrink - np.array([settings.crop_px[2], settings.crop_px[0]] * 2, np.float32)
    seen = np.flatnonzero(~np.isnan(boxes[:, 0]))
    if not len(seen):
        raise FaceError("the chosen face is in none of the frames that are used; choose another person or video")
    top, bottom, left, right = settings.pads_px
    padded = np.trunc(boxes[seen]).astype(np.int64) + np.array([-left, -top, right, bottom])
    padded = np.clip(padded, (0, 0, -(1 << 30), -(1 << 30)), (1 << 30, 1 << 30, *size))
    result = np.full((len(boxes), 4), -1, np.int64)
    result[seen] = smooth_boxes(padded) if settings.smooth_boxes else padded
    return result
