"""Clips that nobody trained on, what is seen in them, who judges their sync, and the numbers that come of it."""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from .. import checkpoints, media, metrics, records, talkshow
from ..audio import SAMPLE_RATE_HZ, load_wav, melspectrogram
from ..config import EvaluationConfig
from ..errors import DataError
from ..faces import FaceBox, encode, find_faces, landmarks
from ..parallel import Failure, map_items
from ..project import DataSet, kept, spread
from ..training.checks import mouth_openings

FPS = 25
SIZE_PX = (640, 480)  # of rendered clips
FACE_PX = 96  # side of the face pictures, as the networks see them
SOME = 3  # frames: of neighbours, which are alike, every third is enough for the slow measures
OPEN = 0.25  # a mouth is open from this part of the way between the speaker's closed and widest mouth on
SHIFTS = -5, -2, 2, 5  # frames by which the sound is moved to test a judge; positive delays it
DEFAULTS = EvaluationConfig()
SILENT_DBFS = -45.0  # of the 0.2 s around a frame; a quieter one is silent


@dataclass(frozen=True)
class TestClip:
    """One clip to be tested on. actor: its name in the talk show's ground truth, None for a real video."""

    __test__ = False  # not a test of pytest

    clip_id: str
    video_id: str
    group: str
    path: Path
    actor: str | None = None

    @property
    def truth_csv(self) -> Path | None:
        """The ground truth beside a rendered clip, None for a real one."""
        return self.path.with_suffix(".truth.csv") if self.actor else None

    def true_opening(self) -> np.ndarray | None:
        """The mouth opening that the clip was rendered with, (frames,), NaN where unseen; None for a real video."""
        return self.actor and talkshow.mouth_curve(records.read_rows(self.truth_csv, talkshow.FaceTruth), self.actor)


def held_out(data: DataSet, settings: EvaluationConfig = DEFAULTS) -> list[TestClip]:
    """The test clips of a data set: the talk show's held-out videos and guests, else the validation clips.

    Raises DataError saying what to run where there are none.
    """
    folder = data.path("held_out")
    rendered = any(folder.glob("*.mp4"))
    clips = rendered_clips(folder) if rendered else validation_clips(data)
    clips = [clips[k] for k in spread(len(clips), settings.max_clips or len(clips))]
    if not rendered or not settings.guest_clips:
        return clips
    return clips + made_up_clips(data.path("guests"), talkshow.guests(), settings.guest_clips, "guest", settings.seed)


def rendered_clips(folder: Path, group: str = "speaker") -> list[TestClip]:
    """All rendered one-person clips of a folder, each a video of its own. Raises DataError for an empty folder."""
    clips = []
    for path in sorted(Path(folder).glob("*.mp4")):
        rows = records.read_csv(path.with_suffix(".truth.csv"), talkshow.FaceTruth)
        clips += [TestClip(path.stem, path.stem, group, path, name) for name in rows.actor.mode()[:1]]
    if not clips:
        raise DataError(f"{folder}: no held-out clip is here; notebook 01 renders them")
    return clips


def made_up_clips(
    folder: Path, actors: Sequence, n: int, group: str = "speaker", seed: int = 1, seconds=None
) -> list[TestClip]:
    """n one-person clips of actors in turn, who say made-up sentences of some six seconds; rendered if need be.

    seconds: of each clip, filled with sentences; None: one sentence, as long as it takes.
    """
    rng = np.random.default_rng((seed, 31))
    for number in range(n):
        actor, lines = actors[number % len(actors)], []
        while len(lines) < (1 if seconds is None else seconds):
            text = talkshow.random_sentence(actor.voice.language, rng)
            lines += [(0, text)] * (len(text) <= 75)
        path = Path(folder) / f"{group}{number + 1:02d}.mp4"
        talkshow.render_clip(path, [actor], lines, size=SIZE_PX, seconds=seconds, seed=900 + number + seed)
    return rendered_clips(folder, group)[:n]


