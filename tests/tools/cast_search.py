"""Developer's tool: find faces that face_recognition tells apart, and measure those that are there.

    python tests/tools/cast_search.py measure
    python tests/tools/cast_search.py add --name Sanne --voice nl+f4 --hair long --seconds 300
    python tests/tools/cast_search.py improve --name Mei --seconds 300

`add` and `improve` print the actor as JSON, to be looked at and then put into cast.json by hand. The show itself does
not need this module, nor dlib.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from dataclasses import asdict, dataclass, replace
from functools import cached_property

import numpy as np

from lipsync_utils.talkshow import Actor, Scene, cast, random_actor
from lipsync_utils.talkshow.actor import LOOK_BOUNDS
from lipsync_utils.talkshow.puppet import FaceState, mouth_opening
from lipsync_utils.talkshow.stage import Shot

log = logging.getLogger(__name__)

POSES = (  # what a face may do in a clip, with the size of its head: an identity must survive all of it
    (1.0, FaceState()),
    (1.0, FaceState(jaw=0.6, tongue=0.2, yaw=0.13, roll=0.04)),
    (0.6, FaceState(jaw=0.2, rounding=0.6, yaw=-0.12, pitch=0.03)),
    (1.0, FaceState(jaw=0.15, width=0.4, teeth=0.5, blink=1.0, pitch=-0.03, roll=-0.05)),
    (0.8, FaceState(jaw=0.3, brow=0.8, gaze_x=0.2, yaw=0.05)),
)
SWEEP = (0.0, 0.2, 0.4, 0.7, 1.0)  # jaw positions for the check that the mouth can be read
SIZE = (360, 400)
OWN_LIMIT, OTHER_AIM = 0.40, 0.68  # distances that the search goes for; the show promises 0.45 and 0.55


class Looker:
    """dlib's detector, landmarks and face encoding, as face_recognition uses them. Pictures are RGB."""

    @cached_property
    def _models(self):
        import dlib
        import face_recognition_models as models

        return (
            dlib.get_frontal_face_detector(),
            dlib.shape_predictor(models.pose_predictor_model_location()),
            dlib.shape_predictor(models.pose_predictor_five_point_model_location()),
            dlib.face_recognition_model_v1(models.face_recognition_model_location()),
        )

    def find(self, image_rgb, upsample: int = 0, threshold: float = 0.0):
        """Return [(rectangle, score)] of the faces found."""
        rectangles, scores, _ = self._models[0].run(image_rgb, upsample, threshold)
        return list(zip(rectangles, scores, strict=True))

    def encode(self, image_rgb, rectangle) -> np.ndarray:
        """Return the 128 numbers of a face."""
        return np.array(self._models[3].compute_face_descriptor(image_rgb, self._models[2](image_rgb, rectangle), 1))

    def landmarks(self, image_rgb, rectangle) -> np.ndarray:
        """Return the 68 points of a face, float64 (68, 2): x, y; 8 is the chin."""
        return np.array([(p.x, p.y) for p in self._models[1](image_rgb, rectangle).parts()], float)

    def mouth(self, image_rgb, rectangle) -> float:
        """Return the gap between the inner lips as a fraction of the distance between the eyes."""
        points = self.landmarks(image_rgb, rectangle)
        gap = np.mean([points[66] - points[62], points[67] - points[61], points[65] - points[63]], 0)[1]
        return float(gap / np.linalg.norm(points[36:42].mean(0) - points[42:48].mean(0)))


@dataclass(frozen=True, eq=False)
class Impression:
    """What dlib makes of an actor. encodings: (poses, 128); lowest_score: of the detector; mouth_off: largest distance
    between the mouth's landmarks and the mouth, in distances between the pupils; mouth_r: correlation of the commanded
    and the measured mouth opening."""

    encodings: np.ndarray
    lowest_score: float
    mouth_off: float
    mouth_r: float


def look_at(actor: Actor, looker: Looker) -> Impression | None:
    """Return dlib's impression of an actor, None where it misses the face in one of the poses."""
    encodings, scores, off = [], [], []
    for size in sorted({size for size, _ in POSES}):
        shot = Shot(Scene("single", (actor,), seed=3, face=size), SIZE)
        for state in (state for s, state in POSES if s == size):
            picture = np.ascontiguousarray(shot.render([state], 0)[..., ::-1])
            found = looker.find(picture, threshold=-0.3)
            if len(found) != 1:
                return None
            encodings.append(looker.encode(picture, found[0][0]))
            scores.append(found[0][1])
            off.append(_mouth_error(shot.members[0], state, looker.landmarks(picture, found[0][0])))
    shot, wanted, seen = Shot(Scene("single", (actor,), seed=3), SIZE), [], []
    for jaw in SWEEP:
        state = FaceState(jaw=jaw, teeth=0.3)
        picture = np.ascontiguousarray(shot.render([state], 0)[..., ::-1])
        found = looker.find(picture, threshold=-0.5)
        if found:
            wanted.append(mouth_opening(actor, state))
            seen.append(looker.mouth(picture, found[0][0]))
    r = float(np.corrcoef(wanted, seen)[0, 1]) if len(seen) > 2 else 0.0
    return Impression(np.array(encodings), float(min(scores)), max(off), r)


