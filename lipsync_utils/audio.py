"""Sound in, mel spectrogram out: the numbers that the published Wav2Lip weights were trained on.

The mel pipeline is own code on numpy and scipy. It pads by reflection, because that is what the published weights
saw; newer librosa pads with zeros, which changes the two columns at each end by up to 1.3 of the +-4 range.

Source of the mel scale: Slaney, Auditory Toolbox (1998). Source of the windows: Prajwal et al., "A Lip Sync Expert
Is All You Need" (2020), and measurements of its published code.
"""

import tempfile
from functools import lru_cache
from itertools import count, takewhile
from pathlib import Path

import numpy as np
from scipy import fft
from scipy.io import wavfile

from .errors import MediaError, SettingError
from .media.tools import ONLY_FILES, check_file, ffmpeg, file_url
from .project import atomic_file

SAMPLE_RATE_HZ = 16_000
FFT_SIZE = 800  # samples, also the length of the Hann window: 50 ms
HOP = 200  # samples: 12.5 ms
N_MELS = 80
COLUMNS_PER_S = SAMPLE_RATE_HZ / HOP  # 80
MEL_STEP = 16  # columns that the networks see at once: 200 ms, five frames at 25 fps
FRAME_RATE = 25.0
FRAMES_PER_WINDOW = 5
LOWEST_HZ, HIGHEST_HZ = 55.0, 7600.0
PREEMPHASIS = 0.97
REFERENCE_DB, MIN_DB = 20.0, -100.0
MEL_LIMIT = 4.0  # digital silence is -4, full scale +4

#: Where the generator's mel window of a frame starts, in frames before (-) or after that frame.
ALIGNMENTS = {"reference": -1, "centred": -2, "inference": 0}


def load_wav(path) -> np.ndarray:
    """Read the sound of any audio or video file: ffmpeg decodes, mixes down and resamples, on the picture's clock.

    Returns float32 (n,), 16 kHz mono, in [-1, 1]; several channels are averaged, and sound that begins after the
    picture is silent until then; 16 kHz PCM comes exactly as it is.  Raises MediaError for a missing file, no sound,
    or samples that are not numbers.
    """
    path = check_file(path)
    resample = f"aresample={SAMPLE_RATE_HZ}:async=1:first_pts=0:rematrix_maxval=1.0"  # 1.0: average, not 3 dB more
    with tempfile.TemporaryDirectory() as folder:
        raw, mono = Path(folder, "sound"), ["-map", "0:a:0", "-ac", "1", "-af", resample, "-f", "f32le"]
        try:
            ffmpeg(["-v", "error", "-protocol_whitelist", ONLY_FILES, "-i", file_url(path), *mono, file_url(raw)])
        except MediaError as error:
            if "matches no streams" not in str(error):
                words = f"cannot read the sound of {path.name}: export it again as wav or mp3. ffmpeg says: "
                raise MediaError(words + str(error).partition("\n")[2][-400:]) from error
        if not raw.exists() or not (wav := np.fromfile(raw, np.float32)).size:
            raise MediaError(f"{path.name} has no sound. Give a file with speech in it.")
    if not np.isfinite(wav.sum(dtype=np.float64)):
        raise MediaError(f"{path.name}: the sound holds values that are not numbers. Export the file again.")
    return np.clip(wav, -1.0, 1.0, out=wav)


def save_wav(path: Path, wav: np.ndarray) -> Path:
    """Write sound, float (n,) in [-1, 1], as 16 kHz mono 16-bit WAV, atomically; returns the path."""
    with atomic_file(path) as temporary:
        wavfile.write(temporary, SAMPLE_RATE_HZ, np.clip(np.rint(wav * 32768), -32768, 32767).astype(np.int16))
    return Path(path)