def validation_clips(data: DataSet) -> list[TestClip]:
    """The clips of the videos that preprocessing kept for validation, at least 2 s long, in the order of faces.csv.

    Raises DataError where there are none.
    """
    path = data.path("faces.csv")
    table = records.read_csv(path, records.FaceClip)
    table = table[(table.split == "val") & table.reason.isna() & (table.frames >= 2 * FPS)]
    if table.empty:
        raise DataError(
            f"{path}: no clip of at least 2 s is kept for validation: collect more videos, or raise val_share in "
            "notebook 04"
        )
    files = [data.clips / row.video_id / f"{row.clip_id}.mp4" for row in table.itertuples()]
    return [TestClip(file.stem, file.parent.name, "speaker", file) for file in files]


# ---- what is seen


@dataclass(frozen=True, eq=False)
class Look:
    """The face in a clip. faces_bgr: (n, 96, 96, 3) uint8.  opening: (n,) of the mouth, share of the eye distance.
    landmarks: (n, 68, 2) in pixels of the video, NaN where not looked for.  encodings: (k, 128) of face_recognition.
    """

    faces_bgr: np.ndarray
    opening: np.ndarray
    landmarks: np.ndarray
    encodings: np.ndarray

    def __len__(self) -> int:
        return len(self.faces_bgr)


sound_of = kept(4)(load_wav)  # of a clip: every model says it


@kept(8)
def find_speaker(path: Path, cache_dir) -> tuple[int, np.ndarray]:
    """(track id, boxes) of the person who is seen most in a clip, the largest where several are.

    boxes: (n, 4) float32 left, top, right, bottom in pixels, NaN where the face is not seen.  Raises DataError where
    no face is found.
    """
    table = find_faces(path, cache_dir=cache_dir)
    if not table.track_ids:
        raise DataError(f"{path.name}: no face was found, so nothing can be measured")
    tracks = {track: table.track_boxes(track) for track in table.track_ids}
    best = max(tracks, key=lambda t: (np.isfinite(tracks[t][:, 0]).sum(), np.nanmean(metrics.sides(tracks[t]))))
    return best, tracks[best]


def region_of(boxes: np.ndarray) -> FaceBox:
    """What holds the face in all frames, and some margin. boxes: (n, 4) in pixels, NaN where unseen."""
    return FaceBox(*np.nanmin(boxes[:, :2], axis=0), *np.nanmax(boxes[:, 2:], axis=0)).grown(0.05)


def look_at(pictures_bgr: Iterable, boxes: np.ndarray, *, encodings=0, rendered=False, marks=True) -> Look:
    """Look at a face in the frames of a video.

    boxes: (n, 4) in pixels, NaN where unseen; those of the true video also serve its generated versions, so that every
    model is looked at in the same place.  encodings: frames for face_recognition, spread evenly.  rendered: mouths are
    read by the embedded reader, which knows drawn faces; those of people by landmarks.  marks: look for landmarks also
    where nothing is read by them.
    """
    seen, places = np.flatnonzero(~np.isnan(boxes[:, 0])), metrics.filled(boxes).astype(np.float32)
    encoded_at = seen[np.linspace(0, len(seen) - 1, encodings + 2).round().astype(int)[1:-1]]
    faces, points, codes = [], np.full((len(boxes), 68, 2), np.nan), []
    for index, (picture, box) in enumerate(zip(pictures_bgr, places, strict=False)):
        place = FaceBox(*box.tolist())
        faces.append(cv2.resize(place.crop(picture), (FACE_PX, FACE_PX), interpolation=cv2.INTER_LINEAR))
        if index in seen and (not rendered or (marks and index % SOME == 0)):
            points[index] = landmarks(picture, place)
        if index in encoded_at:
            codes.append(encode(np.ascontiguousarray(picture[..., ::-1]), place))
    if not faces:
        raise DataError("no frame could be read")
    faces, points = np.stack(faces), points[: len(faces)]
    opening = mouth_openings(faces, True) if rendered else metrics.mouth_opening(points)
    return Look(faces, opening, points, np.reshape(codes, (-1, 128)))


