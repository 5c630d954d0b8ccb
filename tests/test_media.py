"""media: what a file is, its frames upright and in order, pictures of every kind, and mp4 that is exact."""

import itertools
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from lipsync_utils import media
from lipsync_utils.audio import load_wav, save_wav
from lipsync_utils.errors import MediaError, SettingError
from lipsync_utils.media.reader import constant_rate, to_normal_range
from lipsync_utils.media.tools import file_url


def colour_video(path, colours, fps=25, size=(64, 48), sound=None):
    """One frame per BGR colour."""
    with media.VideoWriter(path, fps=fps, size=size, sound=sound, crf=8) as writer:
        for colour in colours:
            writer.write(np.full((size[1], size[0], 3), colour, np.uint8))
    return path


def tone(seconds, hz=440, rate=16000):
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


@pytest.mark.parametrize("n_frames", [1, 7, 33])
def test_written_sound_and_picture_have_one_length(tmp_path, n_frames):
    path = colour_video(tmp_path / "a.mp4", [(10, 100, 200)] * n_frames, sound=tone(5))
    info = media.probe(path)
    assert info.duration_s == pytest.approx(n_frames / 25, abs=1e-3) and info.fps == pytest.approx(25)
    assert media.picture_end_s(path) == pytest.approx(n_frames / 25)
    assert len(load_wav(path)) == n_frames * 640
    assert (info.video_codec, info.pixel_format, info.audio_codec, info.audio_hz) == ("h264", "yuv420p", "aac", 16000)


def test_short_sound_is_padded_and_sits_where_it_belongs(tmp_path):
    sound = np.zeros(16000, np.float32)
    sound[8000:8100] = 0.8 * np.sin(np.arange(100))
    path = colour_video(tmp_path / "a.mp4", [(0, 0, 0)] * 50, sound=sound)
    heard = load_wav(path)
    assert len(heard) == 32000
    assert np.argmax(np.correlate(heard[7000:9500], sound[8000:8100], "valid")) == 1000


def test_colours_survive_within_three_levels(tmp_path):
    colours = np.random.default_rng(0).integers(20, 235, (12, 3))
    seen = [f.image_bgr[20, 20] for f in media.frames(colour_video(tmp_path / "a.mp4", colours))]
    assert np.abs(np.array(seen, int) - colours).max() <= 3


def test_odd_sizes_lose_one_row_and_tags_are_kept(tmp_path):
    with media.VideoWriter(tmp_path / "a.mp4", size=(65, 49), metadata={"comment": "rendered ü"}) as writer:
        writer.write(np.zeros((49, 65, 3), np.uint8))
    assert media.probe(tmp_path / "a.mp4").size == (64, 48)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.metadata["comment"] == "rendered ü"
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat"), "the index must come first, so that browsers can start at once"


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), media.VideoWriter(tmp_path / "a.mp4", size=(64, 48)) as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8))
        writer.write(1 / 0)
    with pytest.raises(MediaError, match="no frame"), media.VideoWriter(tmp_path / "a.mp4", size=(64, 48)):
        pass
    assert list(tmp_path.iterdir()) == []


def test_frames_come_in_order_with_times_and_can_start_anywhere(tmp_path):
    path = colour_video(tmp_path / "a.mp4", [(4 * i, 4 * i, 4 * i) for i in range(50)])
    whole = list(media.frames(path))
    assert [f.index for f in whole] == list(range(50))
    assert [f.time_s for f in whole] == pytest.approx([i / 25 for i in range(50)])
    part = list(itertools.islice(media.frames(path, start_s=1.0), 5))
    assert [f.index for f in part] == [25, 26, 27, 28, 29]
    assert [round(f.image_bgr.mean() / 4) for f in part] == pytest.approx([25, 26, 27, 28, 29], abs=1)
    assert [f.index for f in media.frames(path, only=[0, 20, 40])] == [0, 20, 40]


def test_mpeg_program_streams_are_read_from_their_first_frame(tmp_path):
    """Seeking in a container without an index lands on the next key frame: GRID's films lost half a second."""
    colours = [(8 * i, 8 * i, 8 * i) for i in range(30)]
    plain = colour_video(tmp_path / "a.mp4", colours)
    media.ffmpeg(["-i", str(plain), "-c:v", "mpeg1video", "-q:v", "2", "-g", "12", str(tmp_path / "a.mpg")])
    seen = list(media.frames(tmp_path / "a.mpg"))
    assert len(seen) == 30 and seen[0].image_bgr.max() < 8 and seen[0].time_s == pytest.approx(0)
    later = next(media.frames(tmp_path / "a.mpg", start_s=0.6))
    assert later.time_s == pytest.approx(0.6) and later.image_bgr.mean() == pytest.approx(8 * 15, abs=4)


