import numpy as np
import pandas as pd
import pytest

from lipsync_utils import faces
from lipsync_utils.config import FacesConfig
from lipsync_utils.errors import FaceError, ManifestError, MediaError
from lipsync_utils.faces import FaceBox, FaceTable, How
from lipsync_utils.faces.find import follow, is_cut
from lipsync_utils.faces.landmarks import smooth


def test_box_geometry():
    box = FaceBox(10, 20, 30, 60)
    assert (box.width, box.height, box.area, box.centre) == (20, 40, 800, (20, 40))
    assert box.iou(FaceBox(20, 20, 40, 60)) == pytest.approx(1 / 3)
    assert box.iou(FaceBox(100, 100, 110, 110)) == 0
    assert box.padded(top=1, bottom=10, left=2, right=3) == FaceBox(8, 19, 33, 70)
    assert FaceBox(-4.4, 2.6, 50, 70).inside(40, 30) == FaceBox(0, 3, 40, 30)
    assert FaceBox(-2, -2, 3, 4).crop(np.zeros((10, 10, 3), np.uint8)).shape == (4, 3, 3)


@pytest.mark.parametrize("sides", [(5, 0, 5, 9), (9, 0, 5, 9), (0, float("nan"), 5, 9), (0, 0, float("inf"), 9)])
def test_impossible_box_is_an_error(sides):
    with pytest.raises(FaceError, match="not a box"):
        FaceBox(*sides)


def test_table_from_boxes():
    a, b = FaceBox(0, 0, 10, 10), FaceBox(20, 0, 40, 30)
    table = FaceTable.from_boxes([a, [None, b], None, [a, b]], (64, 48))
    assert table.n_frames == 4 and table.size == (64, 48) and table.track_ids == [0, 1]
    assert table.at(1) == {1: b} and table.at(2) == {} and table.at(3) == {0: a, 1: b}
    assert table.rows_of(0).frame.tolist() == [0, 3]
    assert np.isnan(table.track_boxes(0)[1:3]).all() and table.track_boxes(1)[3].tolist() == [20, 0, 40, 30]
    assert table.rows.frame.tolist() == [0, 1, 2, 3, 3] and table.rows.how[2] == How.GAP
    assert table.best_frame(1) in (1, 3)
    with pytest.raises(FaceError, match="no track 7"):
        table.track_boxes(7)
    thin = table.thinned([3, 3, 1])
    assert thin.n_frames == 3 and thin.at(1) == {0: a, 1: b} and thin.at(2) == {1: b}


def test_table_takes_boxes_as_numbers_too():
    a, b = FaceBox(1, 2, 30, 40), FaceBox(3, 2, 31, 40)
    table = FaceTable.from_boxes(np.array([[1, 2, 30, 40], [3, 2, 31, 40]]), (64, 48))
    assert table.at(0) == {0: a} and table.at(1) == {0: b}
    assert FaceTable.from_boxes([[(1, 2, 30, 40), b], None, []], (64, 48)).at(0) == {0: a, 1: b}


def test_smoothing_keeps_the_chin_in_and_does_not_lag():
    n = 200
    rng = np.random.default_rng(3)
    x = 100 + 40 * np.sin(np.arange(n) / 12) + rng.normal(0, 1.0, n)
    chin = 300 + 20 * (np.arange(n) % 7 < 2)
    raw = np.stack([x, np.full(n, 150.0), x + 120, chin.astype(float)], axis=1)
    calm = smooth(raw)
    assert (calm[:, 3] >= chin - 1e-9).all()
    assert np.abs(np.diff(calm[:, 0], 2)).mean() < 0.25 * np.abs(np.diff(raw[:, 0], 2)).mean()
    lags = {lag: np.corrcoef(raw[20:-20, 0], calm[20 + lag : n - 20 + lag, 0])[0, 1] for lag in range(-5, 6)}
    assert max(lags, key=lags.get) == 0
    assert smooth(raw[:1]).shape == (1, 4) and smooth(raw[:3]).shape == (3, 4)