def frames_of(path: Path) -> Iterable[np.ndarray]:
    """The pictures of a video, one by one."""
    return (frame.image_bgr for frame in media.frames(path))


@kept(4)
def look_at_clip(clip: TestClip, cache_dir, encodings: int = 0) -> Look:
    """Look at the true video of a clip; the cases of one clip follow each other and share it."""
    boxes = find_speaker(clip.path, cache_dir)[1]
    return look_at(frames_of(clip.path), boxes, encodings=encodings, rendered=clip.actor is not None)


@kept(8)
def network(path: Path, kind: str):
    """A network, kept for the next clip."""
    return checkpoints.load(path, kind)


# ---- the judge


#: By whether the judge is the published one: kind of its weights, names of its numbers, and the functions of metrics
#: that prepare the sound, embed faces and sound, embed sound alone, and compare embeddings.
PROTOCOLS = {
    True: (
        "evaluation",
        ("lse_d", "lse_c", "offset_frames"),
        metrics.to_int16,
        metrics.syncnet_features,
        metrics.syncnet_hears,
        metrics.lse_from_features,
    ),
    False: (
        "expert",
        ("judge_distance", "judge_confidence", "offset_frames"),
        melspectrogram,
        metrics.expert_features,
        metrics.expert_hears,
        metrics.judge_from_features,
    ),
}


class Judge:
    """The network that judges sync: the published SyncNet where the settings give its weights, else the course's own.

    file, name, kind: of its weights.  published: its numbers are called LSE-D and LSE-C.
    """

    def __init__(self, settings: EvaluationConfig):
        given = settings.syncnet_weights or settings.judge_weights
        self.file = Path(given or checkpoints.embedded("judge"))
        self.name = self.file.name if given else "embedded judge"
        self.published = settings.syncnet_weights is not None
        self.kind, self.names, self.sound, self.embed, self.embed_sound, self.compare = PROTOCOLS[self.published]

    def features(self, faces_bgr, wav) -> tuple[np.ndarray, np.ndarray]:
        """Embeddings (n, d) of face windows and sound windows. faces_bgr: (n, 96, 96, 3) uint8, 25 fps; wav: 16 kHz."""
        return self.embed(faces_bgr, self.sound(wav), network(self.file, self.kind))

    def hears(self, wav, n: int) -> np.ndarray:
        """The embeddings (n, d) of the first n sound windows alone."""
        return self.embed_sound(self.sound(wav), n, network(self.file, self.kind))

    def numbers(self, faces_bgr, wav) -> dict[str, float]:
        """The verdict on a clip under the names of metrics.MEASURES."""
        return dict(zip(self.names, vars(self.compare(*self.features(faces_bgr, wav))).values()))


