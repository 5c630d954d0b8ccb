"""Loading sound, the mel spectrogram and the windows that are cut from it."""

import math
import subprocess
import time
import wave

import imageio_ffmpeg
import numpy as np
import pytest
from golden import inputs
from scipy.io import wavfile

from lipsync_utils import audio
from lipsync_utils.errors import MediaError, SettingError


def ffmpeg(*args):
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-y", *map(str, args)], check=True)


def tone(seconds=1.0, rate=16000, hz=440.0):
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)


def slow_mel(wav):
    """The pipeline written out from its description, one column and one band at a time."""
    y = wav.astype(np.float64)
    y = np.concatenate([y[:1], y[1:] - 0.97 * y[:-1]])
    y = np.pad(y, 400, mode="reflect")
    hann = np.array([0.5 - 0.5 * math.cos(2 * math.pi * i / 800) for i in range(800)])

    def mel(hz):
        return hz * 3 / 200 if hz < 1000 else 15 + 27 * math.log(hz / 1000) / math.log(6.4)

    def hz(mel):
        return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)

    edges = [hz(mel(55) + (mel(7600) - mel(55)) * i / 81) for i in range(82)]
    columns = []
    for start in range(0, len(y) - 799, 200):
        magnitude = np.abs(np.fft.fft(y[start : start + 800] * hann))[:401]
        column = []
        for low, mid, high in zip(edges, edges[1:], edges[2:]):
            f = np.arange(401) * 20.0
            triangle = np.clip(np.minimum((f - low) / (mid - low), (high - f) / (high - mid)), 0, None)
            total = magnitude @ (triangle * 2 / (high - low))
            db = 20 * math.log10(max(1e-5, total)) - 20
            column.append(min(4.0, max(-4.0, 8 * (db + 100) / 100 - 4)))
        columns.append(column)
    return np.array(columns).T


def test_mel_is_the_described_pipeline():
    signal = inputs.signal()
    mel = audio.melspectrogram(signal)
    assert mel.dtype == np.float32
    np.testing.assert_allclose(mel, slow_mel(signal), atol=1e-6)


@pytest.mark.parametrize(
    ("n", "columns"),
    [
        (800, 5),
        (801, 5),
        (3199, 16),
        (3200, 17),
        (16000, 81),
        (16199, 81),
        (16200, 82),
        (51200, 257),
    ],
)
def test_column_counts_of_the_reference(n, columns):
    assert audio.melspectrogram(np.zeros(n, np.float32)).shape == (80, columns)