def test_constant_rate_takes_the_nearest_and_repeats_the_last():
    uneven = [(0.02, "a"), (0.05, "b"), (0.13, "c")]
    assert list(constant_rate(uneven, 25, 6)) == ["a", "b", "b", "c", "c", "c"]
    assert list(constant_rate([], 25, 3)) == []


def test_phone_video_is_turned_upright(tmp_path):
    colour_video(tmp_path / "a.mp4", [(0, 0, 0)])
    image = np.zeros((48, 64, 3), np.uint8)
    image[:, :32] = 255  # left half white
    with media.VideoWriter(tmp_path / "flat.mp4", size=(64, 48)) as writer:
        for _ in range(3):
            writer.write(image)
    for degrees, white in ((90, np.s_[:32, :]), (180, np.s_[:, 32:]), (270, np.s_[32:, :])):
        turned = tmp_path / f"{degrees}.mp4"
        turn = ["-v", "error", "-display_rotation:v:0", str(-degrees), "-i", file_url(tmp_path / "flat.mp4")]
        media.ffmpeg([*turn, "-c", "copy", file_url(turned)])
        info, frame = media.probe(turned), next(media.frames(turned)).image_bgr
        assert info.rotation_deg == degrees and frame.shape[:2] == info.size[::-1]
        assert frame[white].mean() > 240 and frame.mean() == pytest.approx(127, abs=6)


def test_crop(tmp_path):
    image = np.zeros((48, 64, 3), np.uint8)
    image[:, 32:] = 200
    with media.VideoWriter(tmp_path / "a.mp4", size=(64, 48), crf=5) as writer:
        writer.write(image)
    with media.VideoReader(tmp_path / "a.mp4", (33, 0, 64, 48)) as reader:
        ((_, frame),) = reader.decoded()
        frame = reader.convert(frame).to_ndarray(format="bgr24")
    assert frame.shape == (48, 30, 3) and frame[:, 4:].mean() > 190, "an odd last column is cut"
    with pytest.raises(SettingError, match="inside the picture of 64x48"):
        media.VideoReader(tmp_path / "a.mp4", (0, 0, 65, 48))


def test_variable_rate_and_hdr_are_seen(tmp_path):
    for trc, name in (("smpte2084", "pq"), ("arib-std-b67", "hlg")):
        path = tmp_path / f"{name}.mp4"
        grey = "-v error -f lavfi -i color=c=gray:s=64x64:r=25:d=0.2 -c:v libx265 -x265-params log-level=error -vf"
        tags = f"format=yuv420p10le,setparams=color_primaries=bt2020:color_trc={trc}:colorspace=bt2020nc"
        media.ffmpeg([*grey.split(), tags, file_url(path)])
        info, frame = media.probe(path), next(media.frames(path)).image_bgr
        assert (info.hdr, info.video_codec) == (name, "hevc")
        wanted = 255 * to_normal_range(np.full((1, 3), 0.5), name)[0]
        assert frame[32, 32] == pytest.approx(wanted, abs=6)
    assert not media.probe(path).variable_rate


def test_tone_mapping_keeps_black_and_white_and_order():
    for transfer in ("pq", "hlg"):
        grey = to_normal_range(np.repeat(np.linspace(0, 1, 50)[:, None], 3, 1), transfer)[:, 0]
        assert grey[0] == pytest.approx(0, abs=1e-6) and grey[-1] > 0.98 and (np.diff(grey) >= -1e-9).all()


def test_real_clips_are_read_whole(real_clips):
    info = media.probe(real_clips / "man_suit_700x700.mp4")
    assert info.variable_rate and info.fps == pytest.approx(22.13, abs=0.01) and info.size == (700, 700)
    assert sum(1 for _ in media.frames(info.path)) == 135
    hevc = media.probe(real_clips / "woman_bench_1080x1920_hevc.mp4")
    assert (hevc.video_codec, hevc.size, hevc.variable_rate) == ("hevc", (1080, 1920), False)


def test_bad_files_are_clear_errors(tmp_path):
    good = colour_video(tmp_path / "good.mp4", [(0, 0, 0)] * 30, sound=tone(2))
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("this is not a video\n" * 50)
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXTINF:5,\nhttp://127.0.0.1:9/secret.ts\n")
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    moov_last = tmp_path / "cut.mp4"
    media.ffmpeg(["-v", "error", "-i", file_url(good), "-c", "copy", file_url(moov_last)])
    moov_last.write_bytes(moov_last.read_bytes().partition(b"moov")[0])
    cases = {
        "empty.mp4": "0 bytes",
        "text.mp4": "not a video",
        "list.mp4": "not a video",
        "noise.mp4": "not a video",
        "cut.mp4": "cut off",
        "nothing.mp4": "no such file",
        ".": "a folder",
    }
    for name, words in cases.items():
        with pytest.raises(MediaError, match=words):
            media.probe(tmp_path / name)
        with pytest.raises(MediaError, match=words):
            list(media.frames(tmp_path / name))
        with pytest.raises(MediaError):
            load_wav(tmp_path / name)


