"""Rendered people whose faces the detector finds: the chosen mouth moves, the others keep theirs. Everybody in turn."""

import pytest
from rendered import around_mouth, crowd, difference, encoded, follow, landmarks_of, overlaps, pictures_of

from lipsync_utils import checkpoints
from lipsync_utils.config import InferenceConfig
from lipsync_utils.faces import find_faces
from lipsync_utils.inference import people_in, prepare
from lipsync_utils.talkshow import make_material

pytestmark = pytest.mark.slow
FOLLOWS = 0.75  # of what the meter reads on the true rendering


@pytest.fixture(scope="module")
def generator():
    return checkpoints.load(checkpoints.embedded("generator"), "generator")


@pytest.fixture(scope="module")
def groups(tmp_path_factory):
    """Three media with the sentences that belong to them: a picture, a video, and a video of overlapping faces."""
    folder = tmp_path_factory.mktemp("groups")
    sample, near = make_material(folder / "sample"), crowd(folder)
    return {"picture": (sample.picture, sample), "video": (sample.video, sample), "overlapping": (near.video, near)}


@pytest.mark.parametrize("place", [0, 1, 2], ids=["left", "middle", "right"])
@pytest.mark.parametrize("name", ["picture", "video", "overlapping"])
def test_the_chosen_mouth_follows_the_speech_and_no_other_moves(name, place, groups, generator, tmp_path):
    media, sentences = groups[name]
    table = find_faces(media, None, media.parent / "cache")
    people = people_in(table)
    assert len(people) == 3 and overlaps(table) == (name == "overlapping")
    person = people[place]
    job = prepare(
        media,
        {person.track_id: sentences.speech[place]},
        generator=generator,
        faces=table,
        settings=InferenceConfig(label="none"),
    )
    drawn = list(job.frames())
    source = pictures_of(media, len(drawn))
    film, copy = encoded(drawn, tmp_path / "drawn.mp4"), encoded(source, tmp_path / "copy.mp4")
    for other in people:
        mouth = around_mouth(landmarks_of(source, table, other.track_id))
        if other is person:
            assert difference(drawn, source, mouth) > 1
            continue
        assert difference(drawn, source, mouth) == 0, f"the mouth of person {other.number} changed"
        assert difference(film, source, mouth) <= 1.1 * difference(copy, source, mouth), "more than compression"
    followed = follow(film, table, person.track_id, sentences.true[place], place)
    assert followed.share >= FOLLOWS, followed
