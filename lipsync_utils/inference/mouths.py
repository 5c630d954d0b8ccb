"""Where a mouth is in every frame, when that cannot be trusted, and how a drawn mouth is put there.

Landmarks, calm over time, place the weight: 1 over the mouth, falling towards the line of the jaw and the base of the
nose, 0 beyond them. Colours follow the skin around it. Shapes live on a square grid over the box of the face.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from scipy.ndimage import correlate1d, median_filter

from ..faces import FaceBox, FaceTable, landmarks, steady_landmarks, to_detector_box
from .engine import GRID, MIDDLE
from .film import Source
from .people import Speech

LOST = 0.028  # of the detector's box: landmarks that scatter more are no face's
COVERED = 0.009  # the same for the mouth's landmarks alone: something lies before it
MOST_TURN_DEG = (42.0, 38.0)  # aside, and up or down
BRIDGED = 7  # frames over which a doubt is the median; shorter ones are bridged
CALM = np.array([1, 2, 3, 2, 1]) / 9  # weights over frames
LIPS, UPPER_LIP = slice(48, 60), slice(49, 54)
# A head in mm for the pose: nose tip, chin, outer corners of the eyes (the picture's left one first), of the mouth
HEAD_MM = np.array([(0, 0, 0), (0, 66, 13), (-45, -34, 27), (45, -34, 27), (-30, 30, 25), (30, 30, 25)], float)
HEAD_POINTS = [30, 8, 36, 45, 48, 54]

FINE = 2 * GRID  # the grid on which weights are made
JAW, NOSE_BASE, LOWER_LIP = np.arange(2, 15), np.arange(31, 36), [55, 56, 57, 58, 59]
BRIDGE, CHIN = 27, 8
INWARD = 0.1  # of the way from the jaw's line to the mouth: there the weight begins
TO_CHIN = 0.35  # of the way from the lower lip to the chin that is drawn in full
WIDER = 1.1  # than the mouth is what is drawn in full
MARGIN = 0.15  # of the way from the upper lip to the nose's base that is drawn in full
RISE = 1.3  # how soon the weight is full between the two outlines
FALL = 5.0  # how much sooner the weight falls beyond what is drawn in full than it rises within the jaw
DARK = 0.02  # added to colours before their logarithm is taken
MOST_LIGHT = np.array([0.8, 0.25, 0.25])  # logarithm of brightness and its slopes, by which a drawn face is moved
CALM_LIGHT, CALM_SHIFT = 0.15, 0.2  # of what a new frame shows that is taken over
BRIGHTER_LIPS = -0.3, 0.1  # logarithm, least and most: teeth or a tongue are sometimes taken for lips
OTHER_HUES = 0.7  # of the network's hues beside those of skin and lips that is taken away
ALIKE = 0.1  # logarithm: skin that differs more counts less
NEAR_PX = 6.0  # of the grid, over which skin lends its light
SHARPENED = 0.8  # how much clearer details of these sizes are made, on the grid; finer ones are the network's pattern
SHARPENED_PX = 0.6, 1.7
TEXTURE_PX = 1.5  # of the grid: what is finer is the skin's texture, which stays around the mouth
MOST_SHIFT = 12.0  # grid rows by which a drawn mouth is moved
STRETCHED = 0.5  # of the way from the drawn nose to the drawn lips: from there on, skin is stretched to the real nose


class Doubt(NamedTuple):
    """Frames first .. last of the source in which a mouth is left as it is, and why."""

    track_id: int
    first: int
    last: int
    reason: str  # "not seen", "too small", "turned away" or "covered"


@dataclass(frozen=True, kw_only=True)
class Mouth:
    """One person's mouth in the frames of a medium; NaN where it is not seen.

    points: (n, 68, 2) float32, calm over time.  lips: (n, 36, 2), outer lips as found in the frame and its neighbours.
    reason: (n,) why a frame is left as it is, "" where the mouth can be drawn.  by_landmarks: False where landmarks
    cannot be trusted (a drawing, an animal): then they stay at one place in the box.  The exact mode looks for none.
    """

    track_id: int
    reason: np.ndarray
    points: np.ndarray | None = None
    lips: np.ndarray | None = None
    by_landmarks: bool = False

    def doubts(self, order=slice(None)) -> list[Doubt]:
        """The frames that are left as they are; order: the numbers of the frames that are shown."""
        reason = self.reason[order]
        edges = np.flatnonzero(np.r_[True, reason[1:] != reason[:-1], True]).tolist()
        return [Doubt(self.track_id, i, end - 1, str(reason[i])) for i, end in pairwise(edges) if reason[i]]


@dataclass(frozen=True, kw_only=True)
class Talker(Mouth):
    """A mouth and its speech, laid out over the frames of medium and result.

    boxes: (n_source, 4) whole pixels, may reach over the edge.  strength: (n_output,) how far the drawn mouth is
    blended in, 0: not drawn.
    """

    speech: Speech
    boxes: np.ndarray
    strength: np.ndarray


def find_mouths(
    pictures: Iterable[tuple[int, np.ndarray]], table: FaceTable, track_ids, min_face_px: int = 40, bridged=BRIDGED
) -> list[Mouth]:
    """Find the mouths of these people.

    pictures: (frame number, uint8 BGR); a frame that does not come counts as one in which nobody is seen.
    """
    looks = {track: {} for track in track_ids}
    for k, picture in pictures:
        grey, own = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), table.at(k, raw=True)
        for track, calm in table.at(k).items():
            if track in looks:
                look = steady_landmarks(grey, to_detector_box(calm))
                if np.float32(look[1][1]) > COVERED and own[track] != calm:
                    # The detector's own box: it jumps, but keeps up with a head.
                    look = min(look, steady_landmarks(grey, own[track]), key=lambda found: found[1][1])
                looks[track][k] = look
    return [mouth_of(t, table.track_boxes(t), look, min_face_px, bridged) for t, look in looks.items()]


def mouth_of(track: int, boxes: np.ndarray, looks: dict, min_face_px: int, bridged: int) -> Mouth:
    """The mouth of one person. boxes: (n, 4); looks: frame -> landmarks (68, 2) and their scatter (2,)."""
    at, side = np.array(list(looks), int), boxes[:, 2] - boxes[:, 0]
    reason = np.where(np.isnan(side), "not seen", "").astype(object)
    reason[at[side[at] < min_face_px]] = "too small"
    calm, lips = (np.full((len(boxes), n, 2), np.nan, np.float32) for n in (68, 36))
    if not looks:
        return Mouth(track_id=track, reason=reason.astype(str), points=calm, lips=lips, by_landmarks=True)
    points, scatter = (np.float32(part) for part in zip(*looks.values()))
    by_landmarks = bool(np.median(scatter[:, 0]) < LOST)
    if by_landmarks:
        turned = np.array([max(head_pose(p) - MOST_TURN_DEG) for p in points])
        for amount, most, word in ((scatter[:, 1], COVERED, "covered"), (turned, 0, "turned away")):
            reason[at[median_filter(amount, bridged, mode="nearest") > most]] = word
        lost = (scatter[:, 1] > 2 * COVERED) & (reason[at] == "")  # a few frames, from those before and after
        for place in np.ndindex(68, 2):
            points[(lost, *place)] = np.interp(at[lost], at[~lost], points[(~lost, *place)])
    else:
        corner, sides = boxes[at, None, :2], boxes[at, None, 2:] - boxes[at, None, :2]
        points = corner + np.median((points - corner) / sides, axis=0) * sides
    moved = np.linalg.norm(np.diff(boxes[at, :2] + boxes[at, 2:], axis=0), axis=1)
    cuts = np.flatnonzero((np.diff(at) > 1) | (moved > 0.6 * side[at[1:]])) + 1
    for part in np.split(np.arange(len(at)), cuts):
        calm[at[part]] = correlate1d(points[part], CALM, axis=0, mode="nearest")
        near = np.pad(points[part, LIPS], ((1, 1), (0, 0), (0, 0)), mode="edge")
        lips[at[part]] = np.concatenate([near[:-2], near[1:-1], near[2:]], axis=1)
    return Mouth(track_id=track, reason=reason.astype(str), points=calm, lips=lips, by_landmarks=by_landmarks)


def head_pose(points: np.ndarray) -> np.ndarray:
    """By how many degrees a head is turned aside, and up or down, roughly: (2,). points: (68, 2) landmarks."""
    shape = points[HEAD_POINTS].astype(float)
    far = 12 * np.linalg.norm(shape[1] - shape[2:4].mean(axis=0))  # a long lens: hardly any perspective
    camera = np.array([[far, 0, shape[0, 0]], [0, far, shape[0, 1]], [0, 0, 1]])
    forward = np.abs(cv2.Rodrigues(cv2.solvePnP(HEAD_MM, shape, camera, None)[1])[0][:, 2])
    return np.degrees(np.arctan2(forward[:2], forward[2]))


def doubts(media: Path, table: FaceTable, track_ids: Iterable[int] | None = None, every: int = 3) -> list[Doubt]:
    """Where lip_sync will leave a mouth as it is, before anything is drawn. For the picker.

    Call it with the FaceTable that found the people and the chosen tracks (None: all), once per medium, since it reads
    every `every`-th frame of it.  A doubt that covers nearly the whole video is a reason to choose somebody else.
    """
    numbers, tracks = np.arange(0, table.n_frames, every), table.track_ids if track_ids is None else track_ids
    pictures = enumerate(Source(media).pictures(numbers.tolist()))
    found = find_mouths(pictures, table.thinned(numbers), tracks, bridged=max(3, BRIDGED // every))
    return [
        Doubt(track, first * every, min((last + 1) * every, table.n_frames) - 1, reason)
        for mouth in found
        for track, first, last, reason in mouth.doubts()
    ]


def smooth_step(x: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, a soft S between."""
    x = np.clip(x, 0, 1)
    return (x * x * (3 - 2 * x)).astype(np.float32)


