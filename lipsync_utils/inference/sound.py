"""The sound of the result: every speech, and the video's own sound underneath where wanted, at the quality given."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ..media import ffmpeg, probe
from ..media.tools import ONLY_FILES, file_url

AAC_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)


@dataclass(frozen=True)
class Voice:
    """A sound in the mix. gain_db: how much louder; from_s: silent before this time (its clock keeps running)."""

    path: Path
    gain_db: float = 0.0
    from_s: float = 0.0


@dataclass(frozen=True)
class Mix:
    """A finished mix: samples (n, channels) float32 in [-1, 1], read from a temporary file as needed."""

    samples: np.ndarray
    rate_hz: int
    bit_rate: int


@contextmanager
def mixed(voices: list[Voice], duration_s: float, folder: Path):
    """Mix sounds into one of exactly this length; yields a Mix whose samples live in a temporary file in `folder`.

    Rate and channels are the best of what was given (48 kHz stereo at most). Several voices are added at their own
    loudness, peaks are limited softly; one voice stays as it is.
    """
    infos = [probe(v.path) for v in voices]
    given_hz = max(i.audio_hz or 16000 for i in infos)
    rate_hz = next((r for r in AAC_RATES_HZ if r >= given_hz), AAC_RATES_HZ[-1])
    channels = min(2, max(i.audio_channels or 1 for i in infos))
    steps = []
    for number, voice in enumerate(voices):
        muted = f",volume=0:enable='lt(t,{voice.from_s:.6f})'" if voice.from_s > 0 else ""
        gain = f",volume={voice.gain_db}dB" if voice.gain_db else ""
        layout = "stereo" if channels == 2 else "mono"
        steps.append(
            f"[{number}:a:0]aresample={rate_hz}:async=1:first_pts=0,aformat=sample_fmts=fltp:channel_layouts="
            f"{layout}{gain}{muted}[v{number}]"
        )
    if len(voices) > 1:
        names = "".join(f"[v{n}]" for n in range(len(voices)))
        steps.append(
            f"{names}amix=inputs={len(voices)}:duration=longest:normalize=0,"
            "alimiter=limit=0.97:level=false:attack=2:release=50[all]"
        )
    last = "all" if len(voices) > 1 else "v0"
    steps.append(f"[{last}]apad,atrim=end={duration_s:.6f}[out]")
    with TemporaryDirectory(prefix=".part-sound-", dir=folder) as place:
        raw = Path(place) / "mix.f32"
        inputs = [a for v in voices for a in ("-protocol_whitelist", ONLY_FILES, "-i", file_url(v.path))]
        ffmpeg(
            ["-v", "error", *inputs, "-filter_complex", ";".join(steps), "-map", "[out]", "-f", "f32le", file_url(raw)]
        )
        samples = np.memmap(raw, np.float32, "r").reshape(-1, channels)
        yield Mix(samples, rate_hz, (96_000 if rate_hz >= 32000 else 64_000) * channels)
        del samples
