"""lip_sync: who moves and who does not, lengths, sound, silence, labels, engines, bad inputs."""

import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from golden import filler
from mouths import HEIGHT, WIDTH, Painter, faces, number_of, video, wav
from PIL import Image
from scipy.io import wavfile

from lipsync_utils.audio import load_wav
from lipsync_utils.config import InferenceConfig, override
from lipsync_utils.errors import FaceError, LipsyncError, MediaError, SettingError
from lipsync_utils.faces import FaceTable
from lipsync_utils.inference import Source, film, find_person, lip_sync, make_engine, people_in, prepare, verify
from lipsync_utils.inference.people import read_speech, source_frames, strengths
from lipsync_utils.media import ffmpeg, frames, probe
from lipsync_utils.models import Wav2Lip
from lipsync_utils.picker import FaceChoice

PLAIN = InferenceConfig(engine="torch", label="none")
N = 20


@pytest.fixture(scope="module")
def painter():
    return Painter().eval()


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    folder = tmp_path_factory.mktemp("media")
    sound = np.sin(np.arange(int(16000 * N / 25)) * 2 * np.pi * 440 / 16000) * 0.3
    video(folder / "video.mp4", N)
    video(folder / "sounding.mp4", N, sound=sound.astype(np.float32))
    for name, seconds in (("short", 0.4), ("long", 2.5), ("tiny", 0.1)):
        wav(folder / f"{name}.wav", seconds)
    wav(folder / "pause.wav", 0.8, pauses=[(0.3, 0.8)])
    wav(folder / "stereo.wav", 0.5, hz=48000, channels=2)
    return folder


def run(media, painter, tmp_path, name="video.mp4", speech="short.wav", table=None, **settings):
    """Call lip_sync on small things; returns the result and its decoded frames."""
    speech = speech if isinstance(speech, dict) else media / speech
    result = lip_sync(
        media / name,
        speech,
        tmp_path / "out.mp4",
        generator=painter,
        faces=table or faces(N),
        settings=override(PLAIN, **settings),
    )
    return result, [f.image_bgr for f in frames(result.output)]


# Where pixels change


def test_everything_outside_the_lower_face_is_untouched_before_encoding(media, painter):
    boxes = ((31, 21, 92, 108),)
    job = prepare(media / "video.mp4", media / "short.wav", generator=painter, settings=PLAIN, faces=faces(N, boxes))
    changed = np.zeros((HEIGHT, WIDTH), bool)
    for before, after in zip(frames(media / "video.mp4"), job.frames()):
        changed |= (before.image_bgr != after).any(axis=2)
    assert changed.any()
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert rows.min() >= (21 + 108) // 2 and rows.max() < 108  # never the upper half of the box
    assert columns.min() >= 31 and columns.max() < 92


def test_a_neighbour_who_overlaps_the_box_keeps_their_mouth(media, painter):
    boxes = ((30, 20, 90, 100), (70, 22, 130, 102))
    job = prepare(
        media / "video.mp4", {0: media / "short.wav"}, generator=painter, settings=PLAIN, faces=faces(N, boxes)
    )
    for before, after in zip(frames(media / "video.mp4"), job.frames()):
        changed = (before.image_bgr != after).any(axis=2)
        assert not changed[:, 80:].any()  # half-way between the two
    assert changed.any()


def test_a_box_that_reaches_over_the_edge_is_drawn(media, painter, tmp_path):
    result, _ = run(media, painter, tmp_path, table=faces(N, ((-20, 40, 50, 140),)))
    assert result.drawn_frames == {0: 10}


def test_frames_without_the_face_pass_through_and_are_listed(media, painter):
    job = prepare(
        media / "video.mp4", media / "short.wav", generator=painter, settings=PLAIN, faces=faces(N, gaps=(3, 4, 7))
    )
    same = [(before.image_bgr == after).all() for before, after in zip(frames(media / "video.mp4"), job.frames())]
    assert np.flatnonzero(job.talkers[0].strength == 0).tolist() == [3, 4, 7]
    assert same[3] and same[4] and same[7] and not same[1]
    assert any("3 of 10 frames stay as they are (not seen 0.1-0.2 s, not seen" in note for note in job.notes)