@pytest.mark.parametrize("factor", [1.0, 0.3, 2.5])
def test_follow_finds_the_shift(factor):
    rng = np.random.default_rng(0)
    import cv2

    big = cv2.resize(
        rng.integers(0, 255, (40, 40), dtype=np.uint8),
        (round(400 * factor), round(400 * factor)),
        interpolation=cv2.INTER_CUBIC,
    )
    step = round(12 * factor)
    moved = np.roll(big, (step, -step), (0, 1))
    box = FaceBox(*(v * factor for v in (150, 150, 250, 250)))
    found, likeness = follow(big, box, moved)
    assert likeness > 0.9
    assert found.left - box.left == pytest.approx(-step, abs=1.5 * factor + 0.5)
    assert found.top - box.top == pytest.approx(step, abs=1.5 * factor + 0.5)


def test_cut_is_seen_and_noise_is_not():
    rng = np.random.default_rng(1)
    one = rng.integers(0, 255, (90, 160), dtype=np.uint8)
    assert not is_cut(one, np.clip(one + rng.normal(0, 6, one.shape), 0, 255).astype(np.uint8))
    assert is_cut(one, np.full_like(one, 200))


def matched(table, truth):
    """(n faces in the truth, n found, {actor: tracks}) by overlap with the true boxes."""
    n = hit = 0
    who = {}
    for row in truth:
        if row.actor is None:
            continue
        n += 1
        true = FaceBox(row.left_px, row.top_px, row.right_px, row.bottom_px)
        best = max(table.at(row.frame).items(), key=lambda item: item[1].iou(true), default=None)
        if best and best[1].iou(true) > 0.4:
            hit += 1
            who.setdefault(row.actor, set()).add(best[0])
    return n, hit, who


@pytest.mark.parametrize("name", ["talk", "group", "inset"])
def test_every_face_of_the_show_is_found_and_keeps_its_track(sample_show, tmp_path_factory, name):
    table = sample_show.faces(name)
    truth = sample_show.rows(name)
    n, hit, who = matched(table, truth)
    assert hit >= 0.99 * n
    assert all(len(tracks) == 1 for tracks in who.values()) and len(set.union(*who.values())) == len(who)
    empty = {r.frame for r in truth if r.actor is None}
    assert not any(table.at(frame) for frame in empty)
    assert set(table.rows.frame) == set(range(table.n_frames))  # gaps are rows


def test_chin_and_lips_lie_where_the_networks_expect_them(sample_show):
    from lipsync_utils import media

    truth = {(r.frame, r.actor): r for r in sample_show.rows("talk")}
    widest = np.quantile([r.mouth_open for r in truth.values() if r.actor], 0.8)
    table = sample_show.faces("talk")
    chin_in, wide = [], []
    for frame in media.frames(sample_show.video("talk")):
        for box in table.at(frame.index).values():
            points = faces.landmarks(frame.image_bgr, box)
            assert points[48:, 1].min() > (box.top + box.bottom) / 2
            chin_in.append(box.contains(*points[8]))
            if max(r.mouth_open or 0 for (f, _), r in truth.items() if f == frame.index) >= widest:
                wide.append(chin_in[-1])
    assert len(wide) > 10 and np.mean(wide) >= 0.99 and np.mean(chin_in) >= 0.99


def test_a_person_is_recognised_after_a_cut(sample_show):
    from lipsync_utils import media

    host = [f.image_bgr for f in media.frames(sample_show.video("talk")) if f.index < 12]
    rows = sample_show.rows("talk")
    first = next(r.frame for r in rows if r.actor not in (None, rows[0].actor))
    guest = [f.image_bgr for f in media.frames(sample_show.video("talk")) if first <= f.index < first + 12]
    table = faces.find_in_frames(host + guest + host)
    assert table.track_ids == [0, 1]
    assert table.rows_of(0).frame.tolist() == [*range(12), *range(24, 36)]
    assert table.rows_of(1).frame.tolist() == [*range(12, 24)]


def test_a_short_occlusion_is_a_gap_not_an_end(sample_show):
    from lipsync_utils import media

    frames = [f.image_bgr.copy() for f in media.frames(sample_show.video("talk")) if f.index < 40]
    for frame in frames[15:21]:
        frame[100:260, 150:330] = 128
    table = faces.find_in_frames(frames, FacesConfig(rescue=False))
    assert table.track_ids == [0]
    assert {*range(0, 14), *range(22, 40)} <= set(table.rows_of(0).frame.tolist())
    assert not table.at(18)
    assert table.rows[table.rows.frame == 18][["track_id", "how"]].to_numpy().tolist() == [[-1, How.GAP]]


