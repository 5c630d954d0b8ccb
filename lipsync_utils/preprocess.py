"""Stage 04: face crops, sound and mel of every kept clip, in the layout that the reference trains on.

faces/<video_id>/<clip_id>/ holds 0.jpg, 1.jpg .. (number = frame of the clip; a frame without the speaker's face has
none), audio.wav (16 kHz mono) and mel.npy (80, columns). filelists/train.txt and val.txt name the folders; no video is
in both.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from . import media
from .audio import load_wav, melspectrogram
from .config import FacesConfig, PreprocessConfig, SpeakerConfig
from .errors import MediaError
from .faces import FaceBox, find_faces
from .parallel import Done, Failure, Item, run_stage
from .project import DataSet, atomic_folder, write_text
from .records import Clip, FaceClip, Reason, SpeakerCheck, Video, read_rows, write_csv
from .speaker import SpeakerFace, tracks_of_speaker

VERSION = 1
ARTICLE_FUNNEL = {"videos": 80, "clips": 5821, "of the speaker": 4700, "with faces": 4700}


def preprocess_clips(
    data: DataSet,
    settings: PreprocessConfig | None = None,
    faces: FacesConfig | None = None,
    speaker: SpeakerConfig | None = None,
    *,
    scheduler: str = "processes",
    workers: int | None = None,
) -> list[FaceClip]:
    """Cut out the speaker's face in every clip that speaker.csv keeps; writes faces.csv and the file lists.

    Faces that stage 03 found are not searched again. Returns a row per kept clip, also for one that turned out useless.
    """
    settings, faces, speaker = settings or PreprocessConfig(), faces or FacesConfig(), speaker or SpeakerConfig()
    files = {c.clip_id: c.file for c in read_rows(data.path("clips.csv"), Clip) if c.file}
    kept = [c for c in read_rows(data.path("speaker.csv"), SpeakerCheck) if c.kept and c.clip_id in files]
    tracks = tracks_of_speaker(read_rows(data.path("speaker_faces.csv"), SpeakerFace), speaker)
    items = [
        Item(c.clip_id, (data.root / files[c.clip_id],), {"video_id": c.video_id, "tracks": tracks.get(c.clip_id, [])})
        for c in kept
    ]
    work = functools.partial(preprocess_clip, data=data, settings=settings, faces=faces)
    made_with = {"faces": faces, "crops": dataclasses.replace(settings, val_share=0.0, seed=0)}
    rows = run_stage(
        "preprocess",
        items,
        work,
        row_type=FaceClip,
        journal=data.journal("preprocess"),
        output=data.faces,
        settings={name: str(value) for name, value in made_with.items()},
        version=VERSION,
        failed=failed_rows,
        scheduler=scheduler,
        workers=workers,
        unit="clip",
    )
    splits = split_by_video((r.video_id for r in rows if r.folder), settings.val_share, settings.seed)
    rows = [dataclasses.replace(r, split=splits[r.video_id] if r.folder else None) for r in rows]
    write_csv(data.path("faces.csv"), rows, FaceClip)
    for split in ("train", "val"):
        lines = [f"{r.video_id}/{r.clip_id}\n" for r in rows if r.split == split]
        write_text(data.path("filelists", f"{split}.txt"), "".join(lines))
    return rows


def preprocess_clip(item: Item, *, data: DataSet, settings: PreprocessConfig, faces: FacesConfig) -> Done:
    """One clip. item: inputs = (clip,), arguments: video_id, tracks (the speaker's, surest first)."""
    clip, video_id, tracks = item.inputs[0], item.arguments["video_id"], item.arguments["tracks"]
    row = FaceClip(item.id, video_id, None, None, None, None, None, None, None, None, None)
    if not media.probe(clip).has_sound:
        return Done([dataclasses.replace(row, reason=Reason.NO_SOUND, note="a silent clip teaches nothing")])
    table = find_faces(clip, faces, data.cache)
    boxes = speaker_boxes([table.track_boxes(t) for t in tracks if t in table.track_ids], table.n_frames)
    seen = ~np.isnan(boxes[:, 0])
    sides = np.sqrt((boxes[seen, 2] - boxes[seen, 0]) * (boxes[seen, 3] - boxes[seen, 1]))
    row = dataclasses.replace(
        row,
        frames=table.n_frames,
        faces=0,
        gaps=int((~seen).sum()),
        median_face_px=round(float(np.median(sides))) if seen.any() else None,
    )
    reason, note = why_not(row, settings)
    if reason:
        return Done([dataclasses.replace(row, reason=reason, note=note)])
    folder = data.faces / video_id / item.id
    with atomic_folder(folder) as temporary:
        written = write_crops(clip, boxes, temporary, settings)
        media.extract_sound(clip, temporary / "audio.wav")
        mel = melspectrogram(load_wav(temporary / "audio.wav"))
        np.save(temporary / "mel.npy", mel)
    row = dataclasses.replace(
        row, folder=folder.relative_to(data.root).as_posix(), faces=written, mel_columns=mel.shape[1]
    )
    return Done([row], [folder, folder / "audio.wav", folder / "mel.npy"])


def speaker_boxes(tracks: list[np.ndarray], n_frames: int) -> np.ndarray:
    """(n_frames, 4) boxes of the speaker: in each frame of the surest track that is seen in it; NaN where none is."""
    boxes = np.full((n_frames, 4), np.nan, np.float32)
    for one in reversed(tracks):
        boxes = np.where(np.isnan(one), boxes, one)
    return boxes


def why_not(row: FaceClip, settings: PreprocessConfig) -> tuple[Reason | None, str | None]:
    """The reason why a clip is not used, or (None, None)."""
    if row.median_face_px is None:
        return Reason.NO_FACE, "the speaker is not seen in any frame"
    if row.gaps > settings.max_gap_share * row.frames:
        return Reason.FACE_GAPS, f"{row.gaps} of {row.frames} frames lack the speaker's face"
    if row.median_face_px < settings.min_face_px:
        return Reason.FACE_TOO_SMALL, f"{row.median_face_px} px, at least {settings.min_face_px} px are needed"
    return None, None


def write_crops(clip: Path, boxes: np.ndarray, folder: Path, settings: PreprocessConfig) -> int:
    """Write <frame>.jpg for every frame with a box (n_frames, 4); returns how many."""
    options, written = [cv2.IMWRITE_JPEG_QUALITY, settings.jpeg_quality], 0
    for frame in media.frames(clip):
        if frame.index >= len(boxes) or np.isnan(boxes[frame.index, 0]):
            continue
        crop = FaceBox(*boxes[frame.index].tolist()).crop(frame.image_bgr)
        if settings.crop_px:
            crop = cv2.resize(crop, (settings.crop_px, settings.crop_px), interpolation=cv2.INTER_AREA)
        done, jpeg = cv2.imencode(".jpg", crop, options)
        if not done:
            raise MediaError(f"{clip}: the face in frame {frame.index} cannot be written as JPEG")
        (folder / f"{frame.index}.jpg").write_bytes(jpeg.tobytes())
        written += 1
    return written


def split_by_video(video_ids: Iterable[str], val_share: float, seed: int) -> dict[str, str]:
    """train or val for every video: a fixed share of the videos, chosen by a hash, so that order plays no part.

    A new video moves at most one other to the other side. With two videos or more, both sides get one.
    """
    ranked = sorted(set(video_ids), key=lambda v: hashlib.sha256(f"{seed} {v}".encode()).hexdigest())
    n_val = round(val_share * len(ranked))
    if val_share > 0 and len(ranked) > 1:
        n_val = min(max(n_val, 1), len(ranked) - 1)
    return {video: "val" if place < n_val else "train" for place, video in enumerate(ranked)}


def failed_rows(item: Item, failure: Failure) -> list[FaceClip]:
    """A clip that could not be preprocessed."""
    row = FaceClip(item.id, item.arguments["video_id"], *(None,) * 9)
    reason = Reason.UNREADABLE if failure.expected else Reason.FAILED
    return [dataclasses.replace(row, reason=reason, note=failure.error[:300])]


def funnel(data: DataSet) -> list[tuple[str, int, int]]:
    """What was left after each stage: (name, ours, the article's)."""
    clips = read_rows(data.path("clips.csv"), Clip)
    videos = {clip.video_id for clip in clips}
    if data.path("collected.csv").exists():
        videos = {video.video_id for video in read_rows(data.path("collected.csv"), Video) if video.file}
    counts = {
        "videos": len(videos),
        "clips": sum(c.file is not None for c in clips),
        "of the speaker": sum(c.kept for c in read_rows(data.path("speaker.csv"), SpeakerCheck)),
        "with faces": sum(c.folder is not None for c in read_rows(data.path("faces.csv"), FaceClip)),
    }
    return [(name, count, ARTICLE_FUNNEL[name]) for name, count in counts.items()]
