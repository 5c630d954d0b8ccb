"""Where eyes, nose, lips and chin lie in the 96x96 crop of a face: real clips beside invented actors.

    python tests/tools/measure_proportions.py [folder of real clips]

The looks of `random_actor` are fitted to the four clips of ../shared/real; GRID (../shared/real/grid) only checks.
"""

import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from lipsync_utils.faces import FaceBox, to_detector_box
from lipsync_utils.faces.landmarks import extent_twice, model, points, shape
from lipsync_utils.media import frames, probe
from lipsync_utils.talkshow import Scene, random_actor
from lipsync_utils.talkshow.puppet import FaceState
from lipsync_utils.talkshow.stage import Shot
from lipsync_utils.windows import FACE_PX

REAL = Path(__file__).parents[3] / "shared" / "real"
ROWS = {"eyes": slice(36, 48), "nose": slice(31, 36), "upper": slice(49, 54), "lower": slice(55, 60), "chin": [8]}
WIDTHS = {"eyes_w": (36, 45), "nose_w": (31, 35), "lips_w": (48, 54), "jaw_w": (3, 13)}


def crop_points(picture: np.ndarray, find_px: int = 360):
    """(crop (96, 96, 3), landmarks in it (68, 2)) of the largest face, as stage 04 cuts it; None where none is seen."""
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    factor = min(1.0, find_px / grey.shape[1])
    found = model("hog")(cv2.resize(grey, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), 1)
    if not found:
        return None
    face = max(found, key=lambda r: r.area())
    raw = FaceBox(*(v / factor for v in (face.left(), face.top(), face.right() + 1, face.bottom() + 1)))
    marks = shape(grey, raw)
    left, top, right, bottom = extent_twice(grey, marks)
    again = points(shape(grey, to_detector_box(FaceBox(left, top, right, bottom))))
    seen = (points(marks) + again) / 2
    crop = picture[max(0, round(top)) : round(bottom), max(0, round(left)) : round(right)]
    crop = cv2.resize(crop, (FACE_PX, FACE_PX), interpolation=cv2.INTER_LINEAR)
    return crop, (seen - (left, top)) * FACE_PX / (right - left, bottom - top)


def proportions(marks: np.ndarray) -> dict:
    """Mean rows and widths, in pixels of the crop."""
    rows = {name: float(marks[part, 1].mean()) for name, part in ROWS.items()}
    return rows | {name: float(np.hypot(*(marks[b] - marks[a]))) for name, (a, b) in WIDTHS.items()}


def of_clip(path: Path, n: int = 8) -> tuple[pd.DataFrame, list]:
    """Proportions of about n frames of a video, and their crops."""
    info, rows, crops = probe(path), [], []
    step = max(1, int(info.duration_s * info.fps / n))
    for number, frame in enumerate(frames(path)):
        found = crop_points(frame.image_bgr) if number % step == step // 2 else None
        if found:
            crops.append(found[0])
            rows.append(proportions(found[1]))
    return pd.DataFrame(rows), crops


STATES = (FaceState(), FaceState(jaw=0.4, teeth=0.3, yaw=0.1), FaceState(jaw=0.2, rounding=0.6, yaw=-0.08, pitch=0.03))


def of_actor(actor) -> tuple[pd.DataFrame, list]:
    """The same of an invented actor in a few states."""
    shot, rows, crops = Shot(Scene("single", (actor,), seed=3), (360, 460)), [], []
    for state in STATES:
        found = crop_points(shot.render([state], 0))
        if found:
            crops.append(found[0])
            rows.append(proportions(found[1]))
    return pd.DataFrame(rows), crops


def actors_table(n: int = 36) -> pd.DataFrame:
    """One row per invented actor, means over its states; actors whose face is not found are left out."""
    tables = (of_actor(random_actor(500_000 + seed))[0] for seed in range(n))
    return pd.DataFrame([t.mean() for t in tables if len(t)])


def real_table(paths: list[Path]) -> pd.DataFrame:
    """One row per real clip, means over its frames."""
    return pd.DataFrame({p.stem[:10]: of_clip(p)[0].mean() for p in paths}).T


def outside(real: pd.DataFrame, actors: pd.DataFrame) -> pd.DataFrame:
    """True where a real clip's mean lies outside the 5-95 % range of the actors."""
    return (real < actors.quantile(0.05)) | (real > actors.quantile(0.95))


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if sys.argv[1:] else REAL
    real = real_table([p for p in sorted(folder.rglob("*")) if p.suffix in (".mp4", ".mpg")])
    actors = actors_table()
    with pd.option_context("display.width", 200, "display.precision", 1):
        print(real, actors.quantile([0.0, 0.05, 0.5, 0.95, 1.0]), f"{len(actors)} actors found", sep="\n\n")
        print("\noutside:", outside(real, actors).stack().loc[lambda s: s].index.tolist())