@pytest.mark.parametrize("n", [0, 1, 2, 5, 199, 400, 401, 799])
def test_short_sound_does_not_crash(n):
    mel = audio.melspectrogram(np.full(n, 0.1, np.float32))
    assert mel.shape == (80, 1 + n // 200)
    assert np.isfinite(mel).all()


def test_digital_silence_is_exactly_minus_four():
    assert (audio.melspectrogram(np.zeros(16000, np.float32)) == -4).all()


def test_long_sound_is_cut_at_no_seam():
    noise = np.random.default_rng(0).uniform(-1, 1, 1024 * 200 * 2 + 777).astype(np.float32)
    mel = audio.melspectrogram(noise)
    middle = audio.melspectrogram(noise[1000 * 200 : 1060 * 200])
    np.testing.assert_array_equal(mel[:, 1005:1055], middle[:, 5:55])


def test_ten_seconds_take_a_hundredth_of_their_time():
    sound = inputs.signal(10.0)
    audio.melspectrogram(sound)
    times = []
    for _ in range(5):
        start = time.process_time()
        audio.melspectrogram(sound)
        times.append(time.process_time() - start)
    assert min(times) < 0.05, "of the processor, not of the clock: other programs may run"


@pytest.mark.parametrize("wav", [np.zeros(100, np.int16), np.zeros((100, 2)), np.array([0.0, np.nan])])
def test_mel_refuses_what_is_no_sound(wav):
    with pytest.raises(SettingError):
        audio.melspectrogram(wav)


def by_hand(n, fps):
    starts, i = [], 0
    while int(i * 80.0 / fps) + 16 <= n:
        starts.append(int(i * 80.0 / fps))
        i += 1
    return [*starts, n - 16]


@pytest.mark.parametrize("fps", [10, 12.5, 15, 23.976, 24, 25, 29.97, 30, 60])
@pytest.mark.parametrize("n", [16, 17, 81, 257, 1000])
def test_inference_windows_end_with_the_last_sixteen_columns(n, fps):
    assert audio.mel_window_starts(n, fps) == by_hand(n, fps)


def test_inference_windows_of_the_facts():
    assert audio.mel_window_starts(16, 25) == [0, 0]
    assert len(audio.mel_window_starts(81, 25)) == 22
    assert audio.mel_window_starts(81, 25)[:6] == [0, 3, 6, 9, 12, 16]


@pytest.mark.parametrize(("n", "fps"), [(15, 25), (0, 25), (100, 0), (100, -1), (100, float("nan"))])
def test_impossible_windows_are_a_value_error(n, fps):
    with pytest.raises(ValueError):
        audio.mel_window_starts(n, fps)


def test_training_windows_of_each_alignment():
    assert audio.training_window_starts(10, 1000, "reference") == (32, [28, 32, 35, 38, 41])
    assert audio.training_window_starts(10, 1000, "centred") == (32, [25, 28, 32, 35, 38])
    assert audio.training_window_starts(10, 1000, "inference") == (32, [32, 35, 38, 41, 44])


def test_incomplete_training_windows_are_left_out():
    assert audio.training_window_starts(0, 1000, "reference") is None
    assert audio.training_window_starts(1, 1000, "reference") == (3, [0, 3, 6, 9, 12])
    assert audio.training_window_starts(1, 1000, "centred") is None
    assert audio.training_window_starts(0, 1000, "inference") is not None
    assert audio.training_window_starts(10, 57, "reference") == (32, [28, 32, 35, 38, 41])
    assert audio.training_window_starts(10, 56, "reference") is None
    with pytest.raises(SettingError, match="alignment"):
        audio.training_window_starts(1, 100, "nearest")


def test_a_window_outside_the_sound_is_silence():
    mel = np.arange(80 * 20, dtype=np.float32).reshape(80, 20)
    np.testing.assert_array_equal(audio.mel_window(mel, 2), mel[:, 2:18])
    early = audio.mel_window(mel, -3)
    assert (early[:, :3] == -4).all()
    np.testing.assert_array_equal(early[:, 3:], mel[:, :13])
    late = audio.mel_window(mel, 10)
    assert (late[:, 10:] == -4).all()
    assert (audio.mel_window(mel, 50) == -4).all()


def test_16k_mono_pcm_is_read_exactly(tmp_path):
    samples = np.array([0, 1, -1, 32767, -32768], np.int16)
    wavfile.write(tmp_path / "a.wav", 16000, samples)
    wav = audio.load_wav(tmp_path / "a.wav")
    assert wav.dtype == np.float32
    np.testing.assert_array_equal(wav, samples / 32768)


def test_chunks_that_hold_no_sound_are_passed_over(tmp_path):
    wavfile.write(tmp_path / "a.wav", 16000, np.arange(100, dtype=np.int16))
    content = bytearray((tmp_path / "a.wav").read_bytes()) + b"junk" + (8).to_bytes(4, "little") + bytes(8)
    content[4:8] = (len(content) - 8).to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(content)
    assert len(audio.load_wav(tmp_path / "a.wav")) == 100


@pytest.mark.parametrize(("dtype", "full"), [(np.uint8, 127), (np.int32, 2**31 - 1), (np.float32, 1.0)])
def test_other_sample_types_are_scaled(tmp_path, dtype, full):
    sound = tone(0.1) * full + (128 if dtype is np.uint8 else 0)
    wavfile.write(tmp_path / "a.wav", 16000, sound.astype(dtype))
    np.testing.assert_allclose(audio.load_wav(str(tmp_path / "a.wav")), tone(0.1), atol=0.02)


def test_channels_are_averaged(tmp_path):
    left, right = tone(0.5, hz=300), tone(0.5, hz=700)
    wavfile.write(tmp_path / "a.wav", 16000, np.stack([left, right], 1).astype(np.float32))
    np.testing.assert_allclose(audio.load_wav(tmp_path / "a.wav"), (left + right) / 2, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "rate", "options"),
    [
        ("a.wav", 8000, []),
        ("a.wav", 44100, ["-c:a", "pcm_s24le"]),
        ("a.wav", 48000, ["-ac", "6"]),
        ("a.mp3", 44100, []),
        ("a.m4a", 48000, ["-ac", "2"]),
        ("a.mp4", 44100, ["-f", "mp4"]),
    ],
)
def test_any_rate_channels_and_container(tmp_path, name, rate, options):
    wavfile.write(tmp_path / "source.wav", rate, tone(2.0, rate).astype(np.float32))
    ffmpeg("-i", tmp_path / "source.wav", *options, tmp_path / name)
    wav = audio.load_wav(tmp_path / name)
    assert abs(len(wav) - 32000) < 1600
    middle = wav[8000:24000]
    spectrum = np.abs(np.fft.rfft(middle))
    assert abs(int(spectrum.argmax()) - 440) <= 1
    assert 0.05 < np.abs(middle).max() < 0.55


