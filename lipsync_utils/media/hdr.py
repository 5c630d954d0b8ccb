"""High dynamic range to the normal range, as a look-up table that ffmpeg's lut3d filter applies.

Sources: SMPTE ST 2084 (PQ), ARIB STD-B67 / ITU-R BT.2100 (HLG), BT.2087 (BT.2020 to BT.709 primaries). White of the
normal range is 203 cd/m2 (BT.2408).
"""

import atexit
import os
import tempfile
from functools import lru_cache
from pathlib import Path

import numpy as np

WHITE_NITS, PEAK_NITS = 203.0, 1000.0  # peak: of the display that HLG is meant for
KNEE = 0.5  # of white, in light
TO_BT709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])
GRID = 33


def linear_light(signal: np.ndarray, transfer: str) -> np.ndarray:
    """Signal in [0, 1] -> light, 1.0 = white of the normal range. transfer: "pq" or "hlg"."""
    if transfer == "pq":
        m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
        root = signal ** (1 / m2)
        return 10000 * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1) / WHITE_NITS
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    luma = scene @ np.array([0.2627, 0.6780, 0.0593])
    return scene * np.maximum(luma, 1e-9)[..., None] ** 0.2 * PEAK_NITS / WHITE_NITS


def compress(light: np.ndarray) -> np.ndarray:
    """Light up to half of white stays as it is; brighter light bends towards white. Hues stay."""
    brightest = np.maximum(light.max(axis=-1, keepdims=True), 1e-6)
    bent = np.where(brightest <= KNEE, brightest, 1 - (1 - KNEE) * np.exp(-(brightest - KNEE) / (1 - KNEE)))
    return light * bent / brightest


def to_normal_range(rgb: np.ndarray, transfer: str) -> np.ndarray:
    """BT.2020 signal (..., 3) in [0, 1] -> BT.709 signal in [0, 1]."""
    light = np.clip(compress(np.maximum(linear_light(rgb, transfer) @ TO_BT709.T, 0)), 0, 1)
    return np.where(light < 0.018, 4.5 * light, 1.099 * light**0.45 - 0.099)


@lru_cache
def lut_file(transfer: str) -> Path:
    """Path of the table as a .cube file, written once per process to the system's temporary folder."""
    steps = np.linspace(0, 1, GRID)
    blue, green, red = np.meshgrid(steps, steps, steps, indexing="ij")  # red changes fastest in a .cube file
    table = to_normal_range(np.stack([red, green, blue], -1).reshape(-1, 3), transfer)
    handle, name = tempfile.mkstemp(suffix=".cube", prefix=f"{transfer}_")
    lines = [f"LUT_3D_SIZE {GRID}", *("{:.6f} {:.6f} {:.6f}".format(*row) for row in table)]
    with os.fdopen(handle, "w") as stream:
        stream.write("\n".join(lines) + "\n")
    atexit.register(Path(name).unlink, missing_ok=True)
    return Path(name)
