"""A head that does not move: form, skin, light, hair and glasses, painted once into layers; and the body below it."""

from functools import lru_cache, partial
from types import SimpleNamespace

import cv2
import numpy as np
from numpy import arctan2, clip, cos, exp, hypot, maximum, minimum, pi, sin, sqrt, where
from numpy import float32 as f32
from scipy.interpolate import CubicSpline

from .actor import LONG_HAIR
from .canvas import AX, BAKE_PX, X, Y, blur, centres, display, linear, noise, rgb, streaks
from .curves import clamp, cover, fall, hump, mix, ridge, rise

CENTRE_Y = 0.05  # the outline of a head is polar around (0, CENTRE_Y)
FILL = (0.75, -0.10, 0.60)  # where the second light comes from
STEEPEST = 2.2  # slopes are limited to this
VOLUME = {"short": 0.12, "crop": 0.06, "curly": 0.30, "bun": 0.10, "bob": 0.20, "long": 0.19}  # above the skull
SIDE_END = {"short": 0.18, "crop": 0.10, "curly": 0.28, "bun": -0.05}  # y of the sideburns
SUPERSAMPLE = 2
HALF_WIDTH, NECK_TOP = 1.95, 0.68  # head units: nothing of the body lies outside
SHIRT = 235, 235, 235  # under a jacket


def bells(start, *rows):
    """Add 2-D Gaussians (height, |x| and y of the middle, x and y deviation, turn) to `start`, in this order."""
    for height, x, y, sx, sy, *turn in rows:
        x, y = AX - x, Y - y
        for angle in turn:
            c, s = cos(angle), sin(angle)
            x, y = c * x + s * y, c * y - s * x
        start = start + height * exp(-0.5 * ((x / sx) ** 2 + (y / sy) ** 2))
    return start


def edge(inside, softness_px=1.5, u=BAKE_PX):
    """Turn a signed distance in head units (positive inside) into coverage 0..1. u: pixels per head unit."""
    return cover(inside, softness_px * (1.0 / u))


@lru_cache(maxsize=12)
def bake(actor):
    """Paint an actor's head; takes about 0.3 s, remembered.

    Returns layers head, back hair and glasses, each straight display RGBA, float32 (h, w, 4) 0..1; and relief (h, w),
    which drives what turns of the head show.
    """
    rng = np.random.default_rng(actor.seed)
    form = _form(actor, rng)
    albedo, relief, gloss = _paint(actor, form, rng)
    light = _shade(form.height + relief, albedo, gloss, actor.key_light)
    light *= 1 - 0.30 * rise(0.90, 1.0, form.rho)
    face = edge((0.992 - form.rho) * form.radius, 1.6)
    ear_light, ears = _ears(actor)
    light, coverage = mix(ear_light, light, face), maximum(face, ears)
    light, coverage, back = put_on_hair(actor, form, rng, light, coverage)
    glasses, shadow = put_on_glasses(actor)
    light *= 1 - 0.30 * shadow * (coverage > 0)
    relief = blur(mix(where(Y < 0.3, 0.25, 0.1), form.smooth, face), 0.06 * BAKE_PX)
    return _bleed(light, coverage), _bleed(*back), glasses, relief


def outline(actor):
    """Return the head's outline as a function: (x, y) -> radius in that direction."""
    c, top, jaw = actor.chin, actor.forehead, actor.jaw_w
    points = (
        (0, -1.46 - top),
        (0.46, -1.36 - top),
        (0.78, -1.06 - top * 0.7),
        (0.93, -0.6),
        (0.965, -0.2),
        (0.945, 0.15),
        (0.90, 0.45),
        (0.83 * (0.4 + 0.6 * jaw), 0.78),
        (0.69 * jaw, 1.08 + c * 0.5),
        (0.46 * jaw * (0.6 + 0.4 * actor.chin_w), 1.36 + c * 0.8),
        (0.23 * (0.5 + 0.5 * jaw) * actor.chin_w, 1.50 + c),
        (0, 1.535 + c),
    )
    mirrored = np.array(points[-2::-1]) * (-1, 1)
    x, y = (np.r_[points, mirrored] * (actor.face_w, 1) - (0, CENTRE_Y)).T
    spline = CubicSpline(np.unwrap(arctan2(y, x)), hypot(x, y), bc_type="periodic")
    return lambda x, y: spline(arctan2(y - CENTRE_Y, x)).astype(f32)