def test_two_people_each_say_their_own(media, painter):
    boxes = ((10, 30, 60, 100), (95, 30, 145, 100))
    speech = {0: media / "pause.wav", 1: media / "long.wav"}
    job = prepare(media / "video.mp4", speech, generator=painter, settings=PLAIN, faces=faces(N, boxes))
    assert len(job.order) == round(2.5 * 25)
    original = next(frames(media / "video.mp4")).image_bgr
    sides = (slice(26, 60), slice(95, 145))
    moved = [[np.abs(f[:, side].astype(int) - original[:, side]).max() > 12 for side in sides] for f in job.frames()]
    assert moved[3] == [True, True] and moved[15] == [False, True] and moved[50] == [False, True]


# Lengths and order


@pytest.mark.parametrize(
    "rule, expected",
    [
        ("ping-pong", [0, 1, 2, 3, 2, 1, 0, 1, 2, 3]),
        ("cut", [0, 1, 2, 3]),
    ],
)
def test_speech_longer_than_the_video(rule, expected):
    assert source_frames(4, 0.4, 25, rule).tolist() == expected


def test_lengths():
    for n_source, speech_s, rule, expected in (
        (20, 2.0, "ping-pong", 50),
        (20, 2.0, "cut", 20),
        (20, 0.4, "cut", 10),
        (1, 0.01, "cut", 1),
        (1, 2.0, "cut", 50),
    ):
        assert len(source_frames(n_source, speech_s, 25, rule)) == expected


def test_frames_come_in_that_order_without_holding_them(tmp_path):
    path = video(tmp_path / "v.mp4", 24)
    order = [*source_frames(24, 3.2, 25).tolist(), 3, 4, 20, 0]
    assert [number_of(p) for p in Source(path).pictures(order)] == order


@pytest.mark.parametrize(
    "speech, options, n_frames",
    [
        ("short.wav", {}, 10),
        ("long.wav", {}, 62),
        ("long.wav", {"longer_speech": "cut"}, N),
        ("tiny.wav", {}, 2),
    ],
)
def test_length_is_the_speech_within_a_frame(speech, options, n_frames, media, painter, tmp_path):
    result, pictures = run(media, painter, tmp_path, speech=speech, **options)
    info = probe(result.output)
    assert len(pictures) == result.n_frames == n_frames
    assert abs(info.duration_s - n_frames / 25) <= 1 / 25
    assert info.size == (WIDTH, HEIGHT) and info.fps == pytest.approx(25) and info.video_codec == "h264"


def test_static_video_uses_one_frame(media, painter, tmp_path):
    _, pictures = run(media, painter, tmp_path, static=True, static_frame=7)
    assert [number_of(p) for p in pictures] == [7] * 10


# Silence


def test_mouth_is_closed_in_a_pause_or_the_source_shows(media, painter):
    kept = {}
    for close in (True, False):
        job = prepare(
            media / "video.mp4",
            media / "pause.wav",
            generator=painter,
            faces=faces(N),
            settings=override(PLAIN, close_mouth=close),
        )
        pairs = [(b.image_bgr, a) for b, a in zip(frames(media / "video.mp4"), job.frames())]
        kept[close] = job.talkers[0]
        assert (pairs[2][0] != pairs[2][1]).any() and np.abs(pairs[15][0].astype(int) - pairs[15][1]).max() <= 6
    assert kept[True].strength.all() and not kept[False].strength[12:].any()