@lru_cache(maxsize=1)
def mel_basis() -> np.ndarray:
    """Weights of the mel bands: float32 (80, 401), triangles on the Slaney scale with unit area.

    Linear below 1000 Hz (66.7 Hz a mel), logarithmic above (27 steps to a factor 6.4).
    """
    step_hz, knee_hz, log_step = 200.0 / 3, 1000.0, np.log(6.4) / 27
    knee = knee_hz / step_hz  # the lowest frequency lies below it, the highest above
    mels = np.linspace(LOWEST_HZ / step_hz, knee + np.log(HIGHEST_HZ / knee_hz) / log_step, N_MELS + 2)
    edges_hz = np.where(mels < knee, mels * step_hz, knee_hz * np.exp(log_step * (mels - knee)))
    bins_hz = np.linspace(0, SAMPLE_RATE_HZ / 2, 1 + FFT_SIZE // 2)
    left, centre, right = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    rising, falling = (bins_hz - left) / (centre - left), (right - bins_hz) / (right - centre)
    triangles = np.maximum(0, np.minimum(rising, falling)) * (2 / (right - left))
    triangles = triangles.astype(np.float32)
    triangles.setflags(write=False)
    return triangles


def melspectrogram(wav) -> np.ndarray:
    """Turn sound into the picture of it that the networks hear.

    wav: floating (n,), 16 kHz, in [-1, 1]; any length, an empty one counts as one silent sample.
    Returns float32 (80, 1 + n // 200) in [-4, 4], 80 columns a second; digital silence is exactly -4.
    Raises SettingError for integer samples, several channels, or values that are not numbers.
    """
    wav = np.asarray(wav)
    if wav.ndim != 1 or wav.dtype.kind != "f":
        raise SettingError(f"melspectrogram wants float samples of shape (n,), got {wav.dtype} {wav.shape}: load_wav")
    if not np.isfinite(wav.sum(dtype=np.float64)):
        raise SettingError("melspectrogram got samples that are not numbers (NaN or infinite)")
    wav = wav if len(wav) else np.zeros(1)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FFT_SIZE) / FFT_SIZE)  # periodic
    basis = mel_basis().astype(np.float64)
    mel = np.empty((N_MELS, 1 + len(wav) // HOP), np.float32)
    for start in range(0, mel.shape[1], 1024):
        stop = min(start + 1024, mel.shape[1])
        sound = _emphasised(wav, start * HOP - FFT_SIZE // 2, (stop - 1) * HOP + FFT_SIZE // 2)
        windows = np.lib.stride_tricks.sliding_window_view(sound, FFT_SIZE)[::HOP]
        mel[:, start:stop] = _normalised_db(basis @ np.abs(fft.rfft(windows * hann, axis=1)).T)
    return mel


def _emphasised(wav, first, last):
    """Samples first .. last - 1 with the highs raised (y[n] = x[n] - 0.97 x[n-1]), mirrored beyond both ends."""
    period = max(1, 2 * (len(wav) - 1))
    index = np.arange(first, last) % period
    index = np.where(index < len(wav), index, period - index)
    before = np.where(index > 0, wav[index - 1], 0)
    return wav[index].astype(np.float64) - PREEMPHASIS * before.astype(np.float64)


def _normalised_db(magnitude):
    """Amplitude -> dB below the reference -> [-4, 4]."""
    db = 20 * np.log10(np.maximum(10 ** (MIN_DB / 20), magnitude)) - REFERENCE_DB
    return np.clip(2 * MEL_LIMIT * (db - MIN_DB) / -MIN_DB - MEL_LIMIT, -MEL_LIMIT, MEL_LIMIT)


def mel_window_starts(n_columns: int, fps: float) -> list[int]:
    """Give the first mel column of every output frame, as the published inference does.

    Frame i starts at int(i * 80 / fps); the first one that does not fit gets the last 16 columns and ends the list,
    so the list is one longer than what fits.  Raises SettingError (a ValueError) under 16 columns or for fps <= 0.
    """
    if not (np.isfinite(fps) and fps > 0):
        raise SettingError(f"fps must be a positive number, got {fps}")
    if n_columns < MEL_STEP:
        raise SettingError(f"{n_columns} mel columns are fewer than {MEL_STEP} (0.2 s): pad the sound with silence")
    starts = (int(frame * (COLUMNS_PER_S / fps)) for frame in count())
    return [*takewhile(lambda start: start + MEL_STEP <= n_columns, starts), n_columns - MEL_STEP]


def sync_window_start(frame: int, fps: float = FRAME_RATE) -> int:
    """Give the first mel column heard from the start of this frame on: the expert's window for frames f .. f+4."""
    return int(COLUMNS_PER_S * (frame / fps))


def frame_window_start(frame: int, alignment: str = "reference", fps: float = FRAME_RATE) -> int:
    """Give the first mel column of the generator's window for one frame; negative where the window does not exist.

    alignment: "reference" begins one frame early (what the published training code did, its weights expect it in
    training), "centred" puts the frame in the middle (two frames early), "inference" begins at the frame.
    """
    if alignment not in ALIGNMENTS:
        raise SettingError(f"no mel alignment called {alignment!r}: choose one of {sorted(ALIGNMENTS)}")
    shifted = frame + ALIGNMENTS[alignment]
    return sync_window_start(shifted, fps) if shifted >= 0 else -sync_window_start(-shifted, fps)


def training_window_starts(frame: int, n_columns: int, alignment: str = "reference") -> tuple[int, list[int]] | None:
    """Give the mel windows of the training item that begins at a frame, or None where one of them is incomplete.

    Returns (start of the expert's window, five starts of the generator's windows), in columns at 25 fps.
    """
    starts = [frame_window_start(frame + i, alignment) for i in range(FRAMES_PER_WINDOW)]
    sync = sync_window_start(frame)
    if min(sync, *starts) < 0 or max(sync, *starts) + MEL_STEP > n_columns:
        return None
    return sync, starts


def mel_window(mel, start: int) -> np.ndarray:
    """Cut 16 columns; what lies outside the sound is silence (-4).

    mel: (80, n).  start: first column, may be negative or past the end.  Returns (80, 16) of the same dtype.
    """
    window = mel[:, max(start, 0) : max(start + MEL_STEP, 0)]
    early = min(max(-start, 0), MEL_STEP)
    late = MEL_STEP - early - window.shape[1]
    return np.pad(window, ((0, 0), (early, late)), constant_values=-MEL_LIMIT)
