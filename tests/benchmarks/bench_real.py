"""Real people of ../shared/real: where the paste puts mouths, what it leaves of the old ones, and what networks draw.

    python tests/benchmarks/bench_real.py [--weights FOLDER] [--sheets FOLDER] [--clips NAME ..]

FOLDER holds generator.safetensors, expert.safetensors, judge.safetensors, or some of them; the embedded ones stand in
for the rest. Every row is printed as soon as it is measured, the tables with their goals at the end: some five minutes
on one core. Candidates are chosen on rendered people; this is the test.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from lipsync_utils import audio, checkpoints, metrics
from lipsync_utils.config import InferenceConfig
from lipsync_utils.faces import FaceBox, face_locations, find_faces, landmarks
from lipsync_utils.faces.landmarks import points, shape
from lipsync_utils.inference import prepare
from lipsync_utils.inference.lipsync import face_input
from lipsync_utils.inference.mouths import FINE, mouth_weight
from lipsync_utils.media import frames
from lipsync_utils.project import home

REAL = Path(__file__).resolve().parents[3] / "shared" / "real"
SPOKEN_BY = {  # whose speech each clip is made to say
    "man_kitchen_1080x1920_hevc.mp4": "woman_blue_700x700_30fps.mp4",
    "man_suit_700x700.mp4": "man_kitchen_1080x1920_hevc.mp4",
    "woman_bench_1080x1920_hevc.mp4": "man_suit_700x700.mp4",
    "woman_blue_700x700_30fps.mp4": "woman_bench_1080x1920_hevc.mp4",
}
LOOKED_AT = 16  # frames of a clip that are searched afresh
GOALS = {
    "lips_covered": ">= 0.99",
    "excluded": "small",
    "changed_px_beyond_jaw": "0",
    "old_lips_left": "<= 0.05",
    "mouth_r": ">= 0.5",
    "l1": "<= 8",
    "sharpness": "0.7 to 1.1",
    "offset_expert": "all within one frame",
    "offset_judge": "all within one frame",
}


def network(kind: str, weights: Path | None):
    """A network from the folder of candidates, or the embedded one."""
    path = weights / f"{kind}.safetensors" if weights else None
    path = path if path and path.exists() else checkpoints.embedded(kind)
    return checkpoints.load(path, "expert" if kind == "judge" else kind)


def at(weight: np.ndarray, places: np.ndarray, box: np.ndarray) -> np.ndarray:
    """A weight on its grid at places of the frame."""
    x, y = np.float32((places - box[:2]) * FINE / (box[2:] - box[:2]) - 0.5).T
    return cv2.remap(weight, x[None], y[None], cv2.INTER_LINEAR)[0]


def lip_coloured(frame_bgr: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The lips by their colour alone: bool (h, w), the reddest twelfth of the lower middle of the face."""
    left, top, right, bottom = box
    redness = cv2.GaussianBlur(cv2.cvtColor(frame_bgr, cv2.COLOR_BGR2LAB)[..., 1], (0, 0), 2).astype(float)
    part = np.zeros(redness.shape, bool)
    rows = slice(int(top + 0.55 * (bottom - top)), int(top + 0.9 * (bottom - top)))
    part[rows, int(left + 0.25 * (right - left)) : int(left + 0.75 * (right - left))] = True
    return part & (redness > np.quantile(redness[part], 11 / 12))