def test_voice_activity_finds_speech_in_noise_and_bridges_short_pauses(tmp_path):
    rng = np.random.default_rng(0)
    sound = rng.standard_normal(32000) * 0.001
    sound[8000:16000] += rng.standard_normal(8000) * 0.1
    sound[11000:12000] *= 0.01

    def spoken(samples, n_frames):
        wavfile.write(tmp_path / "a.wav", 16000, samples.astype(np.float32))
        return read_speech(tmp_path / "a.wav").in_frames(n_frames, 25)

    found = spoken(sound, 50)
    assert found[12:25].all() and not found[:9].any() and not found[29:].any()
    assert not spoken(np.zeros(16000), 25).any()
    assert spoken(rng.standard_normal(16000) * 0.1, 25).all()


def test_the_mouth_fades_in_and_out_at_gaps():
    got = strengths(np.array([1, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1], bool), ramp=2)
    assert got[5:7].tolist() == [0, 0] and got[0] == got[-1] == 1
    assert got[4] == pytest.approx(1 / 3) and got[7] == pytest.approx(1 / 3) and got[3] == pytest.approx(2 / 3)


# Sound, label, cache


def test_sound_keeps_its_quality(media, painter, tmp_path):
    result, _ = run(media, painter, tmp_path, speech="stereo.wav")
    info = probe(result.output)
    assert (info.audio_codec, info.audio_hz, info.audio_channels) == ("aac", 48000, 2)


def test_original_sound_underneath(media, painter, tmp_path):
    levels = {}
    for keep in (False, True):
        result, _ = run(media, painter, tmp_path, name="sounding.mp4", keep_sound=keep)
        spectrum = np.abs(np.fft.rfft(load_wav(result.output)[:6400]))
        levels[keep] = spectrum[176] / np.median(spectrum)  # 440 Hz
    assert levels[True] > 10 * levels[False]


def test_voices_that_overlap_are_mixed(media, painter, tmp_path):
    table = faces(N, ((10, 30, 60, 100), (95, 30, 145, 100)))
    for hz in (500, 1250):
        tone = np.sin(np.arange(8000) * 2 * np.pi * hz / 16000) * 0.4
        wavfile.write(tmp_path / f"{hz}.wav", 16000, (tone * 32767).astype(np.int16))
    result, _ = run(media, painter, tmp_path, table=table, speech={0: tmp_path / "500.wav", 1: tmp_path / "1250.wav"})
    spectrum = np.abs(np.fft.rfft(load_wav(result.output)[:6400]))
    assert spectrum[200] > 0.3 * spectrum.max() and spectrum[500] > 0.3 * spectrum.max()
    assert abs(load_wav(result.output)).max() <= 1


def test_a_mix_that_ffmpeg_does_not_end_is_cut(media, monkeypatch):
    """Once in a while atrim let an endless apad through, and the mix filled the disk."""
    voices = [(media / "short.wav", "anull"), (media / "long.wav", "anull")]
    with film.mixed(voices, 0.5) as samples:
        ended = samples.copy()

    def endless(arguments):
        ffmpeg([word.replace(",atrim=end=0.500000", "") for word in arguments])
        sizes.append(Path(arguments[-1].removeprefix("file:")).stat().st_size)

    sizes = []
    monkeypatch.setattr(film.media, "ffmpeg", endless)
    with film.mixed(voices, 0.5) as samples:
        assert len(samples) == 24000 and (samples == ended).all()
    assert sizes[0] < 1_000_000