def _form(actor, rng):
    """The height field of a head and its landmarks, all float32 (h, w).

    radius: distance from the centre to the outline in each pixel's direction; rho: distance to the centre / radius;
    height: relief towards the camera; smooth: without fine detail; lips: their coverage; line, top: y of the closed
    mouth and of the upper lip's edge.
    """
    radius, line, t = outline(actor)(X, Y), actor.lip_line(X), clamp(AX / actor.mouth_w)
    rho = hypot(X, Y - CENTRE_Y) / radius
    bow = 1.0 - 0.22 * actor.bow * hump(X, 0.05) + 0.12 * hump(AX - 0.09, 0.06)
    top = line - actor.lip_up * sqrt(clamp(1 - t**2.2)) * bow * (1 - 0.35 * t)
    bottom = line + actor.lip_lo * clamp(1 - t**2.4) ** 0.8
    z = 0.98 * clip(1 - clamp(rho) ** 2.5, 1e-4, 1) ** 0.52
    z += _upper_face(actor)
    z += _mouth(actor, line, top, bottom)
    z += _folds(actor)
    smooth = blur(z, 0.02 * BAKE_PX)
    z *= 1 + 0.015 * sin(X * 1.3 + actor.seed)  # nobody is a mirror image
    z += noise(rng, z.shape, [26, 3.0], [0.0010, 0.00045])
    lips = blur((AX < actor.mouth_w) & (Y >= top) & (Y <= bottom), 0.008 * BAKE_PX)
    return SimpleNamespace(radius=radius, rho=rho, height=z, smooth=smooth, lips=lips, line=line, top=top)


def _upper_face(actor):
    """Nose, eye sockets and cheeks."""
    tip, w, e, f = actor.nose_tip_y, actor.nose_w, actor.eye_dx, actor.face_w
    t, wing = clamp((Y + 0.12) / (tip + 0.12)), 0.165 * w
    ends = rise(-0.30, -0.02, Y) * fall(tip + 0.02, tip + 0.145, Y)
    nose = bells(
        (0.05 + 0.24 * t**1.35) * actor.nose_h * ridge(AX, (0.085 + 0.045 * t**2) * w) * ends,
        (0.06 * actor.nose_h, 0, tip, 0.10 * w, 0.085),
        (0.17, wing, tip + 0.052, 0.055, 0.058),
        (-0.07, wing + 0.085, tip + 0.04, 0.028, 0.07),
    )
    sockets = bells(0, (-0.15, e - 0.04, -0.05, 0.22, 0.13), (-0.06, 0.17, -0.03, 0.07, 0.10))
    sockets += bells(0, (0.075, e, 0, 0.155, 0.10), (0.065, e + 0.02, actor.brow_y, 0.25, 0.085))
    cheeks = bells(
        0,
        (0.085 * actor.cheek, 0.60 * f, 0.30, 0.20, 0.15, 0.5),
        (-0.05, 0.70 * f, 0.82, 0.16, 0.25),
        (-0.04, 0.88 * f, -0.35, 0.12, 0.25),
    )
    return nose + bells(sockets, (0.03, 0, -0.22, 0.16, 0.10)) + cheeks


def _mouth(actor, line, top, bottom):
    """Muzzle, philtrum and the two lips."""
    my, mw = actor.mouth_y, actor.mouth_w
    z = bells(0, (0.115, 0, my - 0.02, 0.34, 0.22), (-0.022, 0, my - 0.16, 0.03, 0.07))
    z = bells(z, (0.012, 0.05, my - 0.15, 0.022, 0.07))

    def rounded(off, thickness):
        return clamp(sin(pi * clamp(off / maximum(thickness, 1e-3)))) ** 0.8

    full = clamp(1 - (AX / mw) ** 2) ** 0.6 * (AX < mw)
    upper, lower = 0.055 * rounded(line - Y, line - top), 0.085 * rounded(Y - line, bottom - line)
    z += blur(where(Y <= line, upper * (Y >= top), lower * (Y <= bottom)) * full, 0.010 * BAKE_PX)
    z -= 0.05 * ridge(Y - line, 0.013) * fall(mw * 0.9, mw * 1.08, AX)
    return bells(z, (-0.03, mw + 0.03, my + 0.01, 0.04, 0.05))