def test_no_permission_is_a_clear_error(tmp_path, monkeypatch):
    path = colour_video(tmp_path / "a.mp4", [(0, 0, 0)])

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(MediaError, match="no permission"):
        media.probe(path)


def test_a_file_that_was_cut_off_gives_what_is_left(tmp_path):
    rng = np.random.default_rng(0)
    with media.VideoWriter(tmp_path / "a.mp4", size=(64, 48)) as writer:
        for _ in range(50):
            writer.write(rng.integers(0, 255, (48, 64, 3)).astype(np.uint8))
    data = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    n = sum(1 for _ in media.frames(tmp_path / "cut.mp4"))
    assert 5 < n < 45
    assert media.picture_end_s(tmp_path / "cut.mp4") == pytest.approx(n / 25, abs=0.13)


def test_names_that_look_like_options_or_addresses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("-rf.mp4", "a:b 'c' \"d\" 🎬.mp4", "http:x.mp4", "100%d.mp4"):
        colour_video(Path(name), [(0, 0, 0)] * 2, sound=tone(1))
        assert media.probe(Path(name)).size == (64, 48)
        save_wav(Path("-s.wav"), load_wav(Path(name)))


def test_ffmpeg_passes_on_its_words():
    with pytest.raises(MediaError, match="nothing_here.mp4"):
        media.ffmpeg(["-v", "error", "-i", "file:/nothing_here.mp4", "-f", "null", "-"])


def test_sound_that_begins_late_is_padded(tmp_path):
    video = colour_video(tmp_path / "v.mp4", [(0, 0, 0)] * 50)
    path = tmp_path / "late.mkv"
    late = "-itsoffset 0.5 -f lavfi -i sine=440:d=1 -c:v copy -c:a pcm_s16le -shortest"
    media.ffmpeg(["-v", "error", "-i", file_url(video), *late.split(), file_url(path)])
    sound = load_wav(path)
    assert np.argmax(np.abs(sound) > 0.01) / 16000 == pytest.approx(0.5, abs=0.01)


def test_pictures_of_every_kind(tmp_path):
    red = np.zeros((20, 30, 3), np.uint8)
    red[:, :15] = (255, 0, 0)
    image = Image.fromarray(red)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise
    image.save(tmp_path / "turned.png", exif=exif)
    image.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    image.convert("P").save(tmp_path / "palette.png")
    image.convert("L").save(tmp_path / "grey.webp", lossless=True)
    alpha = image.convert("RGBA")
    alpha.putalpha(Image.fromarray(np.uint8(red[..., 0])))
    alpha.save(tmp_path / "alpha.png")
    Image.fromarray(np.full((20, 30), 32768, np.uint16)).save(tmp_path / "deep.png")
    turned = media.read_picture(tmp_path / "turned.png")
    assert turned.shape == (30, 20, 3) and (turned[:15] == (0, 0, 255)).all() and not turned[15:].any()
    assert np.abs(media.read_picture(tmp_path / "cmyk.jpg")[10, 5].astype(int) - (0, 0, 255)).max() < 12
    assert (media.read_picture(tmp_path / "palette.png")[10, 5] == (0, 0, 255)).all()
    assert (media.read_picture(tmp_path / "grey.webp")[10, 5] == 76).all()
    assert (media.read_picture(tmp_path / "alpha.png")[10, 20] == 255).all(), "transparent parts become white"
    assert np.abs(media.read_picture(tmp_path / "deep.png").astype(int) - 128).max() <= 1
    assert all(media.is_picture(p) for p in tmp_path.iterdir())


def test_huge_and_bad_pictures(tmp_path):
    Image.new("L", (9000, 300)).save(tmp_path / "wide.png")
    assert media.read_picture(tmp_path / "wide.png").shape == (137, 4096, 3)
    Image.new("1", (30000, 30000)).save(tmp_path / "bomb.png")
    with pytest.raises(MediaError, match="too many"):
        media.read_picture(tmp_path / "bomb.png")
    (tmp_path / "text.jpg").write_text("hello")
    data = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 255, (50, 50, 3)).astype(np.uint8))[1].tobytes()
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) // 2])
    for name, words in (("text.jpg", "not a picture"), ("cut.jpg", "damaged"), ("none.jpg", "no such file")):
        with pytest.raises(MediaError, match=words):
            media.read_picture(tmp_path / name)
    assert not media.is_picture(tmp_path / "text.jpg")


def test_a_picture_file_is_probed_and_read_as_one_frame(tmp_path):
    media.write_picture(tmp_path / "a.png", np.full((40, 60, 3), 77, np.uint8))
    info = media.probe(tmp_path / "a.png")
    assert info.is_picture and info.size == (60, 40) and info.duration_s == 0
    assert [f.image_bgr.shape for f in media.frames(tmp_path / "a.png")] == [(40, 60, 3)]