def test_label_is_in_the_picture_and_in_the_file(media, painter, tmp_path):
    result, pictures = run(media, painter, tmp_path, label="top-right")
    plain, unlabelled = run(media, painter, tmp_path / "b")
    there = verify(result.output)
    assert there.synthetic and there.tool == "lipsync_utils" and len(there.media_sha256) == 64 and there.version
    assert set(there.speech_sha256) == {"0"}
    difference = np.abs(pictures[0].astype(int) - unlabelled[0]).max(axis=2) > 25
    assert difference[:40, WIDTH // 2 :].any() and not difference[60:].any()
    assert not verify(media / "video.mp4").synthetic
    with pytest.raises(MediaError):
        verify(media / "short.wav.missing")


def test_second_call_does_no_detection(show_clips, painter, tmp_path, media):
    group, other = (show_clips / "before" / "clips" / name for name in ("group/three.mp4", "talk/host_0.mp4"))
    arguments = {"generator": painter, "settings": PLAIN, "cache_dir": tmp_path / "cache"}
    first = lip_sync(group, {0: media / "short.wav"}, tmp_path / "a.mp4", **arguments)
    second = lip_sync(group, {0: media / "short.wav"}, tmp_path / "b.mp4", **arguments)
    assert not first.faces_from_cache and second.faces_from_cache and second.seconds["detect"] < 0.5
    changed = tmp_path / "group.mp4"
    changed.write_bytes(other.read_bytes())  # other content under the same name
    assert not lip_sync(changed, {0: media / "short.wav"}, tmp_path / "c.mp4", **arguments).faces_from_cache


# Persons


def test_a_person_is_found_by_number_order_place_and_size():
    table = faces(3, ((90, 20, 150, 100), (10, 30, 60, 100)))
    assert [p.track_id for p in people_in(table)] == [1, 0]
    asked = (1, "2", "left", "right", "largest", "35,60")
    assert [find_person(table, who) for who in asked] == [1, 0, 1, 0, 0, 1]
    for wrong, words in (
        (3, "people found: 2"),
        ("nobody", "left, middle"),
        ("1,1", "no face at"),
    ):
        with pytest.raises(FaceError, match=words):
            find_person(table, wrong)


def test_a_person_is_found_by_likeness(sample_show, tmp_path):
    from lipsync_utils import talkshow

    portrait = talkshow.portrait(tmp_path / "guest.png", talkshow.guests()[2], seed=9)
    table = sample_show.faces("group")
    truth = {r.actor: (r.left_px + r.right_px) / 2 for r in sample_show.rows("group") if r.frame == 0}
    track = find_person(table, str(portrait), sample_show.video("group"))
    assert table.at(0)[track].centre[0] == pytest.approx(truth[talkshow.guests()[2].name], abs=25)
    stranger = talkshow.portrait(tmp_path / "other.png", talkshow.guests()[1], seed=9)
    with pytest.raises(FaceError, match="nobody here"):
        find_person(table, str(stranger), sample_show.video("group"))


# Engines


@pytest.fixture(scope="module")
def network():
    return filler.load_into(Wav2Lip(0.25), tame=True).eval()


@pytest.mark.parametrize("precision, largest, mean", [("float32", 1e-4, 1e-5), ("bfloat16", 0.05, 1 / 255)])
def test_openvino_draws_what_torch_draws(network, precision, largest, mean):
    rng = np.random.default_rng(1)
    mels, images = rng.uniform(-4, 4, (5, 80, 16)).astype(np.float32), rng.integers(0, 256, (5, 96, 96, 3), np.uint8)
    expected = make_engine(network, InferenceConfig(engine="torch", precision="float32")).draw(mels, images)
    engine = make_engine(network, InferenceConfig(engine="openvino", precision=precision, batch_size=4))
    error = np.abs(engine.draw(mels, images) - expected)
    assert engine.name == f"openvino {precision} on cpu"
    assert error.max() <= largest and error.mean() <= mean


def test_an_engine_is_kept_until_the_weights_change(network):
    settings = InferenceConfig(precision="float32", batch_size=4)
    first = make_engine(network, settings)
    assert make_engine(network, settings) is first
    with torch.no_grad():
        next(network.parameters()).mul_(1.0)
    assert make_engine(network, settings) is not first


def test_the_networks_own_mode_comes_back(network):
    network.train()
    make_engine(network, InferenceConfig(batch_size=2))
    assert network.training
    network.eval()


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_a_gpu_that_is_not_there_is_refused(network):
    with pytest.raises(SettingError, match="no GPU"):
        make_engine(network, InferenceConfig(device="cuda"))


# Streaming


def test_memory_does_not_grow_with_length(media, painter):
    peaks = []
    for repeat in (1, 6):
        wav(media / "lasting.wav", 3.0 * repeat)
        job = prepare(media / "video.mp4", media / "lasting.wav", generator=painter, settings=PLAIN, faces=faces(N))
        tracemalloc.start()
        assert sum(1 for _ in job.frames()) == 75 * repeat
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2e6


# Bad input: a message that helps, and nothing left behind


def refuse(media, speech, tmp_path, words, table=None, **more):
    output = tmp_path / "made" / "out.mp4"
    with pytest.raises(LipsyncError, match=words):
        lip_sync(
            media,
            speech,
            output,
            generator=Painter(),
            faces=table,
            settings=more.pop("settings", PLAIN),
            cache_dir=tmp_path / "cache",
            **more,
        )
    assert not output.exists() and not list(tmp_path.glob("made/.part*"))


def test_bad_media(media, tmp_path):
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((100, 100, 3), 128, np.uint8))
    (tmp_path / "text.png").write_text("hello")
    refuse(tmp_path / "grey.png", media / "short.wav", tmp_path, "no face was found")
    refuse(tmp_path / "text.png", media / "short.wav", tmp_path, "cannot be decoded|not a (video|picture)")
    refuse(media / "short.wav", media / "short.wav", tmp_path, "no picture")
    refuse(
        media / "video.mp4",
        media / "short.wav",
        tmp_path,
        "smaller static_frame",
        table=faces(N),
        settings=override(PLAIN, static=True, static_frame=99),
    )
    refuse(tmp_path / "missing.png", media / "short.wav", tmp_path, "no such file")
    refuse(media / "video.mp4", media / "short.wav", tmp_path, "at least 40 px", table=faces(N, ((40, 30, 70, 70),)))
    refuse(media / "video.mp4", media / "short.wav", tmp_path, "find them again", table=faces(N, size=(80, 80)))