def _folds(actor):
    """Chin, the dent under the lip, the folds from the nose to the corners of the mouth, and wrinkles."""
    my, age, tip, e = actor.mouth_y, actor.age, actor.nose_tip_y, actor.eye_dx
    z = bells(
        0,
        (0.095, 0, my + 0.67 * (1.53 + actor.chin - my), 0.19 * actor.chin_w, 0.12),
        (-0.055, 0, my + 0.08 + actor.lip_lo, 0.22, 0.055),
    )
    t, end = clamp((Y - tip) / (my + 0.10 - tip)), fall(my - 0.05, my + 0.14, Y)
    off = AX - (0.255 * actor.nose_w + 0.21 * t + 0.05 * sin(t * pi))
    z -= (0.010 + 0.028 * age) * ridge(off, 0.022) * rise(tip - 0.02, tip + 0.08, Y) * end
    z = z + (0.012 + 0.02 * age) * ridge(off - 0.06, 0.06) * rise(tip - 0.05, tip + 0.1, Y) * end
    bag = ridge(Y - 0.165 + 0.25 * (AX - e) ** 2, 0.024) * fall(0.14, 0.22, abs(AX - e))
    wrinkles = -(0.006 + 0.018 * age) * bag
    for k, level in enumerate((-0.48, -0.58, -0.68) if age > 0.3 else ()):
        wave = 0.02 * sin(X * 7 + k * 2 + actor.seed)
        wrinkles = wrinkles - 0.010 * age * ridge(Y - level - wave, 0.009) * fall(0.35, 0.6, AX)
        crow = ridge(Y - (k - 1) * 0.07 * (AX - 0.5) / 0.2, 0.008)
        wrinkles = wrinkles - 0.008 * age * crow * rise(e + 0.22, e + 0.26, AX) * fall(e + 0.30, e + 0.38, AX)
    return z + wrinkles


def _paint(actor, form, rng):
    """Return albedo (3, h, w) linear, relief (h, w) to add to the height, gloss (h, w): strength of the highlight."""
    tip, w, mw, relief = actor.nose_tip_y, actor.nose_w, actor.mouth_w, 0
    albedo, shape = _skin(actor, rng), Y.shape
    if actor.freckles:
        spots = bells(0, (1, 0.38, 0.33, 0.34, 0.20), (0.5, 0, 0.3, 0.2, 0.3), (0.3, 0, -0.5, 0.5, 0.2))
        spots = rise(0.9, 1.9, noise(rng, shape, [4.5], [1.0])) * clamp(spots)
        albedo *= 1 - actor.freckles * spots * rgb(0.25, 0.42, 0.55)
    if actor.beard or actor.moustache or actor.stubble:
        area = _beard(actor, form)
        patches, hairs = noise(rng, shape, [1.6, 3.2], [0.5, 0.35]), 2.0 * streaks(rng, shape, 0.8, 4.5)
        colour = linear(actor.beard_col) * (1 + 0.5 * clip(hairs, -1, 1))
        albedo = mix(albedo, colour, clamp(area * (1 + 0.3 * patches + 0.55 * hairs)))
        relief = 0.02 * area * (1 + 0.5 * hairs)
    varied = 1 + noise(rng, shape, [5, 14], [0.03, 0.05])
    lips = linear(actor.lip_col) * (varied * (1 + 0.10 * (1.6 * streaks(rng, shape, 1.0, 8))))
    albedo = mix(albedo, lips * where(Y < form.line, 0.82, 1.05), form.lips * 0.92)
    line = ridge(Y - form.line, 0.011) * fall(mw * 0.97, mw * 1.08, AX)
    albedo = albedo * (1 - 0.75 * line)
    albedo *= 1 - 0.88 * clamp(bells(0, (1, 0.083 * w, tip + 0.108, 0.044 * w, 0.020, -0.25)) * 1.5)  # nostrils
    brows = _brows(actor, rng)
    albedo = mix(albedo, linear(actor.brow_col), brows)
    gloss = bells(1 + 1.3 * form.lips, (0.8, 0, tip - 0.02, 0.08, 0.10), (0.25, 0, -0.5, 0.4, 0.25))
    gloss *= 1 - 0.9 * brows
    gloss *= 1 - 0.7 * actor.beard * rise(0.7, 0.9, Y) * (1 - form.lips)
    return albedo.astype(f32), relief, 0.085 * gloss