def on_grid(points: np.ndarray, box: np.ndarray, grid: int) -> np.ndarray:
    """Points (n, 2) of the frame on a grid over a box."""
    return (points - box[:2]) * (grid / (box[2:] - box[:2]))


def mouth_weight(points: np.ndarray, lips: np.ndarray, box: np.ndarray) -> np.ndarray:
    """How far each pixel of a box is redrawn: float32 (192, 192) on a grid over the box, 0 to 1.

    points: (68, 2) landmarks; lips: (n, 2) outer lips that must be covered; in pixels of the frame.
    """
    p, mouth = on_grid(points, box, FINE), on_grid(lips, box, FINE)
    centre, base = p[LIPS].mean(axis=0), p[NOSE_BASE]
    jaw = p[JAW] + INWARD * (centre - p[JAW])
    lower = mouth[np.argsort(mouth[:, 1])[-len(mouth) // 2 :]]
    wide = (mouth - centre) * (WIDER, 1) + centre
    core = np.concatenate([mouth, wide, lower + TO_CHIN * (p[CHIN] - p[LOWER_LIP].mean(axis=0))])
    area, full = np.zeros((2, FINE, FINE), np.uint8)
    jaw, core = (np.rint(outline * 16).astype(np.int32) for outline in (np.concatenate([jaw, base[::-1]]), core))
    cv2.fillPoly(area, [jaw], 1, shift=4)
    cv2.fillPoly(full, [cv2.convexHull(core)], 1, shift=4)
    area[: FINE // 2 + 2] = 0
    gap = max(mouth[:, 1].min() - base[:, 1].max(), 2.0)
    inside = np.maximum(cv2.distanceTransform(area, cv2.DIST_L2, 5) - 1.5, 0)
    away = np.maximum(cv2.distanceTransform(1 - full, cv2.DIST_L2, 5) - MARGIN * gap, 0)
    return smooth_step(RISE * inside / np.maximum(inside + FALL * away, 1e-3))


def face_axes(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Unit vectors across and along a face as rows (2, 2), and its length from the bridge of the nose to the chin."""
    along = points[CHIN] - points[BRIDGE]
    length = max(float(np.linalg.norm(along)), 1e-3)
    return np.array([[along[1], -along[0]], along]) / length, length


def misplaced(drawn_points: np.ndarray, points: np.ndarray) -> np.ndarray:
    """How far a drawn upper lip lies from the real one: (2,), across and along the face, of its length.

    Both (68, 2) on one grid.  Networks draw the proportions that they learnt.
    """
    axes, length = face_axes(points)
    return axes @ (drawn_points[UPPER_LIP] - points[UPPER_LIP]).mean(axis=0) / length


def warp(points: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, ...]:
    """From where in a drawn face each of its pixels is taken: two maps (96, 96) for cv2.remap.

    points: (68, 2) on the grid.  The mouth is moved by `shift` (see misplaced) to where it really is, towards the chin
    nothing; what is drawn right above the lips is stretched to the nose: no drawn nose shows under the real one.
    """
    axes, length = face_axes(points)
    y, x = np.mgrid[:GRID, :GRID].astype(np.float32)
    along = (x - points[BRIDGE, 0]) * axes[1, 0] + (y - points[BRIDGE, 1]) * axes[1, 1]
    parts = (NOSE_BASE, UPPER_LIP, LIPS)
    nose, lip, mouth = ((points[part].mean(axis=0) - points[BRIDGE]) @ axes[1] for part in parts)
    moved = np.clip(shift * length, -MOST_SHIFT, MOST_SHIFT)
    moved = np.stack([moved + (0, STRETCHED * max(lip - nose, 0)), moved, moved, (0, 0)]) @ axes
    dx, dy = (np.interp(along, [nose, lip, mouth, length], column).astype(np.float32) for column in moved.T)
    return x + dx, y + dy


def light_plane(difference: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """A robust plane through each channel of a map: both (96, 96, channels).

    skin: (96, 96) weights, 0 over the mouth.  A beard that only one picture has, or a window behind the ear, counts
    little, and nothing is moved far.
    """
    y, x = np.mgrid[:GRID, :GRID] / MIDDLE
    everywhere = np.stack([np.ones((GRID, GRID)), x - 1, y - 1.5], axis=2)
    place, seen, weight = everywhere[skin > 0], difference[skin > 0], skin[skin > 0]
    if len(seen) < 40:
        return np.zeros_like(difference)
    fit = np.outer([1, 0, 0], np.median(seen, axis=0))
    for _ in range(3):
        off = np.abs(seen - place @ fit).mean(axis=1)
        weighted = place.T * (weight / (1 + (off / (1.5 * np.median(off) + 0.03)) ** 2))
        fit = np.linalg.solve(weighted @ place + np.diag([0, 0.05, 0.05]) * weighted[0].sum(), weighted @ seen)
    return everywhere @ np.clip(fit.T, -MOST_LIGHT, MOST_LIGHT).T


def cut(frame_bgr: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The picture inside a box (whole pixels); where the box reaches over the frame's edge, the edge is repeated."""
    left, top, right, bottom = box.tolist()
    height, width = frame_bgr.shape[:2]
    over = max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0)
    inside = frame_bgr[max(top, 0) : bottom, max(left, 0) : right]
    return cv2.copyMakeBorder(inside, *over, cv2.BORDER_REPLICATE)


def paste(frame_bgr: np.ndarray, drawn_bgr: np.ndarray, talker: Talker, i: int, k: int, table, calm: dict) -> None:
    """Lay a drawn face (96, 96, 3) float32 in [0, 1] over a frame, in place; nobody else's face is touched.

    i, k: number of the frame in the result, in the source.  calm: what was measured in the frames before.
    """
    box, track = talker.boxes[k], talker.track_id
    left, top, right, bottom = box.tolist()
    size, (height, width) = (right - left, bottom - top), frame_bgr.shape[:2]
    weight, source = mouth_weight(talker.points[k], talker.lips[k], box), cut(frame_bgr, box).astype(np.float32)
    mask = cv2.resize(weight, size, interpolation=cv2.INTER_LINEAR)[..., None] * talker.strength[i]
    mask[: (size[1] + 1) // 2] = 0
    others = table.at(k)
    own = others.pop(track)
    for other in others.values():
        if other.iou(own) > 0:  # the weight ends half-way to every other face
            far = from_middle(box, other) - from_middle(box, FaceBox(*box.tolist()))
            mask *= smooth_step(far / 0.12)[..., None]
    points, shift = on_grid(talker.points[k], box, GRID), np.zeros(2)
    if talker.by_landmarks:
        shift = steady(calm, (track, "shift"), misplaced(drawn_landmarks(drawn_bgr), points), CALM_SHIFT)
    fine, coarse = (cv2.GaussianBlur(drawn_bgr, (0, 0), px) for px in SHARPENED_PX)
    sharp, maps = fine + SHARPENED * (fine - coarse), warp(points, shift)
    placed = np.log(np.clip(cv2.remap(sharp, *maps, cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE), 0, 1) + DARK)
    found = light_and_hues(placed, source, weight, on_grid(talker.lips[k], box, GRID))
    light, hues = (steady(calm, (track, n), part, CALM_LIGHT) for n, part in enumerate(found))
    tones = cv2.resize(fitting(placed, light, hues).astype(np.float32), size)
    maps = (cv2.resize(part, size) for part in maps)
    drawn = np.clip(cv2.remap(sharp, *maps, cv2.INTER_CUBIC, None, cv2.BORDER_REPLICATE), 0, 1)
    new = ((drawn + DARK) * np.exp(tones) - DARK) * 255 - source
    fine = new - cv2.GaussianBlur(new, (0, 0), TEXTURE_PX * size[0] / GRID)
    mixed = source + mask * (new - (1 - mask) * fine)
    rows, columns = slice(max(-top, 0), height - top), slice(max(-left, 0), width - left)
    frame_bgr[max(top, 0) : bottom, max(left, 0) : right] = np.clip(np.rint(mixed), 0, 255)[rows, columns]


def steady(calm: dict, what: tuple, found: np.ndarray, share: float) -> np.ndarray:
    """A measurement, calm over frames: a share of the new one is taken over."""
    calm[what] = calm.get(what, found) + share * (found - calm.get(what, found))
    return calm[what]


def drawn_landmarks(drawn_bgr: np.ndarray) -> np.ndarray:
    """The landmarks (68, 2) of a drawn face, on its grid."""
    side = 3 * GRID  # landmarks want a larger face
    grey = cv2.cvtColor(np.clip(drawn_bgr * 255, 0, 255).astype(np.uint8), cv2.COLOR_BGR2GRAY)
    return landmarks(cv2.resize(grey, (side, side), interpolation=cv2.INTER_CUBIC), FaceBox(0, 0, side, side)) / 3


def from_middle(box: np.ndarray, face: FaceBox) -> np.ndarray:
    """How far each pixel of a box lies from the middle of a face, in sizes of that face: float32 (h, w)."""
    y, x = np.mgrid[box[1] : box[3], box[0] : box[2]].astype(np.float32) + 0.5
    return np.hypot((x - face.centre[0]) / face.width, (y - face.centre[1]) / face.height)


def light_and_hues(drawn: np.ndarray, source_bgr: np.ndarray, weight: np.ndarray, lips: np.ndarray) -> tuple:
    """How a drawn face must change to fit the picture, as logarithms: light (96, 96, 3), and colours (3, 3).

    drawn: logarithms (96, 96, 3); source_bgr: the box in 0..255; lips: (n, 2) on the grid.  The light follows the skin
    around the mouth.  Colours: of the skin, and beyond it of the lips as they are and as drawn.
    """
    small, around = cv2.resize(source_bgr, (GRID, GRID), interpolation=cv2.INTER_AREA) / 255, weight[::2, ::2]
    seen, skin = np.log(small + DARK), around * (1 - around)
    light = light_plane(seen - drawn, skin)
    rest = seen - drawn - light
    near = (skin / (1 + (np.abs(rest).max(axis=2) / ALIKE) ** 2) + 1e-6)[..., None]
    light += cv2.GaussianBlur(rest * near, (0, 0), NEAR_PX) / cv2.GaussianBlur(near, (0, 0), NEAR_PX)[..., None]
    mouth = np.zeros((GRID, GRID), np.uint8)
    cv2.fillPoly(mouth, [np.rint(cv2.convexHull(np.float32(lips))).astype(np.int32)], 1)
    own = np.average(seen.reshape(-1, 3), axis=0, weights=near.ravel())
    return light, np.stack([own, *(lip_tone(tones[mouth > 0]) - own for tones in (seen, drawn + light))])


def fitting(drawn: np.ndarray, light: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """What is added to the logarithms of a drawn face. Arguments: as light_and_hues takes and gives them.

    What has the hue of the drawn lips gets that of the real ones; other hues, which networks that learnt on other faces
    draw too red or grey, come nearer to the skin's.
    """
    skin, seen_lips, drawn_lips = colours
    hue, lip_hue = hues_of(drawn + light - skin), hues_of(drawn_lips)
    like_lips = smooth_step(cv2.GaussianBlur(hue @ lip_hue, (0, 0), 1) / (lip_hue @ lip_hue + 1e-3))[..., None]
    brighter = np.clip((seen_lips - drawn_lips).mean(), *BRIGHTER_LIPS)
    return light + like_lips * (hues_of(seen_lips) - lip_hue + brighter) - OTHER_HUES * (hue - like_lips * lip_hue)


def hues_of(tones: np.ndarray) -> np.ndarray:
    """Logarithms of colours (..., 3) without their brightness."""
    return tones - tones.mean(axis=-1, keepdims=True)


def lip_tone(tones: np.ndarray) -> np.ndarray:
    """The colour (3,) of the lips among colours (n, 3) of a mouth: the redder half, bright more than dark."""
    colours, red = np.exp(tones), tones[:, 2] - tones[:, 1]
    weights = (np.maximum(red - np.median(red), 0) + 1e-6) * colours.mean(axis=1) ** 2
    return np.log(np.average(colours, axis=0, weights=weights))