def test_bad_speech(media, tmp_path):
    bad = np.zeros(16000, np.float32)
    bad[100] = np.nan
    wavfile.write(tmp_path / "nan.wav", 16000, bad)
    refuse(media / "video.mp4", tmp_path / "nan.wav", tmp_path, "not numbers", table=faces(N))
    refuse(media / "video.mp4", media / "video.mp4", tmp_path, "no sound", table=faces(N))
    refuse(media / "video.mp4", None, tmp_path, "no speech was given", table=faces(N))
    refuse(media / "video.mp4", {5: media / "short.wav"}, tmp_path, r"no person with track id 5 .* \[0\]", faces(N))
    words = "no person with track id 'left' .* FaceChoice.of"
    refuse(media / "video.mp4", {"left": media / "short.wav"}, tmp_path, words, faces(N))
    (tmp_path / "text.wav").write_text("hello")
    refuse(media / "video.mp4", tmp_path / "text.wav", tmp_path, "export it again as wav", table=faces(N))
    refuse(media / "video.mp4", {0: tmp_path / "none.wav"}, tmp_path, "no such file", table=faces(N))


def test_who_speaks_must_be_clear(media, tmp_path):
    """Several people and nobody chosen, or somebody chosen who has nothing to say: never a guess."""
    table = faces(N, ((10, 30, 60, 100), (95, 30, 145, 100)))
    nobody = FaceChoice.of(media / "video.mp4", faces=table)
    refuse(media / "video.mp4", media / "short.wav", tmp_path, "2 people", table)
    refuse(media / "video.mp4", media / "short.wav", tmp_path, "2 people", table, choice=nobody)
    refuse(media / "video.mp4", {}, tmp_path, "nobody was chosen", table)
    nobody.pick(0, media / "short.wav")
    nobody.pick(1)
    refuse(media / "video.mp4", None, tmp_path, "no speech was given for track 1", table, choice=nobody)