def test_second_call_does_not_detect(show_clips, tmp_path, monkeypatch):
    import shutil

    video = show_clips / "before" / "clips" / "group" / "three.mp4"
    first = faces.find_faces(video, FacesConfig(), tmp_path / "cache")
    monkeypatch.setattr(faces.find, "find_in_frames", None)
    renamed = tmp_path / "another name ü.mp4"
    shutil.copy(video, renamed)
    second = faces.find_faces(renamed, FacesConfig(), tmp_path / "cache")
    assert not first.from_cache and second.from_cache
    pd.testing.assert_frame_equal(first.rows, second.rows)
    assert (first.size, first.fps, first.n_frames) == (second.size, second.fps, second.n_frames)
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_other_content_or_settings_are_not_taken_from_the_cache(sample_show, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, other = tmp_path / "a" / "same.png", tmp_path / "b" / "same.png"
    from lipsync_utils import talkshow

    talkshow.portrait(one, talkshow.host())
    talkshow.group_picture(other, [talkshow.host(), *talkshow.guests()[:2]])
    cache = tmp_path / "cache"
    assert len(faces.find_faces(one, cache_dir=cache).track_ids) == 1
    assert len(faces.find_faces(other, cache_dir=cache).track_ids) == 3
    assert not faces.find_faces(one, FacesConfig(detect_every=4), cache).from_cache
    assert faces.find_faces(one, cache_dir=cache).from_cache


def cached(tmp_path):
    """The cache file of a portrait."""
    from lipsync_utils import talkshow

    table = faces.find_faces(talkshow.portrait(tmp_path / "host.png", talkshow.host()), None, tmp_path / "cache")
    (path,) = (tmp_path / "cache").iterdir()
    return path, table


def test_cache_file_is_for_people_and_round_trips(tmp_path):
    path, table = cached(tmp_path)
    header, line = path.read_text().splitlines()
    assert header.startswith("frame,track_id,left,top,right,bottom")
    assert line.startswith(f"0,0,{round(float(table.rows.left[0]), 2)}") and line.endswith("detected")
    back = faces.find_faces(tmp_path / "host.png", None, tmp_path / "cache")
    assert back.from_cache and not table.from_cache
    pd.testing.assert_frame_equal(back.rows, table.rows)


@pytest.mark.parametrize(
    "old, new, where",
    [
        ("\n0,0,", "\n0,(lambda: 0)(),", "row 1, column track_id"),
        ("\n0,", "\n__import__('os').system('touch PWNED'),", "row 1, column frame"),
        (",detected", ",guessed", "row 1, column how"),
        ("\n0,0,", "\n0,0,nan,", "row 1: 13 cells"),
        ("frame,track_id", "track_id,frame", "the columns are"),
    ],
)
def test_tampered_cache_is_an_error_that_names_the_cell(tmp_path, monkeypatch, old, new, where):
    monkeypatch.chdir(tmp_path)
    path, _ = cached(tmp_path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ManifestError, match=where):
        faces.find_faces(tmp_path / "host.png", None, tmp_path / "cache")
    assert not (tmp_path / "PWNED").exists()


def test_bad_media_is_a_clear_error(tmp_path):
    text = tmp_path / "text named.mp4"
    text.write_text("hello")
    for path in (text, tmp_path / "missing.mp4"):
        with pytest.raises((MediaError, OSError), match=path.name):
            faces.find_faces(path)


def test_encodings_tell_people_apart(tmp_path):
    from lipsync_utils import media, talkshow

    people = [talkshow.host(), talkshow.host(), talkshow.guests()[0]]
    codes = []
    for k, actor in enumerate(people):
        picture = media.read_picture(talkshow.portrait(tmp_path / f"{k}.png", actor, seed=k))
        (box,) = faces.find_in_frames([picture]).at(0).values()
        codes.append(faces.encode(np.ascontiguousarray(picture[..., ::-1]), box))
    own, other = faces.distances(np.stack(codes[1:]), codes[0])
    assert own < 0.4 < 0.55 < other
    assert len(faces.distances(np.zeros((0, 128)), codes[0])) == 0