def test_24_bit_at_16k_goes_through_ffmpeg(tmp_path):
    with wave.open(str(tmp_path / "a.wav"), "wb") as w:
        w.setparams((1, 3, 16000, 0, "NONE", ""))
        w.writeframes(b"\x00\x00\x40" * 1600)
    np.testing.assert_allclose(audio.load_wav(tmp_path / "a.wav"), 0.5, atol=1e-4)


def test_what_has_no_sound_is_named(tmp_path):
    with pytest.raises(MediaError, match="no such file"):
        audio.load_wav(tmp_path / "missing.wav")
    (tmp_path / "page.wav").write_text("<html>not found</html>")
    with pytest.raises(MediaError, match=r"page\.wav"):
        audio.load_wav(tmp_path / "page.wav")
    ffmpeg("-f", "lavfi", "-i", "color=c=red:s=64x64:d=0.2", tmp_path / "silent film.mp4")
    with pytest.raises(MediaError, match="no sound"):
        audio.load_wav(tmp_path / "silent film.mp4")


def test_sound_that_begins_late_is_silent_until_then(tmp_path):
    wavfile.write(tmp_path / "a.wav", 16000, tone(1.0).astype(np.float32))
    picture = ["-f", "lavfi", "-i", "color=c=red:s=64x64:d=2:r=25", "-itsoffset", "0.48", "-i"]
    ffmpeg(*picture, tmp_path / "a.wav", "-map", "0:v", "-map", "1:a", "-c:a", "aac", tmp_path / "-late: one.mp4")
    wav = audio.load_wav(tmp_path / "-late: one.mp4")
    begins = int(np.argmax(np.abs(wav) > 0.2)) / 16000
    assert begins == pytest.approx(0.48, abs=0.03)


def test_samples_that_are_not_numbers_are_refused_and_loud_ones_clipped(tmp_path):
    wavfile.write(tmp_path / "a.wav", 16000, np.array([0.0, np.nan], np.float32))
    with pytest.raises(MediaError, match="not numbers"):
        audio.load_wav(tmp_path / "a.wav")
    wavfile.write(tmp_path / "b.wav", 16000, np.array([0.0, 3.0, -2.0], np.float32))
    assert audio.load_wav(tmp_path / "b.wav").tolist() == [0, 1, -1]


def test_two_channels_are_averaged_at_any_rate(tmp_path):
    tone = (0.3 * np.sin(np.arange(44100) / 30)).astype(np.float32)
    wavfile.write(tmp_path / "a.wav", 44100, np.stack([tone, tone], 1))
    assert np.abs(audio.load_wav(tmp_path / "a.wav")).max() == pytest.approx(0.3, abs=0.002)