def _skin(actor, rng):
    mottle = noise(rng, X.shape, [60, 22, 9], [0.03, 0.03, 0.02])
    red = bells(0, (0.22, 0.58, 0.45, 0.20, 0.17), (0.22, 0, actor.nose_tip_y, 0.13, 0.12))
    chin = (0.10, 0, actor.mouth_y + 0.36, 0.2, 0.12)
    red = actor.blush * (red + bells(0, chin, (0.08, actor.eye_dx, 0.17, 0.2, 0.08))) + 0.02 * mottle
    albedo = linear(actor.skin) * (1 + mottle) * (1 + rgb(0.25, -0.75, -0.70) * red)
    return albedo * (bells(1, (-0.22, actor.eye_dx, -0.06, 0.21, 0.075)) * rgb(1, 0.96, 0.97))


def _beard(actor, form):
    """Where hair grows and how densely, 0..1."""
    my, tip, inside = actor.mouth_y, actor.nose_tip_y, form.rho < 1.1
    cheek_line = 0.22 + 0.60 * exp(-((AX / 0.62) ** 4))
    mouth = hypot(X / (actor.mouth_w * 1.12), (Y - my - 0.01) / 0.155)
    beard = rise(cheek_line - 0.05, cheek_line + 0.13, Y) * inside * rise(0.95, 1.25, mouth)
    moustache = bells(0, (1.6, 0.16, 0.5 * (my - actor.lip_up + tip + 0.14), 0.17, 0.05))
    moustache = clamp(moustache) * (Y < form.top - 0.004)
    shadow = rise(cheek_line - 0.1, cheek_line + 0.13, Y) * inside * (1 - form.lips)
    shadow *= rise(0.0, 0.06, Y - tip - 0.1)
    grown = clamp(maximum(beard * actor.beard, moustache * actor.moustache))
    return maximum(grown, 0.4 * actor.stubble * shadow)


def _brows(actor, rng):
    """Coverage of the eyebrows: a soft shape of short strokes."""
    along = (AX - actor.eye_dx) / 0.27  # -1 at the inner end, 1 at the outer
    middle = actor.brow_y - actor.brow_arch * (1 - where(along < 0.25, 0.45, 1.0) * (along - 0.25) ** 2) + 0.02
    thick = actor.brow_th * clip(1 - 0.55 * clip(along, -1, 1.2), 0.3, 1.25)
    area = exp(-(abs((Y - middle) / thick) ** 3)) * rise(-1.08, -0.85, along)
    area *= fall(0.75, 1.12, along)
    pattern, across = noise(rng, (256, 1024), [2.2, 5], [0.6, 0.4]), (X + Y * 0.55 * np.sign(X)) * 190 + 512
    strokes = cv2.remap(pattern, across, Y * 60 + 128, cv2.INTER_LINEAR)
    return blur(clamp(area * (0.88 + 0.30 * strokes)), 0.006 * BAKE_PX)


