"""What actors wear: hair in front of and behind the head, glasses, neck and clothes."""

import cv2
import numpy as np
from numpy import clip, exp, hypot, maximum, minimum, sin
from numpy import float32 as f32

from .actor import LONG_HAIR
from .canvas import CENTRE_Y, Canvas, blur, centres, clamp, display, fall, hump, linear, mix, noise, rgb, ridge, rise

VOLUME = {"short": 0.12, "crop": 0.06, "curly": 0.30, "bun": 0.10, "bob": 0.20, "long": 0.19}  # above the skull
SIDE_END = {"short": 0.18, "crop": 0.10, "curly": 0.28, "bun": -0.05}  # y of the sideburns
SUPERSAMPLE = 2
HALF_WIDTH, NECK_TOP = 1.95, 0.68  # head units: nothing of the body lies outside


def put_on_hair(actor, canvas, form, rng, light, coverage):
    """Lay front hair over the light (3, h, w) and coverage (h, w) of a head.

    Returns both, and light and coverage of the hair behind the head.
    """
    (x, y, ax, u), parting = canvas, actor.seed % 2 * 2 - 1
    if actor.hair == "bald":  # a shaven head still shows where the hair was
        stubble = rise(0.05, -0.25, y - (actor.hair_hl + 0.75 * clamp(ax - 0.5)))
        return light * (1 - 0.18 * stubble * coverage), coverage, (light, 0 * coverage)
    down = y - CENTRE_Y
    distance = hypot(x, down)
    thick = VOLUME[actor.hair] * (0.35 + 0.65 * rise(-0.1, 0.8, -down / maximum(distance, 1e-3)))
    thick *= 1 + 0.10 * sin(3 * x * parting + actor.seed)
    if actor.hair == "curly":
        angle = np.arctan2(down, x)
        thick = thick * (1 + 0.10 * sin(angle * 17 + actor.seed) + 0.08 * sin(angle * 29)) + 0.03
    rho = distance / (form.radius + thick)
    ragged = noise(rng, x.shape, [40, 14, 5, 2.5], [0.010] * 4)
    cap, behind = _coverage(actor, canvas, canvas.edge((1 - rho) * form.radius, 3), ragged, parting)
    strands = _strands(actor, canvas, rng, parting)
    body = clip(0.85 + 0.38 * strands, 0.2, 2.2)
    lit = clip(0.62 - 0.30 * x - 0.22 * y, 0.25, 1.15)
    dome = np.sqrt(clamp(1 - clamp(rho) ** 3))
    if actor.hair in LONG_HAIR:
        dome = maximum(dome, 0.45 * (y > 0))
    gleam = hump(hypot((x + 0.25) * 0.9, y + 0.15) - 1.05, 0.16) * (y < -0.3)
    gleam = gleam * (0.5 + 0.5 * clip(strands + 0.4, 0, 1.5))
    colour, cap = linear(actor.hair_col), cap.astype(f32)
    front = (colour * (body * (0.35 + 0.75 * dome) * lit * 1.5) + 0.055 * gleam * colour**0.4).astype(f32)
    back = (colour * (body * 0.40 * lit)).astype(f32), behind.astype(f32)
    light = light * (1 - 0.55 * np.roll(blur(cap, 0.05 * u), int(0.03 * u), 0) * (1 - cap))
    skin = coverage * (1 - cap)
    return (light * skin + front * cap) / maximum(cap + skin, 1e-3), cap + skin, back


def _coverage(actor, canvas, outer, ragged, parting):
    """Return (in front of the head, behind it). outer: coverage of head and hair together."""
    (x, y, ax, _), w, line = canvas, actor.face_w, actor.hair_hl
    long_hair = actor.hair in LONG_HAIR
    if long_hair:  # a fringe parted off the middle and sweeping to both sides, with hair beside the face
        sweep = line - 0.06 + 1.05 * abs(x - 0.18 * parting) ** 1.55 + 0.03 * sin(x * 9)
        top = rise(0.025, -0.025, y - sweep + ragged * 0.6) * (y < 0.9)
        inner = 0.83 * w + 0.02 * sin(y * 6 + actor.seed) + 0.4 * ragged
        sides = rise(-0.02, 0.02, ax - inner) * rise(-0.75, -0.55, y)
    else:  # a hairline over the forehead and sideburns
        side = SIDE_END[actor.hair]
        top = line - actor.forehead * 0.6 + 0.05 * sin(x * 3.0 * parting) + 0.10 * (ax / 0.6) ** 2
        top = rise(0.045, -0.045, y - (top + ragged + 1.275 * clamp(ax / w - 0.58)))
        inner = (0.88 if actor.hair == "bun" else 0.83) * w + 0.10 * rise(-0.2, 0.25, y) + ragged
        end = fall(side - 0.06, side + 0.05, y + ragged * 2)
        sides = rise(-0.045, 0.045, ax - inner) * (y > -0.8) * end
    front = maximum(top, sides)
    if actor.fringe > 0:
        end = line + actor.fringe * 0.50 + 0.04 * sin(x * 4.1 + actor.seed) + 0.10 * x * parting + 0.9 * ragged
        front = maximum(front, rise(0.03, -0.03, y - end) * fall(0.80 * w, 0.9 * w, ax))
    cap = outer * front
    if long_hair:
        end, width = (0.92, 1.11) if actor.hair == "bob" else (1.85, 1.12)  # of what hangs beside and behind the face
        width = width * w + 0.10 * rise(-0.4, 0.9, y) + 0.02 * sin(y * 5) + 0.3 * ragged
        tail = fall(width - 0.02, width + 0.02, ax) * rise(-0.35, -0.25, y)
        tail = tail * fall(end - 0.10, end, y + ragged * 1.2 + 0.25 * (ax - 0.9))
        return maximum(cap, tail * front * rise(0.80 * w, 0.86 * w, ax)), maximum(outer * (y < 0.1), tail)
    behind = outer * fall(side - 0.1, side + 0.1, y)
    if actor.hair == "bun":
        behind = maximum(behind, canvas.edge(0.36 - hypot(x, (y + 1.66) * 1.15), 3))
    return cap, behind


