"""Augmentation of pretraining batches: other boxes, cameras, light and microphones than the renderer's.

All frames of a window and its reference get one camera, light and microphone, as in a video; noise and the box's
jitter differ from frame to frame.
"""

import cv2
import numpy as np
import torch

from ..windows import FACE_PX

MARGIN_PX = 16  # what stored crops show around the box of stage 04, so that the box can be moved and turned
POWER = 12.5 / 10 * np.log(10)  # a mel value is 12.5 dB: exp(POWER * mel) is its power
NOISE = np.random.default_rng(7).normal(128, 32, 1 << 22).clip(0, 255).astype(np.uint8)


def centre(faces: np.ndarray) -> np.ndarray:
    """The box of stage 04 inside crops with a margin: (n, 128, 128, 3) -> (n, 96, 96, 3)."""
    return faces[:, MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]


def augment(items: dict, rng: np.random.Generator, names: tuple[str, ...] = ("faces", "wrong")) -> dict:
    """Augment a batch of windows.Windows whose faces have a margin.

    names: the stacks of faces that are used, uint8 (B, 3, T, 128, 128); they become (B, 3, T, 96, 96), others are left
    out. mels (B, T, 1, 80, 16) and sync_mel (B, 1, 80, 16) of an item go through one microphone.
    """
    stacks = np.stack([items[name].permute(0, 2, 3, 4, 1).numpy() for name in names], 1)
    faces = torch.from_numpy(augment_faces(stacks, rng).transpose(1, 0, 5, 2, 3, 4).copy())
    mels = augment_mels([items["mels"][:, :, 0], items["sync_mel"]], rng)
    new = {"mels": mels[0][:, :, None], "sync_mel": mels[1], **dict(zip(names, faces))}
    return {k: v for k, v in items.items() if k not in ("faces", "wrong")} | new