def _ears(actor):
    """Light and coverage of the ears."""
    x, y, c, s = AX - 0.985 * actor.face_w, Y - 0.12, cos(0.18), sin(0.18)
    x, y = c * x + s * y, -s * x + c * y
    rho, inner = hypot(x / 0.135, y / 0.30), hypot((x + 0.02) / 0.07, (y + 0.01) / 0.17)
    lobe = ridge(hypot(x + 0.02, y - 0.24), 0.06)
    height = 0.16 * hump(rho - 0.80, 0.16) + 0.05 * hump(inner - 0.8, 0.2) + 0.1 * lobe
    albedo, height = linear(actor.skin) * rgb(1.02, 0.86, 0.83), blur(height, 0.008 * BAKE_PX)
    return _shade(height, albedo, 0.05, actor.key_light) * 0.85, edge((1 - rho) * 0.14, 1.6)


def _unit(vector):
    return f32(vector) / np.linalg.norm(f32(vector))


def _shade(height, albedo, gloss, key):
    """Light a surface by a key light, a cool fill and the sky, with cast shadows and ambient occlusion.

    height: (h, w) head units; albedo: (3, h, w) linear; gloss: strength of the highlight, number or (h, w).
    Returns (3, h, w) float32 linear light. Red wraps further round the form than blue: cheap subsurface scattering.
    """
    gy, gx = np.gradient(height, f32(1 / BAKE_PX))
    limit = minimum(1, STEEPEST / maximum(hypot(gx, gy), 1e-3))
    gx, gy = gx * limit, gy * limit
    n = 1 / sqrt(1 + gx * gx + gy * gy)
    normal = -gx * n, -gy * n, n

    def facing(direction):
        return sum(n * d for n, d in zip(normal, _unit(direction)))

    def lambert(direction, wrap):
        return clamp((facing(direction) + wrap) / (1 + wrap))

    lit, sky = 1 - 0.75 * _cast_shadow(height, key), clamp(0.5 - 0.5 * normal[1])
    near, far = lambert(key, 0.25) * lit, lambert(key, 0.50) * lit
    light = np.stack([near * 0.4 + far * 0.6, near * 0.75 + far * 0.25, near * 0.9 + far * 0.1])
    light = light * rgb(0.98, 0.94, 0.88) * 0.80
    light += lambert(FILL, 0.3) * 0.22 * rgb(0.85, 0.93, 1.05)
    light += (0.14 + 0.16 * sky) * rgb(0.95, 0.98, 1.05)
    hollow = clamp(blur(height, 0.05 * BAKE_PX) - height) + 0.6 * clamp(blur(height, 0.13 * BAKE_PX) - height)
    free = exp(-5.0 * hollow)
    light *= np.stack([free**0.75, free, free])
    half = clamp(facing(_unit(key) + f32([0, 0, 1])))
    return (albedo * light + (half**22 + 0.6 * half**70) * gloss * free * lit).astype(f32)