def _strands(actor, canvas, rng, parting):
    """Noise along the hair, about -1..1."""
    shape, dx, dy = canvas.x.shape, canvas.x - 0.18 * parting, canvas.y + 1.65
    if actor.hair == "curly":
        return sin(4.0 * noise(rng, shape, [16, 8, 4], [0.5, 0.4, 0.25]))
    fine = cv2.GaussianBlur(rng.standard_normal((64, 1024)).astype(f32), (0, 0), 0.6)
    coarse = cv2.resize(rng.standard_normal((16, 128)).astype(f32), (1024, 64), interpolation=cv2.INTER_CUBIC)
    turn = np.arctan2(dy, dx) / (2 * np.pi) + 0.5 + noise(rng, shape, [120, 40], [0.004, 0.0012])
    pattern, distance = np.hstack([fine + coarse] * 2), clip(hypot(dx, dy) * 14, 0, 63)
    along = cv2.remap(pattern, turn % 1.0 * 1023, distance, cv2.INTER_LINEAR)
    return 0.6 * along + 0.35 * noise(rng, shape, [2.0, 4.0], [0.3, 0.3])


def put_on_glasses(actor, canvas):
    """Return the frame, float32 display RGBA (h, w, 4), and its shadow (h, w)."""
    (x, y, ax, u), gx = canvas, actor.eye_dx + 0.01
    y = y - 0.03
    rim = (abs((ax - gx) / 0.295) ** 3.2 + abs(y / 0.215) ** 3.2) ** (1 / 3.2)
    bridge = canvas.edge(0.022 - abs(y + 0.07 + 0.05 * (1 - (x / 0.13) ** 2))) * (ax < gx - 0.27)
    arm = canvas.edge(0.022 - abs(y + 0.09)) * (ax > gx + 0.28) * (ax < 0.985 * actor.face_w + 0.02)
    frame = np.max([canvas.edge(0.030 * actor.glasses - abs(rim - 1) * 0.24), bridge, arm], 0)
    frame = (frame * (actor.glasses > 0)).astype(f32)
    colour = linear(actor.glass_col) * (1.0 + 0.8 * clip(-y / 0.25, -0.5, 1))
    shadow = np.roll(blur(frame, 0.02 * u), (int(0.04 * u), int(0.015 * u)), (0, 1))
    return np.dstack([*display(colour), frame]), shadow


def paint_body(actor, px_per_unit, size, cx, cy):
    """Return (RGBA layer (h, w, 4), 0..1 with straight alpha, x, y of its corner in the picture).

    px_per_unit, cx, cy: of the head, whose eyes' middle is at pixel (cx, cy); size: (width, height) of the picture.
    """
    left, right = (int(clip(cx + side * HALF_WIDTH * px_per_unit, 0, size[0])) for side in (-1, 1))
    top = int(clip(cy + NECK_TOP * px_per_unit, 0, size[1] - 1))
    w, h = right - left, size[1] - top
    columns, rows = (centres(n * SUPERSAMPLE, SUPERSAMPLE, start) for n, start in ((w, left), (h, top)))
    canvas = Canvas.of((columns - cx) / px_per_unit, (rows - cy) / px_per_unit, px_per_unit * SUPERSAMPLE)
    picture = np.zeros((4, *canvas.x.shape), f32)
    neck = _paint_neck(actor, canvas, picture)
    _paint_clothes(actor, canvas, picture, neck, np.random.default_rng(actor.seed + 99))
    picture = cv2.resize(np.dstack(picture), (w, h), interpolation=cv2.INTER_AREA)
    alpha = picture[..., 3:]
    return np.dstack([picture[..., :3] / maximum(alpha, 1e-3), alpha]), left, top


