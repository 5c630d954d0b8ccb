"""From phonemes to mouth movement: viseme targets, blended by dominance functions (Cohen and Massaro, 1993)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .voice import Phoneme, is_pause

LEAD_S = 0.03  # the mouth moves before the sound
JAW_GAIN = 1.25
SHORTEST_REST_S = 0.15
OVERSAMPLING = 4
TRACKS = ("jaw", "width", "rounding", "teeth", "tongue", "press")

# jaw 0..1, width -1..1, rounding, teeth, tongue, press 0..1
TARGETS = {
    "sil": (0, 0, 0, 0, 0, 0),
    "a": (0.80, 0.10, 0, 0.25, 0.1, 0),
    "aa": (0.95, 0, 0.05, 0.15, 0.1, 0),
    "e": (0.42, 0.45, 0, 0.45, 0.2, 0),
    "eh": (0.60, 0.3, 0, 0.4, 0.2, 0),
    "i": (0.18, 0.75, 0, 0.60, 0.2, 0),
    "ih": (0.28, 0.4, 0, 0.45, 0.2, 0),
    "o": (0.42, -0.2, 0.75, 0.05, 0, 0),
    "oo": (0.55, -0.1, 0.55, 0.1, 0, 0),
    "u": (0.18, -0.35, 1.0, 0, 0, 0),
    "y": (0.16, -0.3, 0.9, 0.1, 0, 0),
    "oe": (0.35, -0.1, 0.65, 0.15, 0, 0),
    "schwa": (0.32, 0.05, 0.05, 0.30, 0.1, 0),
    "PBM": (0, 0, 0, 0, 0, 0.75),
    "FV": (0.06, 0.1, 0, 0.70, 0, 0.3),
    "TH": (0.18, 0.1, 0, 0.5, 0.8, 0),
    "TDN": (0.16, 0.2, 0, 0.5, 0.4, 0),
    "L": (0.28, 0.15, 0, 0.4, 0.9, 0),
    "SZ": (0.06, 0.40, 0, 0.85, 0, 0),
    "SH": (0.12, -0.2, 0.55, 0.65, 0, 0),
    "KG": (0.25, 0.15, 0, 0.3, 0.1, 0),
    "R": (0.22, -0.1, 0.35, 0.25, 0.2, 0),
    "W": (0.10, -0.3, 0.85, 0, 0, 0),
    "J": (0.16, 0.5, 0, 0.5, 0.2, 0),
}
SYMBOLS = {
    "a": "aæɐ",
    "aa": "ɑɒʌ",
    "e": "e",
    "eh": "ɛɜ",
    "i": "i",
    "ih": "ɪɨ",
    "o": "oʊ",
    "oo": "ɔ",
    "u": "u",
    "y": "yʏ",
    "oe": "øœɵ",
    "schwa": "əɚɝᵻ",
    "PBM": "pbm",
    "FV": "fvʋ",
    "TH": "θð",
    "TDN": "tdnɾ",
    "L": "lɫ",
    "SZ": "sz",
    "SH": "ʃʒ",
    "KG": "kɡgŋxɣχʁ",
    "R": "rɹɻʀ",
    "W": "w",
    "J": "jç",
    "H": "hɦʔ",
}
OF_SYMBOL = {symbol: viseme for viseme, symbols in SYMBOLS.items() for symbol in symbols}
# how strongly a viseme holds against its neighbours, and how far it reaches in seconds
DOMINANCE = {
    "PBM": (6.0, 0.045),
    "FV": (4.0, 0.05),
    "W": (2.5, 0.07),
    "SH": (2.5, 0.06),
    "SZ": (1.6, 0.05),
    "TH": (1.6, 0.05),
    "L": (1.1, 0.05),
    "TDN": (0.9, 0.045),
    "KG": (0.5, 0.05),
    "R": (0.8, 0.06),
    "J": (1.0, 0.05),
    "sil": (1.2, 0.06),
}
VOWEL_DOMINANCE = (1.4, 0.07)


@dataclass(frozen=True)
class Segment:
    """A viseme held from start_s to end_s."""

    start_s: float
    end_s: float
    viseme: str


def segments(phonemes: tuple[Phoneme, ...], offset_s: float = 0.0) -> list[Segment]:
    """Turn phonemes into visemes; a diphthong becomes two, /h/ takes the shape of its neighbours and gives none."""
    out = []
    for p in phonemes:
        visemes = [OF_SYMBOL[c] for c in p.symbol if c in OF_SYMBOL]
        if not visemes and is_pause(p.symbol):
            visemes = ["sil"]
        for k, viseme in enumerate(visemes):
            if viseme in TARGETS:
                step = (p.end_s - p.start_s) / len(visemes)
                start = offset_s + p.start_s + k * step
                out.append(Segment(start, start + step, viseme))
    return out


def with_rests(held: list[Segment], duration_s: float) -> list[Segment]:
    """Return the visemes with a closed mouth wherever nothing is held for SHORTEST_REST_S."""
    ends = [0.0, *(s.end_s for s in held)]
    starts = [*(s.start_s for s in held), duration_s]
    gaps = [(a, b) for a, b in zip(ends, starts, strict=True) if b - a >= SHORTEST_REST_S]
    return sorted([*held, *(Segment(a, b, "sil") for a, b in gaps)], key=lambda s: s.start_s)


def mouth_curves(held: list[Segment], n_frames: int, fps: float = 25.0) -> dict[str, np.ndarray]:
    """Blend visemes (in order of time) into one curve per track of TRACKS, float64 (n_frames,), a value per frame."""
    t = (np.arange(n_frames * OVERSAMPLING) + 0.5) / (fps * OVERSAMPLING)
    total, weights = np.zeros((len(t), len(TRACKS))), np.full(len(t), 0.02)
    for s in with_rests(held, n_frames / fps):
        strength, reach = DOMINANCE.get(s.viseme, VOWEL_DOMINANCE)
        length = s.end_s - s.start_s
        if s.viseme == "sil":
            first, last = s.start_s + 0.02, s.end_s - 0.05
        else:
            first, last = s.start_s - LEAD_S + 0.2 * length, s.start_s - LEAD_S + 0.75 * length
        near = slice(*np.searchsorted(t, (first - 8 * reach, last + 8 * reach)))
        away = np.maximum(np.maximum(first - t[near], t[near] - last), 0)
        weight = strength * np.exp(-((away / reach) ** 1.3))
        total[near] += weight[:, None] * np.array(TARGETS[s.viseme])
        weights[near] += weight
    curves = (total / weights[:, None]).reshape(n_frames, OVERSAMPLING, len(TRACKS)).mean(1)
    curves[:, 0] = np.clip(curves[:, 0] * JAW_GAIN, 0, 1)
    return dict(zip(TRACKS, curves.T, strict=True))