def _cast_shadow(height, key):
    """Where something nearer to the light stands in its way, 0..1: the nose on the cheek, the brow on the lid."""
    (x, y, z), hidden = key, 0
    flat, form = float(hypot(x, y)), blur(height, 0.015 * BAKE_PX)
    for step in np.linspace(0.06, 1, 12) * (0.5 * BAKE_PX):
        move = f32([[1, 0, -step * x / flat], [0, 1, -step * y / flat]])
        other = cv2.warpAffine(form, move, form.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
        hidden = maximum(hidden, other - form - step * (1.0 / BAKE_PX) * z / flat)
    return blur(rise(0.0, 0.08, hidden), 0.015 * BAKE_PX)


def _bleed(light, coverage):
    """Return display RGBA; colours spread outwards, so that nothing dark creeps in at edges when it is resampled."""
    colour, sigma = np.dstack(display(light)), 0.05 * BAKE_PX
    weight = where(coverage > 0.97, f32(1), f32(1e-4))
    spread = blur(colour * weight[..., None], sigma) / blur(weight, sigma)[..., None]
    colour = mix(spread, colour, rise(0.85, 0.99, coverage)[..., None])
    return np.dstack([colour, coverage]).astype(f32)


def put_on_hair(actor, form, rng, light, coverage):
    """Lay front hair over the light (3, h, w) and coverage (h, w) of a head.

    Returns both, and light and coverage of the hair behind the head.
    """
    parting = actor.seed % 2 * 2 - 1
    if actor.hair == "bald":  # a shaven head still shows where the hair was
        stubble = rise(0.05, -0.25, Y - (actor.hair_hl + 0.75 * clamp(AX - 0.5)))
        return light * (1 - 0.18 * stubble * coverage), coverage, (light, 0 * coverage)
    down = Y - CENTRE_Y
    distance = hypot(X, down)
    thick = VOLUME[actor.hair] * (0.35 + 0.65 * rise(-0.1, 0.8, -down / maximum(distance, 1e-3)))
    thick *= 1 + 0.10 * sin(3 * X * parting + actor.seed)
    if actor.hair == "curly":
        angle = arctan2(down, X)
        thick = thick * (1 + 0.10 * sin(angle * 17 + actor.seed) + 0.08 * sin(angle * 29)) + 0.03
    rho = distance / (form.radius + thick)
    ragged = noise(rng, X.shape, [40, 14, 5, 2.5], [0.010] * 4)
    cap, behind = _coverage(actor, edge((1 - rho) * form.radius, 3), ragged, parting)
    strands = _strands(actor, rng, parting)
    body = clip(0.85 + 0.38 * strands, 0.2, 2.2)
    lit = clip(0.62 - 0.30 * X - 0.22 * Y, 0.25, 1.15)
    dome = sqrt(clamp(1 - clamp(rho) ** 3))
    if actor.hair in LONG_HAIR:
        dome = maximum(dome, 0.45 * (Y > 0))
    gleam = hump(hypot((X + 0.25) * 0.9, Y + 0.15) - 1.05, 0.16) * (Y < -0.3)
    gleam = gleam * (0.5 + 0.5 * clip(strands + 0.4, 0, 1.5))
    colour, cap = linear(actor.hair_col), cap.astype(f32)
    front = (colour * (body * (0.35 + 0.75 * dome) * lit * 1.5) + 0.055 * gleam * colour**0.4).astype(f32)
    back = (colour * (body * 0.40 * lit)).astype(f32), behind.astype(f32)
    light = light * (1 - 0.55 * np.roll(blur(cap, 0.05 * BAKE_PX), int(0.03 * BAKE_PX), 0) * (1 - cap))
    skin = coverage * (1 - cap)
    return (light * skin + front * cap) / maximum(cap + skin, 1e-3), cap + skin, back


def _coverage(actor, outer, ragged, parting):
    """Return (in front of the head, behind it). outer: coverage of head and hair together."""
    w, line = actor.face_w, actor.hair_hl
    long_hair = actor.hair in LONG_HAIR
    if long_hair:  # a fringe parted off the middle and sweeping to both sides, with hair beside the face
        sweep = line - 0.06 + 1.05 * abs(X - 0.18 * parting) ** 1.55 + 0.03 * sin(X * 9)
        top = rise(0.025, -0.025, Y - sweep + ragged * 0.6) * (Y < 0.9)
        inner = 0.83 * w + 0.02 * sin(Y * 6 + actor.seed) + 0.4 * ragged
        sides = rise(-0.02, 0.02, AX - inner) * rise(-0.75, -0.55, Y)
    else:  # a hairline over the forehead and sideburns
        side = SIDE_END[actor.hair]
        top = line - actor.forehead * 0.6 + 0.05 * sin(X * 3.0 * parting) + 0.10 * (AX / 0.6) ** 2
        top = rise(0.045, -0.045, Y - (top + ragged + 1.275 * clamp(AX / w - 0.58)))
        inner = (0.88 if actor.hair == "bun" else 0.83) * w + 0.10 * rise(-0.2, 0.25, Y) + ragged
        end = fall(side - 0.06, side + 0.05, Y + ragged * 2)
        sides = rise(-0.045, 0.045, AX - inner) * (Y > -0.8) * end
    front = maximum(top, sides)
    if actor.fringe > 0:
        end = line + actor.fringe * 0.50 + 0.04 * sin(X * 4.1 + actor.seed) + 0.10 * X * parting + 0.9 * ragged
        front = maximum(front, rise(0.03, -0.03, Y - end) * fall(0.80 * w, 0.9 * w, AX))
    cap = outer * front
    if long_hair:
        end, width = (0.92, 1.11) if actor.hair == "bob" else (1.85, 1.12)  # of what hangs beside and behind the face
        width = width * w + 0.10 * rise(-0.4, 0.9, Y) + 0.02 * sin(Y * 5) + 0.3 * ragged
        tail = fall(width - 0.02, width + 0.02, AX) * rise(-0.35, -0.25, Y)
        tail = tail * fall(end - 0.10, end, Y + ragged * 1.2 + 0.25 * (AX - 0.9))
        return maximum(cap, tail * front * rise(0.80 * w, 0.86 * w, AX)), maximum(outer * (Y < 0.1), tail)
    behind = outer * fall(side - 0.1, side + 0.1, Y)
    if actor.hair == "bun":
        behind = maximum(behind, edge(0.36 - hypot(X, (Y + 1.66) * 1.15), 3))
    return cap, behind


def _strands(actor, rng, parting):
    """Noise along the hair, about -1..1."""
    shape, dx, dy = X.shape, X - 0.18 * parting, Y + 1.65
    if actor.hair == "curly":
        return sin(4.0 * noise(rng, shape, [16, 8, 4], [0.5, 0.4, 0.25]))
    fine = blur(rng.standard_normal((64, 1024)), 0.6)
    coarse = cv2.resize(rng.standard_normal((16, 128)).astype(f32), (1024, 64), interpolation=cv2.INTER_CUBIC)
    turn = arctan2(dy, dx) / (2 * np.pi) + 0.5 + noise(rng, shape, [120, 40], [0.004, 0.0012])
    pattern, distance = np.hstack([fine + coarse] * 2), clip(hypot(dx, dy) * 14, 0, 63)
    along = cv2.remap(pattern, turn % 1.0 * 1023, distance, cv2.INTER_LINEAR)
    return 0.6 * along + 0.35 * noise(rng, shape, [2.0, 4.0], [0.3, 0.3])


def put_on_glasses(actor):
    """Return the frame, float32 display RGBA (h, w, 4), and its shadow (h, w)."""
    y, gx = Y - 0.03, actor.eye_dx + 0.01
    rim = (abs((AX - gx) / 0.295) ** 3.2 + abs(y / 0.215) ** 3.2) ** (1 / 3.2)
    bridge = edge(0.022 - abs(y + 0.07 + 0.05 * (1 - (X / 0.13) ** 2))) * (AX < gx - 0.27)
    arm = edge(0.022 - abs(y + 0.09)) * (AX > gx + 0.28) * (AX < 0.985 * actor.face_w + 0.02)
    frame = np.max([edge(0.030 * actor.glasses - abs(rim - 1) * 0.24), bridge, arm], 0)
    frame = (frame * (actor.glasses > 0)).astype(f32)
    colour = linear(actor.glass_col) * (1.0 + 0.8 * clip(-y / 0.25, -0.5, 1))
    shadow = np.roll(blur(frame, 0.02 * BAKE_PX), (int(0.04 * BAKE_PX), int(0.015 * BAKE_PX)), (0, 1))
    return np.dstack([*display(colour), frame]), shadow


def paint_body(actor, size, px_per_unit, cx, cy):
    """Return (RGBA layer (h, w, 4), 0..1 with straight alpha, x, y of its corner in the picture).

    px_per_unit, cx, cy: of the head, whose eyes' middle is at pixel (cx, cy); size: (width, height) of the picture.
    """
    left, right = (int(clip(cx + side * HALF_WIDTH * px_per_unit, 0, size[0])) for side in (-1, 1))
    top, u = int(clip(cy + NECK_TOP * px_per_unit, 0, size[1] - 1)), px_per_unit * SUPERSAMPLE
    w, h = right - left, size[1] - top
    columns, rows = (centres(n * SUPERSAMPLE, SUPERSAMPLE, start) for n, start in ((w, left), (h, top)))
    x, y = np.meshgrid((columns - cx) / px_per_unit, (rows - cy) / px_per_unit)
    picture = np.zeros((4, *x.shape), f32)
    width = 0.53 * (actor.face_w + actor.jaw_w) / 2 + 0.05 * cos((y - 1.6) * 3) + 0.30 * rise(1.85, 2.5, y) ** 2
    across = clip(x / width, -1, 1)
    light = 0.18 + 0.40 * clamp(sqrt(1 - across**2) * 0.75 - across * 0.42)
    chin_shadow = 1 - 0.62 * exp(-maximum(y - 1.25 - actor.chin + 0.56 * x**2, 0) / 0.22)
    tendon = 1 - 0.12 * ridge(abs(x) - (0.30 - 0.20 * (y - 1.6)), 0.0354)
    neck = linear(actor.skin) * (light * chin_shadow * tendon) * rgb(1.05, 0.97, 0.93)
    _put(picture, display(neck), edge(width - abs(x), u=u) * (y > 0.7))
    _paint_clothes(actor, x, y, u, picture, display(neck * 0.95))
    picture = cv2.resize(np.dstack(picture), (w, h), interpolation=cv2.INTER_AREA)
    alpha = picture[..., 3:]
    return np.dstack([picture[..., :3] / maximum(alpha, 1e-3), alpha]), left, top


def _put(picture, colour, coverage):
    """Lay display colour over a premultiplied picture (4, h, w), in place."""
    picture[:3], picture[3] = mix(picture[:3], colour, clamp(coverage)), mix(picture[3], 1, clamp(coverage))


def _darken(picture, share):
    """Take a share (h, w) of the light away, in place."""
    picture[:3] *= 1 - share * picture[3]


def _paint_clothes(actor, x, y, u, picture, neck):
    rng, ax, cut = np.random.default_rng(actor.seed + 99), abs(x), partial(edge, u=u)
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
    _put(picture, display(cloth * (light * 1.5)), cut(minimum(y - top, arm - ax)))
    if actor.collar == "v":  # a jacket's opening with a shirt and a piece of neck in it
        opening = 0.62 * clamp(1 - (y - 1.95) / 1.9)
        inner = linear(SHIRT) * (clamp(0.55 - 0.2 * x + 0.04 * folds) * 1.25)
        _put(picture, display(inner), cut(opening - ax) * (y > 1.9) * cut(y - top, 1.0))
        _put(picture, neck, cut(0.34 * clamp(1 - (y - 1.9) / 0.75) - ax) * (y > 1.6))
        hem = ridge(ax - opening - 0.02, 0.018) * (y > 1.95) * (opening > 0.01)
        reverse = opening + 0.34 * clamp(1 - abs(y - 2.75) / 0.9)
        _darken(picture, 0.45 * hem + 0.30 * (ridge(ax - reverse, 0.012) * (abs(y - 2.75) < 0.85)))
    elif actor.collar == "crew":
        hollow = 1 - (x / 0.60) ** 2 - ((y - 2.0) / 0.42) ** 2
        _put(picture, neck, cut(hollow * 0.2) * (y > 1.75))
        _darken(picture, 0.18 * ridge(hollow, 0.10) * (y > 1.95))  # faint: or landmark finders take it for the chin
    else:  # a shirt's two collar points with buttons
        skin = 0.30 * clamp(1 - (y - 1.9) / 0.55)
        _put(picture, neck, cut(skin - ax) * (y > 1.6))
        flap = minimum(ax - skin - 0.01, 0.56 - ax + 0.25 * (2.1 - y))
        flap = minimum(flap, 2.52 - y - 0.55 * abs(ax - 0.30))
        light = clamp(0.80 - 0.15 * x) * 1.25
        _put(picture, display((cloth * 0.9 + 0.06) * light), cut(flap) * (y > 1.84))
        _darken(picture, 0.45 * ridge(flap, 0.015) * (y > 1.84) * (flap < 0.004))
        button = exp(-((hypot(x, (y - 2.72) % 0.55 - 0.27) / 0.035) ** 6)) * (y > 2.6)
        _darken(picture, 0.25 * (ridge(ax - 0.12, 0.008) * (y > 2.5)) + 0.4 * button)