def _mouth_error(member, state, points) -> float:
    """How far the corners of the mouth, as found, are from the mouth, in distances between the pupils.

    A dark, wide nose is easily taken for a mouth; such a face must not be in the cast.
    """
    off = points[[60, 64]].mean(0) - member.locate([(0, member.actor.mouth_y)], state)[0]
    return float(np.hypot(*off) / (2 * member.px_per_unit * member.actor.eye_dx))


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return all distances between two sets of encodings, (n, m)."""
    return np.linalg.norm(a[:, None] - b[None], axis=-1)


def rate(seen: Impression, others: list[Impression], actor: Actor) -> float:
    """Rate an actor among others: far from them, like itself, easy to find and to read, not a caricature."""
    nearest = [float(np.percentile(distances(seen.encodings, o.encodings), 2)) for o in others] or [OTHER_AIM]
    own = float(distances(seen.encodings, seen.encodings).max())
    bounds = LOOK_BOUNDS.items()
    extreme = np.mean([((getattr(actor, k) - (lo + hi) / 2) / (hi - lo) * 2) ** 2 for k, (lo, hi) in bounds])
    score = min(min(nearest), OTHER_AIM) + 0.1 * min(float(np.mean(nearest)), 0.78) - 0.06 * float(extreme)
    score -= 0.5 * max(0.0, own - OWN_LIMIT) + 0.1 * max(0.0, 1.0 - seen.lowest_score)
    score -= 0.5 * max(0.0, seen.mouth_off - 0.08)
    return score - 0.5 * max(0.0, 0.97 - seen.mouth_r)


def vary(actor: Actor, rng: np.random.Generator) -> Actor:
    """Return the actor with a few of its proportions changed a little, inside LOOK_BOUNDS."""
    changed = {}
    for key in rng.choice(list(LOOK_BOUNDS), int(rng.integers(1, 6)), replace=False):
        lo, hi = LOOK_BOUNDS[key]
        if key == "age":
            continue  # it is a trait of the person, not a proportion
        changed[str(key)] = round(float(np.clip(getattr(actor, key) + rng.normal() * 0.25 * (hi - lo), lo, hi)), 4)
    return replace(actor, **changed)


def search(start: list[Actor], others: list[Actor], seconds: float, seed: int, keep=lambda actor: actor) -> Actor:
    """Return the best actor found in `seconds`: the best of `start`, then hill climbing; `keep` repairs a variation."""
    looker, rng, ends = Looker(), np.random.default_rng(seed), time.monotonic() + seconds
    known = [look_at(actor, looker) for actor in others]
    best, best_rating = None, -np.inf
    for actor in shortlist(start, known, looker, time.monotonic() + seconds / 3):
        seen = look_at(actor, looker)
        rating = rate(seen, known, actor) if seen else -np.inf
        if rating > best_rating:
            best, best_rating = actor, rating
    log.info("start: %s %.3f", best.name, best_rating)
    while time.monotonic() < ends:
        actor = keep(vary(best, rng))
        seen = look_at(actor, looker)
        rating = rate(seen, known, actor) if seen else -np.inf
        if rating > best_rating:
            best, best_rating = actor, rating
            log.info("%.3f score %.2f mouth off %.2f r %.2f", rating, seen.lowest_score, seen.mouth_off, seen.mouth_r)
    return best


def shortlist(crowd: list[Actor], known: list[Impression], looker: Looker, ends: float, n: int = 3) -> list[Actor]:
    """Return the n actors of a crowd who look least like the known ones at first glance; stops looking at `ends`."""
    if len(crowd) <= n:
        return crowd
    glances = []
    for actor in crowd:
        shot = Shot(Scene("single", (actor,), seed=3), (200, 220))
        picture = np.ascontiguousarray(shot.render([FaceState(jaw=0.2)], 0)[..., ::-1])
        found = looker.find(picture, upsample=1)
        if len(found) == 1:
            encoding = looker.encode(picture, found[0][0])[None]
            nearest = min(float(distances(encoding, o.encodings).min()) for o in known)
            glances.append((nearest, len(glances), actor))
        if time.monotonic() > ends:
            break
    log.info("%d looked at, farthest %s", len(glances), [round(g[0], 2) for g in sorted(glances)[-n:]])
    return [actor for _, _, actor in sorted(glances)[::-1][:n]]


def measure(actors: list[Actor]) -> list[str]:
    """Return lines of a report: detector score, mouth correlation, distances within and between actors."""
    looker = Looker()
    seen = {actor.name: look_at(actor, looker) for actor in actors}
    lines = []
    for name, mine in seen.items():
        if mine is None:
            lines.append(f"{name}: not found in every pose")
            continue
        near = {n: float(distances(mine.encodings, o.encodings).min()) for n, o in seen.items() if o and n != name}
        own = distances(mine.encodings, mine.encodings).max()
        words = " ".join(f"{n} {d:.2f}" for n, d in near.items())
        mouth = f"mouth off {mine.mouth_off:.2f} r {mine.mouth_r:.2f}"
        lines.append(f"{name}: score {mine.lowest_score:.2f} {mouth} own {own:.2f} others {words}")
    return lines


def main(arguments: list[str] | None = None) -> None:
    """Run the tool."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=("measure", "add", "improve"))
    parser.add_argument("--name")
    parser.add_argument("--voice", default="nl+f4")
    parser.add_argument("--hair", help="start from people with this hair only")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    people = cast()
    if options.task == "measure":
        log.info("\n".join(measure(list(people.values()))))
        return
    others = [actor for name, actor in people.items() if name != options.name]
    start = [people[options.name]] if options.task == "improve" else _beginners(options)
    found = search(start, others, options.seconds, options.seed)
    log.info(json.dumps(asdict(found)))


def _beginners(options) -> list[Actor]:
    """Random actors with the wanted hair, under the new name."""
    crowd = (random_actor(options.seed * 10_000 + k, options.voice[:2]) for k in range(400))
    wanted = [actor for actor in crowd if options.hair in (None, actor.hair)]
    return [replace(actor, name=options.name, voice=replace(actor.voice, name=options.voice)) for actor in wanted]


if __name__ == "__main__":
    main()
