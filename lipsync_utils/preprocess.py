"""Stage 04: face crops, sound and mel of every kept clip, in the layout that the reference trains on.

faces/<video_id>/<clip_id>/ holds 0.jpg, 1.jpg .. (number = frame of the clip; a frame without the speaker's face has
none), audio.wav (16 kHz mono) and mel.npy (80, columns). filelists/train.txt and val.txt name the folders; no video is
in both.
"""

import hashlib
import logging
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from . import media
from .audio import load_wav, melspectrogram, save_wav
from .config import FacesConfig, PreprocessConfig, SpeakerConfig
from .faces import FaceBox, find_faces
from .parallel import Done, Item, run_stage
from .project import DataSet, atomic_folder, write_text
from .records import Clip, FaceClip, Reason, SpeakerCheck, blank, read_csv, write_csv
from .speaker import SpeakerFace, tracks_of_speaker

log = logging.getLogger(__name__)

VERSION = 1
ONE_VIDEO = (
    "only one video, %s, has clips to train on: it is all for training, and nothing is left to validate with, which "
    "notebooks 05 to 07 and 09 need. Add another video of the speaker, or cut this one into two files, and run from 01"
)
ARTICLE_FUNNEL = {"videos": 80, "clips": 5821, "of the speaker": 4700, "with faces": 4700}


def preprocess_clips(
    data: DataSet,
    settings: PreprocessConfig | None = None,
    faces: FacesConfig | None = None,
    speaker: SpeakerConfig | None = None,
    **how,
) -> pd.DataFrame:
    """Cut out the speaker's face in every clip that speaker.csv keeps; writes faces.csv and the file lists.

    how: scheduler and workers, as for parallel.map_items.  Faces that stage 03 found are not searched again. Returns
    faces.csv (columns: records.FaceClip): a row per kept clip, also for one that turned out useless.
    """
    settings, faces, speaker = settings or PreprocessConfig(), faces or FacesConfig(), speaker or SpeakerConfig()
    files = read_csv(data.path("clips.csv"), Clip).set_index("clip_id").file.dropna()
    checks = read_csv(data.path("speaker.csv"), SpeakerCheck)
    tracks = tracks_of_speaker(read_csv(data.path("speaker_faces.csv"), SpeakerFace), speaker)
    rows = run_stage(
        "preprocess",
        [
            Item(
                c.clip_id,
                (data.root / c.file,),
                {"tracks": tracks.get(c.clip_id, [])},
                blank(FaceClip, clip_id=c.clip_id, video_id=c.video_id),
            )
            for c in checks[checks.kept].join(files, "clip_id", "inner").itertuples()
        ],
        partial(preprocess_clip, data=data, settings=settings, faces=faces),
        row_type=FaceClip,
        journal=data.journal("preprocess"),
        output=data.faces,
        settings=[faces, replace(settings, val_share=0.0, seed=0)],
        version=VERSION,
        unit="clip",
        **how,
    )
    splits = split_by_video((row.video_id for row in rows if row.folder), settings.val_share, settings.seed)
    rows = [replace(row, split=splits[row.video_id]) if row.folder else row for row in rows]
    for split in ("train", "val"):
        lines = [f"{row.video_id}/{row.clip_id}\n" for row in rows if row.split == split]
        write_text(data.path("filelists", f"{split}.txt"), "".join(lines))
    if len(splits) == 1 and settings.val_share:
        log.warning(ONE_VIDEO, *splits)
    return write_csv(data.path("faces.csv"), rows, FaceClip)


def preprocess_clip(item: Item, *, data: DataSet, settings: PreprocessConfig, faces: FacesConfig) -> Done:
    """One clip. item: inputs = (clip,), arguments: tracks (the speaker's, surest first)."""
    clip, folder = item.inputs[0], data.faces / item.row.video_id / item.id
    table = find_faces(clip, faces, data.cache)
    tracks = [table.track_boxes(t) for t in item.arguments["tracks"] if t in table.track_ids]
    boxes = speaker_boxes(tracks, table.n_frames)
    seen = boxes[~np.isnan(boxes[:, 0])]
    size = round(float(np.median(np.sqrt(np.prod(seen[:, 2:] - seen[:, :2], axis=1))))) if len(seen) else None
    row = replace(item.row, frames=len(boxes), faces=0, gaps=len(boxes) - len(seen), median_face_px=size)
    reason, note = why_not(row, settings)
    if reason:
        return Done([replace(row, reason=reason, note=note)])
    with atomic_folder(folder) as temporary:
        mel = melspectrogram(load_wav(save_wav(temporary / "audio.wav", load_wav(clip))))
        np.save(temporary / "mel.npy", mel)
        written = write_crops(clip, boxes, temporary, settings)
    row = replace(row, folder=folder.relative_to(data.root).as_posix(), faces=written, mel_columns=mel.shape[1])
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
    for frame in media.frames(clip, only=np.flatnonzero(~np.isnan(boxes[:, 0])).tolist()):
        crop = FaceBox(*boxes[frame.index].tolist()).crop(frame.image_bgr)
        if settings.crop_px:
            crop = cv2.resize(crop, (settings.crop_px, settings.crop_px), interpolation=cv2.INTER_AREA)
        _, jpeg = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, settings.jpeg_quality])
        jpeg.tofile(folder / f"{frame.index}.jpg")
    return len(list(folder.glob("*.jpg")))


def split_by_video(video_ids: Iterable[str], val_share: float, seed: int) -> dict[str, str]:
    """train or val for every video: a fixed share of the videos, chosen by a hash, so that order plays no part.

    A new video moves at most one other to the other side. With two videos or more, both sides get one.
    """
    ranked = sorted(set(video_ids), key=lambda v: hashlib.sha256(f"{seed} {v}".encode()).hexdigest())
    n_val = round(val_share * len(ranked))
    if val_share > 0 and len(ranked) > 1:
        n_val = min(max(n_val, 1), len(ranked) - 1)
    return {video: "val" if place < n_val else "train" for place, video in enumerate(ranked)}


def funnel(data: DataSet) -> pd.DataFrame:
    """What was left after each stage: columns left, ours, article."""
    clips, checks = read_csv(data.path("clips.csv"), Clip), read_csv(data.path("speaker.csv"), SpeakerCheck)
    faces = read_csv(data.path("faces.csv"), FaceClip)
    ours = [clips.video_id.nunique(), clips.file.count(), checks.kept.sum(), faces.folder.count()]
    return pd.DataFrame({"left": ARTICLE_FUNNEL.keys(), "ours": ours, "article": ARTICLE_FUNNEL.values()})