def test_a_generator_is_run_as_it_was_trained_but_not_where_the_published_code_is_repeated(media, painter):
    for trained, start in (("inference", 0), ("reference", -1), ("centred", -2)):
        how = override(PLAIN, alignment=trained)
        job = prepare(media / "video.mp4", media / "long.wav", generator=painter, settings=how, faces=faces(N))
        assert job.starts[10] == int((10 + start) * 3.2)
    exact = prepare(
        media / "video.mp4",
        media / "long.wav",
        generator=painter,
        faces=faces(N),
        settings=override(PLAIN, paste="reference", alignment="reference"),
    )
    assert exact.starts[10] == 32


def test_output_must_be_another_mp4(media, painter, tmp_path):
    with pytest.raises(SettingError, match="ends in .mp4"):
        lip_sync(media / "video.mp4", media / "short.wav", tmp_path / "a.avi", generator=painter, faces=faces(N))
    with pytest.raises(SettingError, match="one of the inputs"):
        lip_sync(
            media / "video.mp4",
            media / "short.wav",
            media / "video.mp4",
            generator=painter,
            faces=faces(N),
            settings=PLAIN,
        )


def test_silent_speech_keeps_the_mouth_closed_and_says_so(media, painter, tmp_path):
    wavfile.write(tmp_path / "silent.wav", 16000, np.zeros(8000, np.int16))
    result = lip_sync(
        media / "video.mp4",
        tmp_path / "silent.wav",
        tmp_path / "o.mp4",
        generator=painter,
        faces=faces(N),
        settings=PLAIN,
    )
    assert "no speech is heard" in result.notes[0]


@pytest.mark.parametrize("kind", ["cmyk.jpg", "exif.jpg", "moving.gif", "picture.webp", "large.png"])
def test_pictures_of_every_kind(kind, media, painter, tmp_path):
    """CMYK, turned by EXIF, animated, webp, 8000x6000: all of them give a video."""
    size = (8000, 6000) if kind == "large.png" else (160, 120)
    image = Image.fromarray(np.tile(np.arange(size[0]) % 200, (size[1], 1)).astype(np.uint8)).convert("RGB")
    path, shown = tmp_path / kind, size
    if kind == "cmyk.jpg":
        image.convert("CMYK").save(path)
    elif kind == "exif.jpg":
        exif = Image.Exif()
        exif[0x0112] = 6  # turn by 90 degrees
        image.save(path, exif=exif)
        shown = size[::-1]
    elif kind == "moving.gif":
        image.save(path, save_all=True, append_images=[image.rotate(5), image], duration=40)
    else:
        image.save(path)
        shown = (4096, 3072) if kind == "large.png" else size
    count = 3 if kind == "moving.gif" else 1
    box = tuple(int(v * shown[0] / 160) for v in (30, 20, 90, 100))
    result = lip_sync(
        path,
        media / "tiny.wav",
        tmp_path / "o.mp4",
        generator=painter,
        settings=PLAIN,
        faces=FaceTable.from_boxes([faces(1, (box,)).at(0)[0]] * count, shown),
    )
    assert result.size == shown and probe(result.output).size == shown


def test_a_turned_phone_video_stays_upright(media, painter, tmp_path):
    turned = tmp_path / "turned.mp4"
    ffmpeg(["-display_rotation", "90", "-i", str(media / "video.mp4"), "-c", "copy", str(turned)])
    assert probe(turned).size == (HEIGHT, WIDTH)
    result = lip_sync(
        turned,
        media / "tiny.wav",
        tmp_path / "o.mp4",
        generator=painter,
        settings=PLAIN,
        faces=faces(N, ((30, 20, 90, 100),), size=(HEIGHT, WIDTH)),
    )
    assert probe(result.output).size == (HEIGHT, WIDTH)
