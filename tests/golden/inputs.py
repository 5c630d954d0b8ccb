"""Inputs of the golden cases: each starts a fresh generator and draws in the order written here."""

import numpy as np

SEED = 1234


def gen_single(batch=2):
    r = np.random.default_rng(SEED)
    mel = r.uniform(-4.0, 4.0, (batch, 1, 80, 16)).astype(np.float32)
    faces = r.random((batch, 6, 96, 96)).astype(np.float32)
    faces[:, :3, 48:, :] = 0.0
    return mel, faces


def gen_seq(batch=2, frames=5):
    r = np.random.default_rng(SEED)
    mel = r.uniform(-4.0, 4.0, (batch, frames, 1, 80, 16)).astype(np.float32)
    faces = r.random((batch, 6, frames, 96, 96)).astype(np.float32)
    faces[:, :3, :, 48:, :] = 0.0
    return mel, faces


def disc_video(batch=2, frames=5):
    return np.random.default_rng(SEED).random((batch, 3, frames, 96, 96)).astype(np.float32)


def color_sync(batch=4):
    r = np.random.default_rng(SEED)
    mel = r.uniform(-4.0, 4.0, (batch, 1, 80, 16)).astype(np.float32)
    return mel, r.random((batch, 15, 48, 96)).astype(np.float32)


def joon_feats(n=60, d=1024, shift=3):
    """lip[t] = a[t]; audio[t] = a[t + shift] + noise: the sound is early by `shift` windows."""
    r = np.random.default_rng(SEED)
    a = r.standard_normal((n + 40, d))
    noise = r.standard_normal((n, d))
    lip, audio = a[20 : 20 + n], a[20 + shift : 20 + shift + n] + 0.5 * noise
    return (0.3 * lip).astype(np.float32), (0.3 * audio).astype(np.float32)


def signal(seconds=3.2, rate=16000):
    """A chirp from 100 to 6000 Hz with a little noise, float32."""
    r = np.random.default_rng(SEED)
    n = int(round(seconds * rate))
    t = np.arange(n) / rate
    phase = 2 * np.pi * (100.0 * t + 0.5 * 5900.0 / seconds * t * t)
    return (0.5 * np.sin(phase) + 0.02 * r.standard_normal(n)).astype(np.float32)
