"""Groups of rendered people for the tests of stage 08, and the meters that tell whose mouth moved and how."""

from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np

from lipsync_utils import metrics, talkshow
from lipsync_utils.audio import load_wav, save_wav
from lipsync_utils.faces import FaceTable, find_faces
from lipsync_utils.inference import people_in
from lipsync_utils.media import VideoWriter, frames
from lipsync_utils.records import read_rows
from lipsync_utils.talkshow import stage
from lipsync_utils.talkshow.video import SENTENCES

SIZE = (640, 480)
NEAR = ((0.335, 0.42, 1), (0.665, 0.42, 1), (0.5, 0.47, 1))  # so near that the boxes of the faces overlap


@dataclass(frozen=True)
class Crowd:
    """Three people cheek by cheek; for each from left to right their speech, and the video in which they say it."""

    video: Path
    speech: tuple[Path, ...]
    true: tuple[Path, ...]


def crowd(folder: Path) -> Crowd:
    """Render it: the host left, Noor in the middle, Dirk right (half hidden, landmarks still read his mouth)."""
    _, noor, dirk, _ = talkshow.guests()
    people = [talkshow.host(), dirk, noor]
    spoken = [(0, SENTENCES["nl"][1])]
    true, speech = [], []
    with mock.patch.object(stage, "SEATS", NEAR):
        video = talkshow.render_clip(folder / "crowd.mp4", people, spoken, seconds=4.0, size=SIZE, seed=4)
        for place, who in enumerate((0, 2, 1)):
            text = SENTENCES[people[who].voice.language][0]
            true.append(talkshow.render_clip(folder / f"true{place}.mp4", people, [(who, text)], size=SIZE, seed=4))
            speech.append(folder / f"speech{place}.wav")
            save_wav(speech[-1], load_wav(true[-1]))
    return Crowd(video, tuple(speech), tuple(true))


def overlaps(table: FaceTable) -> bool:
    """Do the boxes of neighbours reach into each other in most frames?"""
    boxes = [table.track_boxes(p.track_id) for p in people_in(table)]
    return all(np.mean(a[:, 2] > b[:, 0]) > 0.5 for a, b in zip(boxes, boxes[1:]))


def pictures_of(path: Path, n_frames: int) -> list[np.ndarray]:
    """The first frames of a video; of a picture the same one again and again."""
    found = [f.image_bgr for f, _ in zip(frames(path), range(n_frames))]
    return found * n_frames if len(found) == 1 else found


def landmarks_of(pictures: list[np.ndarray], table: FaceTable, track: int) -> np.ndarray:
    """(n, 68, 2) landmarks of a track in these pictures."""
    boxes = table.track_boxes(track)
    boxes = np.repeat(boxes, len(pictures), axis=0) if table.n_frames == 1 else boxes[: len(pictures)]
    return metrics.landmark_track(pictures, boxes)


def true_opening(said: Path, place: int) -> np.ndarray:
    """The mouth opening that belongs to a sentence, from its phonemes. place: of the speaker, from the left."""
    rows = read_rows(said.with_suffix(".truth.csv"), talkshow.FaceTruth)
    where = {r.actor: r.left_px for r in rows if r.frame == 0}
    return talkshow.mouth_curve(rows, sorted(where, key=where.get)[place])


@dataclass(frozen=True)
class Followed:
    """What the meter (r of the measured opening with the sentence's own) reads on the true rendering and on ours.

    size: range of our opening as a share of the true rendering's.
    """

    true_r: float
    r: float
    size: float

    @property
    def share(self) -> float:
        """Of the reading on the true rendering; 1 is as good as it gets."""
        return self.r / self.true_r


def follow(pictures: list[np.ndarray], table: FaceTable, track: int, said: Path, place: int) -> Followed:
    """Read the meter on drawn pictures and on the true rendering of the same sentence."""
    seen, curve = find_faces(said, None, said.parent / "cache"), true_opening(said, place)
    truth = landmarks_of(pictures_of(said, len(pictures)), seen, people_in(seen)[place].track_id)
    true, ours = metrics.mouth_opening(truth), metrics.mouth_opening(landmarks_of(pictures, table, track))
    size = float(np.ptp(ours) / np.ptp(true))
    return Followed(metrics.correlation(true, curve), metrics.correlation(ours, curve), size)


def encoded(pictures: list[np.ndarray], output: Path, crf: int = 18) -> list[np.ndarray]:
    """Pictures after encoding as a result is encoded (InferenceConfig.crf)."""
    with VideoWriter(output, size=pictures[0].shape[1::-1], crf=crf) as writer:
        for picture in pictures:
            writer.write(picture)
    return pictures_of(output, len(pictures))


def around_mouth(points: np.ndarray, margin_px: int = 4) -> list[tuple[slice, slice]]:
    """The place of a mouth in each picture, as slices. points: (n, 68, 2)."""
    mouths = points[:, metrics.MOUTH]
    low = np.floor(mouths.min(axis=1)).astype(int) - margin_px
    high = np.ceil(mouths.max(axis=1)).astype(int) + margin_px
    return [(slice(a[1], b[1]), slice(a[0], b[0])) for a, b in zip(low, high)]


def difference(some: list[np.ndarray], others: list[np.ndarray], areas: list[tuple[slice, slice]]) -> float:
    """Mean difference of two films in these areas, in levels of 255."""
    return float(np.mean([np.abs(a[s].astype(int) - b[s]).mean() for a, b, s in zip(some, others, areas)]))