def augment_faces(stacks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Show each item by another camera: uint8 (B, stacks, T, 128, 128, 3) to (B, stacks, T, 96, 96, 3)."""
    return np.stack([_camera(_boxes(item, rng), rng) for item in stacks])


def _boxes(stacks, rng):
    """Turn, scale and shift the box, mirror; uint8 (len(stacks), T, 96, 96, 3)."""
    angle, size = np.deg2rad(rng.normal(0, 5)), np.exp(rng.normal(0, 0.05, 2))
    mirror, shift = rng.choice((-1, 1)), rng.normal(0, 3.0, 2)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * (size * (mirror, 1))
    jitter, out = rng.uniform(0, 0.6), []
    for k, stack in enumerate(stacks):
        own = turn * (1 + rng.normal(0, 0.02) * (k > 0))
        off = shift + rng.normal(0, 1.5, 2) * (k > 0)
        for picture in stack:
            middle = np.array(picture.shape[1::-1]) / 2 - 0.5 + off + rng.normal(0, jitter, 2)
            matrix = np.column_stack([own, middle - own @ np.full(2, (FACE_PX - 1) / 2)])
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            out.append(cv2.warpAffine(picture, matrix, (FACE_PX,) * 2, flags=flags, borderMode=cv2.BORDER_REPLICATE))
    return np.stack(out).reshape(len(stacks), -1, FACE_PX, FACE_PX, 3)


def _camera(faces, rng):
    """Light, texture, colours, tone, sharpness and noise; faces: uint8 (..., 96, 96, 3)."""
    tall, n = faces.reshape(-1, FACE_PX, 3), faces.size // (FACE_PX * FACE_PX * 3)
    if rng.random() < 0.5:
        tall = cv2.multiply(tall, np.tile(_light(rng), (n, 1, 1)), scale=1 / 128)
    if rng.random() < 0.8:
        tall = cv2.transform(tall, _colours(rng))
    tall = cv2.LUT(tall, _tone(rng))
    if rng.random() < 0.2:
        tall = _soften(tall, rng)
    if rng.random() < 0.4:
        strength = abs(rng.normal(0, 4.5)) / 32
        start = rng.integers(len(NOISE) - tall.size)
        tall = cv2.addWeighted(tall, 1, NOISE[start : start + tall.size].reshape(tall.shape), strength, -128 * strength)
    return tall.reshape(faces.shape)


def _light(rng):
    """A lamp from one side, clouds and the grain of a skin: uint8 (96, 96, 3); 128 changes nothing."""
    y, x = np.mgrid[-1 : 1 : FACE_PX * 1j, -1 : 1 : FACE_PX * 1j].astype(np.float32)
    angle, strength = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.25)
    field = 1 + strength * np.tanh((np.cos(angle) * x + np.sin(angle) * y) * rng.uniform(1, 3))
    field = field + cv2.resize(
        rng.normal(0, 0.08, (4, 4)).astype(np.float32), (FACE_PX,) * 2, interpolation=cv2.INTER_CUBIC
    )
    if rng.random() < 0.5:
        grain = rng.normal(0, rng.uniform(0.01, 0.07), (FACE_PX // 2,) * 2).astype(np.float32)
        field = field + cv2.resize(grain, (FACE_PX,) * 2)
    tint = 1 + rng.normal(0, 0.03, 3) * strength
    return np.clip(field[..., None] * (128 * tint), 0, 255).astype(np.uint8)


def _colours(rng):
    """White balance, saturation and a little mixing: float32 (3, 3) for BGR columns."""
    grey = np.array([[0.114, 0.587, 0.299]] * 3)
    saturation = 0.0 if rng.random() < 0.05 else rng.uniform(0.3, 1.4)
    balance = np.diag(np.exp(rng.normal(0, 0.12) * np.array([1, 0, -1]) + rng.normal(0, 0.05, 3)))
    return (balance @ (saturation * np.eye(3) + (1 - saturation) * grey + rng.normal(0, 0.02, (3, 3)))).astype(
        np.float32
    )


def _tone(rng):
    """Gamma, contrast and brightness as a table of 256 values."""
    values = np.linspace(0, 1, 256) ** np.exp(rng.normal(0, 0.2))
    values = (values - 0.5) * rng.uniform(0.65, 1.25) + 0.5 + rng.normal(0, 0.08)
    return np.clip(values * 255, 0, 255).astype(np.uint8)


def _soften(tall, rng):
    """A small picture enlarged, a lens out of focus, or motion."""
    kind = rng.integers(3)
    if kind == 0:
        small = cv2.resize(tall, None, fx=(factor := rng.uniform(0.4, 0.9)), fy=factor, interpolation=cv2.INTER_AREA)
        return cv2.resize(small, tall.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    if kind == 1:
        return cv2.GaussianBlur(tall, (5, 5), rng.uniform(0.4, 1.2))
    length = int(rng.integers(2, 6))
    return cv2.blur(tall, (length, 1) if rng.random() < 0.5 else (1, length))


def augment_mels(stacks: list[torch.Tensor], rng: np.random.Generator) -> list[torch.Tensor]:
    """Another voice, room and microphone for each item: mel bands moved, an equaliser, loudness, noise.

    stacks: float32 (B, n, 80, 16) each; the items of all stacks belong together. Returns the same shapes.
    """
    size, bands = len(stacks[0]), np.arange(80)
    source = (bands * np.exp(rng.normal(0, 0.05, (size, 1))) + rng.normal(0, 1, (size, 1))).clip(0, 78.999)
    waves = sum(rng.normal(0, 0.35 / k, (size, 1)) * np.cos(k * np.pi * bands / 79) for k in (1, 2, 3, 4))
    equaliser = rng.normal(0, 0.4, (size, 1)) + waves
    floor = rng.uniform(-5.5, -2.2, (size, 1)) + rng.normal(0, 0.4, (size, 1)) * np.cos(np.pi * bands / 79)
    source, equaliser, floor = (torch.from_numpy(v)[:, None, :, None].float() for v in (source, equaliser, floor))
    low, out = source.long(), []
    for mel in stacks:
        heard = torch.lerp(mel.take_along_dim(low, 2), mel.take_along_dim(low + 1, 2), source - low) + equaliser
        noise = floor + 0.3 * torch.from_numpy(rng.standard_normal(mel.shape, np.float32))
        out.append(torch.logaddexp(POWER * heard, POWER * noise).div(POWER).clamp(-4, 4))
    return out