def paste_row(name: str, generator, sheets: Path | None = None) -> dict:
    """How well the mouths of a clip, saying another's speech, are covered."""
    clip, speech = REAL / name, REAL / SPOKEN_BY.get(name, "grid/pwij3p.mpg")
    settings = InferenceConfig(label="none", longer_speech="cut")
    table = find_faces(clip, None, home() / "outputs" / "cache")
    job = prepare(clip, {0: speech}, generator=generator, faces=table, settings=settings)
    talker = mouth = job.talkers[0]
    wanted = np.linspace(0, len(job.order) - 1, LOOKED_AT).astype(int)
    order, drawn = job.order[wanted], replace(talker, strength=talker.strength[wanted])
    few = replace(job, order=order, starts=[job.starts[i] for i in wanted], talkers=[drawn])
    covered, beyond, left, tiles = [], [], [], []
    for k, strength, source, made in zip(order, drawn.strength, job.source.pictures(order.tolist()), few.frames()):
        box = talker.boxes[k]
        tiles.append(np.vstack([face_input(picture, box + [-20, -20, 20, 20]) for picture in (source, made)]))
        if strength < 1:
            continue
        near = np.maximum(box + np.array([-1, -1, 1, 1]) * (box[2] - box[0]) // 2, 0)
        grey = cv2.cvtColor(source, cv2.COLOR_BGR2GRAY)
        found = face_locations(np.ascontiguousarray(source[near[1] : near[3], near[0] : near[2]]), 0)
        if not found:
            continue
        largest = max(found, key=lambda b: b.area).padded(-near[1], near[1], -near[0], near[0])
        fresh = points(shape(grey, largest))
        weight = mouth_weight(mouth.points[k], mouth.lips[k], box)
        covered.append(at(weight, fresh[48:60], box).min() >= 0.9)
        face = np.zeros(grey.shape, np.uint8)
        cv2.fillPoly(face, [np.rint(np.concatenate([fresh[:17], fresh[26:16:-1]])).astype(np.int32)], 1)
        beyond.append(int(((source != made).any(axis=2) & (face == 0)).sum()))
        changed = np.abs(source.astype(int) - made).max(axis=2)
        left.append(float((changed[lip_coloured(source, box)] < 2).mean()))
    if sheets:
        cv2.imwrite(str(sheets / f"{clip.stem}.png"), cv2.resize(np.hstack(tiles), None, fx=1.5, fy=1.5))
    corner, side = np.split(talker.boxes[job.order][:, None], 2, axis=2)
    on_grid = (mouth.points[job.order] - corner) * 96 / (side - corner)
    return {
        "clip": clip.name,
        "lips_covered": np.mean(covered),
        "excluded": np.mean(mouth.reason[job.order] != ""),
        "changed_px_beyond_jaw": np.mean(beyond),
        "old_lips_left": np.mean(left),
        "row_nose_base": np.nanmean(on_grid[:, 33, 1]),
        "row_upper_lip": np.nanmean(on_grid[:, 51, 1]),
        "frames": len(covered),
    }


def drawn_row(name: str, generator, expert, judge) -> dict:
    """What the networks make of a GRID sentence: its own sound, the reference picture from half a clip away."""
    clip = REAL / "grid" / name
    boxes = np.rint(find_faces(clip, None, home() / "outputs" / "cache").track_boxes(0)).astype(int)
    faces = np.stack([face_input(f.image_bgr, boxes[f.index]) for f in frames(clip)])
    mel = audio.melspectrogram(audio.load_wav(clip))
    windows = np.stack([audio.mel_window(mel, audio.frame_window_start(i, "inference")) for i in range(len(faces))])
    shown = torch.from_numpy(faces.transpose(0, 3, 1, 2) / np.float32(255))
    masked, reference = shown.clone(), shown.roll(len(faces) // 2, 0)
    masked[:, :, 48:] = 0
    with torch.inference_mode():
        drawn = generator(torch.from_numpy(windows[:, None]), torch.cat([masked, reference], 1))
    drawn = np.clip(drawn.numpy().transpose(0, 2, 3, 1) * 255, 0, 255).astype(np.uint8)
    opening = [metrics.mouth_opening(np.stack([crop_landmarks(p) for p in some])) for some in (faces, drawn)]
    offsets = {
        f"offset_{kind}": metrics.judge_from_features(*metrics.expert_features(faces, mel, net)).offset
        for kind, net in (("expert", expert), ("judge", judge))
    }
    return {
        "clip": name,
        "mouth_r": metrics.correlation(*opening),
        "l1": metrics.l1(drawn, faces),
        "sharpness": metrics.sharpness_ratio(drawn, faces),
        **offsets,
        **{f"{k}_subframe": subframe(faces, mel, net) for k, net in (("expert", expert), ("judge", judge))},
    }


def crop_landmarks(face_bgr: np.ndarray) -> np.ndarray:
    """Landmarks of a 96-pixel crop, enlarged."""
    large = cv2.resize(face_bgr, (288, 288), interpolation=cv2.INTER_CUBIC)
    return landmarks(large, FaceBox(0, 0, 288, 288))


def subframe(faces, mel, expert) -> float:
    """The offset to a fraction of a frame: the lowest point of a parabola through the three best distances."""
    face, sound = metrics.expert_features(faces, mel, expert)
    shifts = np.arange(-6, 7)
    means = np.array([np.sqrt(np.maximum(0, 2 - 2 * (face @ sound.T).diagonal(s))).mean() for s in shifts])
    k = int(np.clip(np.argmin(means), 1, len(means) - 2))
    before, middle, after = means[k - 1 : k + 2]
    return float(-(shifts[k] + (before - after) / (2 * (before - 2 * middle + after))))


def tables(weights: Path | None = None, sheets: Path | None = None, only=()) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The networks on the sentences of GRID, and the paste on all clips, or on some of them; one row a clip."""
    generator, expert, judge = (network(kind, weights) for kind in ("generator", "expert", "judge"))
    sentences = [path.name for path in sorted((REAL / "grid").glob("*.mpg")) if not only or path.name in only]
    clips = [name for name in SPOKEN_BY if not only or name in only] + [f"grid/{name}" for name in sentences]
    drawn = pd.DataFrame([printed(drawn_row(name, generator, expert, judge)) for name in sentences])
    pasted = pd.DataFrame([printed(paste_row(name, generator, sheets)) for name in clips])
    return tuple(table.set_index("clip") for table in (drawn, pasted) if len(table))


def printed(row: dict) -> dict:
    """Print a row at once, for whoever waits."""
    print(*(f"{k} {v if isinstance(v, str) else round(float(v), 3)}" for k, v in row.items()), flush=True)
    return row


def with_goals(table: pd.DataFrame) -> pd.DataFrame:
    """A table with its mean and its goals below."""
    shown = pd.concat([table, table.mean().to_frame("mean").T]).round(3).astype(object)
    shown.loc["goal"] = [GOALS.get(column, "") for column in table.columns]
    return shown


def bench_real_people(record_property):
    """The first table of the issue on real people."""
    if not REAL.is_dir():
        pytest.skip("the clips of real people are not here (../shared/real)")
    for table in tables():
        for column in table.columns:
            record_property(f"{column} (goal {GOALS.get(column, 'none')})", float(table[column].mean()))
        if "lips_covered" in table:
            assert table.lips_covered.min() >= 0.99


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="folder of candidate weights")
    parser.add_argument(
        "--sheets", type=Path, help="folder for a contact sheet of each clip: source above, result below"
    )
    parser.add_argument("--clips", nargs="*", default=(), help="names of files; all where none is given")
    options = parser.parse_args()
    if not REAL.is_dir():
        parser.exit(0, "skipped: the clips of real people are not here (../shared/real)\n")
    if options.sheets:
        options.sheets.mkdir(parents=True, exist_ok=True)
    for table in tables(options.weights, options.sheets, options.clips):
        print(with_goals(table).to_string(), "\n")


if __name__ == "__main__":
    main()
