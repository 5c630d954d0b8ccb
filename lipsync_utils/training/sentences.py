"""Endless small talk in Dutch and English: what the actors of the pretraining data say."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources

import numpy as np

SHAPES = (
    "say who did what when",
    "who did what where",
    "who did what when where",
    "say who did what end",
    "who did what end",
)


@cache
def _words() -> dict:
    return json.loads(resources.files(__package__).joinpath("words.json").read_text(encoding="utf-8"))


def sentences(rng: np.random.Generator, language: str, n: int) -> list[str]:
    """Make n sentences in "en" or "nl"; about ten million different ones exist in each."""
    words = _words()[language]
    return [_sentence(rng, words) for _ in range(n)]


def _sentence(rng, words):
    parts = [str(rng.choice(words[kind])) for kind in str(rng.choice(SHAPES)).split()]
    text = parts[0]
    for part in parts[1:]:
        text += (". " if part[0].isupper() and text[-1] not in ".,:?" else " ") + part
    return text[0].upper() + text[1:] + ("" if text[-1] in ".?" else ".")