def _put(picture, colour, coverage):
    """Lay display colour over a premultiplied picture (4, h, w), in place."""
    picture[:3], picture[3] = mix(picture[:3], colour, clamp(coverage)), mix(picture[3], 1, clamp(coverage))


def _darken(picture, share):
    """Take a share (h, w) of the light away, in place."""
    picture[:3] *= 1 - share * picture[3]


def _paint_neck(actor, canvas, picture):
    """Paint the neck; return its display colour for the open collar."""
    x, y, ax, _ = canvas
    width = 0.53 * (actor.face_w + actor.jaw_w) / 2 + 0.05 * np.cos((y - 1.6) * 3) + 0.30 * rise(1.85, 2.5, y) ** 2
    across = clip(x / width, -1, 1)
    light = 0.18 + 0.40 * clamp(np.sqrt(1 - across**2) * 0.75 - across * 0.42)
    chin_shadow = 1 - 0.62 * exp(-maximum(y - 1.25 - actor.chin + 0.56 * x**2, 0) / 0.22)
    tendon = 1 - 0.12 * ridge(ax - (0.30 - 0.20 * (y - 1.6)), 0.0354)
    colour = linear(actor.skin) * (light * chin_shadow * tendon) * rgb(1.05, 0.97, 0.93)
    _put(picture, display(colour), canvas.edge(width - ax) * (y > 0.7))
    return display(colour * 0.95)


def _paint_clothes(actor, canvas, picture, neck, rng):
    (x, y, ax, u), edge = canvas, canvas.edge
    y, shoulder = y + 0.16, 2.15 * (0.75 + 0.25 * actor.face_w)
    top = (
        2.02
        + 0.62 * clip((ax - 0.45) / (shoulder - 0.45), 0, 2) ** 1.6
        + 0.75 * maximum(ax - shoulder * 0.86, 0) ** 1.2
    )
    folds, weave = (rng.standard_normal(x.shape).astype(f32) for _ in range(2))
    folds = cv2.GaussianBlur(folds, (0, 0), sigmaX=0.10 * u, sigmaY=0.5 * u)
    folds /= folds.std() + 1e-6
    form = 0.50 - 0.16 * x / shoulder + 0.22 * hump(y - top, 0.5) - 0.25 * rise(0.7, 1.1, ax / shoulder)
    light = clip(form + 0.05 * folds, 0.05, 1.2) * (1 + 0.05 * weave)
    arm = 1.72 + 0.10 * sin((y - 2.2) * 0.9)
    seam = ridge(ax - 1.28 - 0.06 * (y - 2.6), 0.04) * (y > 2.75)
    light *= 1 - 0.55 * rise(0.80, 1.0, ax / arm) - 0.30 * seam
    cloth = linear(actor.shirt)
    _put(picture, display(cloth * (light * 1.5)), edge(minimum(y - top, arm - ax)))
    if actor.collar == "v":  # a jacket's opening with a shirt and a piece of neck in it
        opening = 0.62 * clamp(1 - (y - 1.95) / 1.9)
        inner = linear(actor.inner) * (clamp(0.55 - 0.2 * x + 0.04 * folds) * 1.25)
        _put(picture, display(inner), edge(opening - ax) * (y > 1.9) * edge(y - top, 1.0))
        _put(picture, neck, edge(0.34 * clamp(1 - (y - 1.9) / 0.75) - ax) * (y > 1.6))
        hem = ridge(ax - opening - 0.02, 0.018) * (y > 1.95) * (opening > 0.01)
        reverse = opening + 0.34 * clamp(1 - abs(y - 2.75) / 0.9)
        _darken(picture, 0.45 * hem + 0.30 * (ridge(ax - reverse, 0.012) * (abs(y - 2.75) < 0.85)))
    elif actor.collar == "crew":
        hollow = 1 - (x / 0.60) ** 2 - ((y - 2.0) / 0.42) ** 2
        _put(picture, neck, edge(hollow * 0.2) * (y > 1.75))
        _darken(picture, 0.18 * ridge(hollow, 0.10) * (y > 1.95))  # faint: or landmark finders take it for the chin
    else:  # a shirt's two collar points with buttons
        skin = 0.30 * clamp(1 - (y - 1.9) / 0.55)
        _put(picture, neck, edge(skin - ax) * (y > 1.6))
        flap = minimum(ax - skin - 0.01, 0.56 - ax + 0.25 * (2.1 - y))
        flap = minimum(flap, 2.52 - y - 0.55 * abs(ax - 0.30))
        light = clamp(0.80 - 0.15 * x) * 1.25
        _put(picture, display((cloth * 0.9 + 0.06) * light), edge(flap) * (y > 1.84))
        _darken(picture, 0.45 * ridge(flap, 0.015) * (y > 1.84) * (flap < 0.004))
        button = exp(-((hypot(x, (y - 2.72) % 0.55 - 0.27) / 0.035) ** 6)) * (y > 2.6)
        _darken(picture, 0.25 * (ridge(ax - 0.12, 0.008) * (y > 2.5)) + 0.4 * button)