def cross_check(
    clips, settings: EvaluationConfig = DEFAULTS, *, cache_dir=None, scheduler: str = "inline"
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Test the judge itself on true clips: another clip's sound must score worse, a shift of the sound must be found.

    Returns a row per clip (clip_id, distance, confidence, the same for the next clip's sound as other_*, offset, share
    of shifts_found beside that offset), and the curves of the mean distance, (31,) for shifts of -15 to 15 frames, with
    the own and the other sound.  Raises DataError where a clip cannot be looked at.
    """
    check = functools.partial(_check, judge=Judge(settings), cache_dir=cache_dir)
    pairs = zip(clips, [*clips[1:], *clips[:1]])
    rows, curves = zip(*results_of(check, pairs, scheduler=scheduler, desc="check of the judge", unit="clip"))
    return pd.DataFrame(rows), dict(zip(("own sound", "another clip's sound"), np.mean(curves, axis=0)))


def _check(pair, judge, cache_dir):
    """One clip of cross_check: its row, and its two curves."""
    clip, other = pair
    wav, faces = load_wav(clip.path), look_at_clip(clip, cache_dir).faces_bgr
    face, audio = judge.features(faces, wav)
    heard = judge.hears(np.resize(load_wav(other.path), len(wav)), len(face))
    own, wrong = judge.compare(face, audio), judge.compare(face, heard)
    found = [judge.compare(face, judge.hears(delayed(wav, shift), len(face))).offset + shift for shift in SHIFTS]
    others = {"other_distance": wrong.distance, "other_confidence": wrong.confidence}
    row = {"clip_id": clip.clip_id, **vars(own), **others, "shifts_found": np.mean(np.equal(found, own.offset))}
    return row, [metrics.offset_distances(face, sound).mean(axis=0) for sound in (audio, heard)]


def results_of(work: Callable, items: Iterable, **how) -> list:
    """What a function makes of hashable items, in their order; how: as for map_items, desc among it.

    Raises DataError with the first failure's words, when everything else is done.
    """
    items = list(items)
    found = dict(map_items(work, items, **how))
    for result in found.values():
        if isinstance(result, Failure):
            raise DataError(f"{how['desc']}: {result.error}")
    return [found[item] for item in items]


def delayed(wav: np.ndarray, frames: int) -> np.ndarray:
    """Sound (n,) so many frames later (negative: earlier); silence where nothing is left, length kept."""
    n = frames * SAMPLE_RATE_HZ // FPS
    return np.pad(wav, (max(n, 0), max(-n, 0)))[max(-n, 0) :][: len(wav)]


# ---- the numbers


def measured(
    look: Look, truth: Look, spoken: Look, wav: np.ndarray, judge: Judge, *, opening=None
) -> dict[str, float | None]:
    """All measures of one film, by the names of metrics.MEASURES; None where one cannot be taken.

    look: of the film; truth: of the video it was made from; spoken: of the true video of what is said (the same for a
    clip's own speech); wav: what is said, float32 16 kHz; opening: the true mouth opening by frame, if known.
    """
    seen = min(len(look), len(truth))
    faces, true_faces = look.faces_bgr[:seen], truth.faces_bgr[:seen]
    n = min(len(look.encodings), len(truth.encodings))
    numbers = judge.numbers(look.faces_bgr, wav) if np.any(wav) else {}
    numbers |= {
        "mouth_correlation": metrics.correlation(look.opening, spoken.opening),
        "leakage": leakage(look.opening, truth.opening, wav),
        "sharpness_ratio": metrics.sharpness_ratio(faces, true_faces),
        "identity_distance": np.linalg.norm(look.encodings[:n] - truth.encodings[:n], axis=1).mean() if n else np.nan,
    }
    if opening is not None:
        numbers["mouth_truth_correlation"] = metrics.correlation(look.opening, opening)
    if spoken is truth and look is not truth:
        numbers |= {
            "lmd_percent": metrics.landmark_distance(look.landmarks[:seen], truth.landmarks[:seen]),
            "l1": metrics.l1(faces, true_faces),
            "psnr_db": metrics.psnr(faces, true_faces),
            "ssim": np.mean([metrics.ssim(*pair) for pair in zip(faces[::SOME], true_faces[::SOME])]),
        }
    return {name: float(value) if np.isfinite(value) else None for name, value in numbers.items()}


def leakage(opening: np.ndarray, true_opening: np.ndarray, wav: np.ndarray) -> float:
    """Share of the silent frames in which the mouth is open; NaN with fewer than five.

    true_opening: of the speaker's true video, which says what is closed and what is wide.
    """
    power = pd.Series(np.square(wav, dtype=float)).rolling(SAMPLE_RATE_HZ // 5, center=True, min_periods=1).mean()
    silent = (power[:: SAMPLE_RATE_HZ // FPS] < 10 ** (SILENT_DBFS / 10)).to_numpy()
    n = min(len(silent), len(opening))
    heard_nothing = opening[:n][silent[:n]]
    closed, wide = np.nanpercentile(true_opening, [5, 95])
    return float(np.mean(heard_nothing > closed + OPEN * (wide - closed))) if len(heard_nothing) >= 5 else np.nan
