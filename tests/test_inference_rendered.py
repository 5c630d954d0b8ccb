"""Rendered people whose faces the detector finds: the chosen mouth moves, the others keep theirs. Everybody in turn."""

import pytest
from rendered import around_mouth, crowd, difference, encoded, follow, landmarks_of, overlaps, pictures_of

from lipsync_utils import checkpoints
from lipsync_utils.config import InferenceConfig
from lipsync_utils.faces import find_faces
from lipsync_utils.inference import people_in, prepare
from lipsync_utils.talkshow import make_material

pytestmark = pytest.mark.slow
MOST_FRAMES = 120  # of a medium that are looked at
FOLLOWS = 0.75  # of what the meter reads on the true rendering


@pytest.fixture(scope="module")
def generator():
    return checkpoints.load(checkpoints.embedded("generator"), "generator")


@pytest.fixture(scope="module")
def groups(material, tmp_path_factory):
    """Three media, what the tests of everybody need of each: a picture, a video, and a video of overlapping faces.

    For each the sentences that belong to it, its faces, its pictures, those after encoding, and where each mouth is.
    """
    folder = tmp_path_factory.mktemp("groups")
    sample, near = make_material(material), crowd(folder)
    made = {}
    for name, media, sentences in (
        ("picture", sample.picture, sample),
        ("video", sample.video, sample),
        ("overlapping", near.video, near),
    ):
        table = find_faces(media, None, folder / "cache")
        source = pictures_of(media, MOST_FRAMES)
        mouths = {p: around_mouth(landmarks_of(source, table, p.track_id)) for p in people_in(table)}
        made[name] = media, sentences, table, source, encoded(source, folder / f"{name}.mp4"), mouths
    return made


NIGHTLY = [("picture", 1), ("picture", 2), ("video", 0), ("video", 2)]
EVERYBODY = [("picture", 0), ("video", 1), *(("overlapping", place) for place in range(3))]


@pytest.mark.parametrize(
    "name, place", [*EVERYBODY, *(pytest.param(*one, marks=pytest.mark.nightly) for one in NIGHTLY)]
)
def test_the_chosen_mouth_follows_the_speech_and_no_other_moves(name, place, groups, generator, tmp_path):
    media, sentences, table, source, copy, mouths = groups[name]
    assert len(mouths) == 3 and overlaps(table) == (name == "overlapping")
    person = people_in(table)[place]
    job = prepare(
        media,
        {person.track_id: sentences.speech[place]},
        generator=generator,
        faces=table,
        settings=InferenceConfig(label="none"),
    )
    drawn = list(job.frames())
    film = encoded(drawn, tmp_path / "drawn.mp4")
    for other, mouth in mouths.items():
        if other == person:
            assert difference(drawn, source, mouth) > 1
            continue
        assert difference(drawn, source, mouth) == 0, f"the mouth of person {other.number} changed"
        assert difference(film, source, mouth) <= 1.1 * difference(copy, source, mouth), "more than compression"
    followed = follow(film, table, person.track_id, sentences.true[place], place)
    assert followed.share >= FOLLOWS, followed
