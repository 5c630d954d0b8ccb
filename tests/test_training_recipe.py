import numpy as np
import pytest
import torch

from lipsync_utils import models, talkshow
from lipsync_utils.training import actors, augment, checks, pretrain, trainer


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """One invented actor who talks for a few seconds, on disk."""
    return actors.write_actor(tmp_path_factory.mktemp("actors"), actors.TEST_SEED + 50, 2.0)


def test_an_actor_is_read_as_written_and_made_once(written):
    (clip, *_) = actors.read_actor(written)
    n = len(clip.opening)
    assert clip.faces.faces.shape == (n, 128, 128, 3) and clip.faces.present.all() and abs(clip.faces.drift_s) < 0.05
    when = written.stat().st_mtime_ns
    assert actors.write_actor(written.parent, int(written.name), 2.0).stat().st_mtime_ns == when


def test_the_mouth_moves_in_the_lower_half_and_follows_the_truth(written):
    (clip, *_) = actors.read_actor(written, "val")
    faces = np.asarray(clip.faces.faces).astype(float)
    moving = faces.std(axis=0).mean(-1)
    assert moving[60:90, 30:66].mean() > moving[:20, 30:66].mean()
    assert np.corrcoef(faces[:, 66:84, 38:58].mean((1, 2, 3)), clip.opening)[0, 1] < -0.3  # an open mouth is dark


def test_groups_of_actors_never_meet_and_the_cast_is_not_among_them():
    seeds = (actors.TRAIN_SEED, actors.INDEPENDENT_SEED, actors.TEST_SEED)
    assert min(abs(a - b) for a in seeds for b in seeds if a != b) >= 100_000
    assert talkshow.random_actor(actors.TRAIN_SEED).name not in talkshow.cast()


@pytest.mark.parametrize("language", ["nl", "en"])
def test_sentences_vary_and_repeat_with_the_seed(language):
    rngs = [np.random.default_rng(1) for _ in range(2)]
    made, again = ([actors.sentence(rng, language) for _ in range(40)] for rng in rngs)
    assert made == again and len(set(made)) > 35 and all(text[-1] in ".?" for text in made)


def test_a_waking_discriminator_tells_pictures_apart_from_the_start():
    torch.manual_seed(0)
    asleep = models.VisualQualityDiscriminator(0.25)
    awake = trainer.open_network("discriminator", "scratch", 0.25)
    faces = torch.rand(8, 3, 96, 96) * torch.linspace(0.1, 1, 8)[:, None, None, None]
    with torch.no_grad():
        assert awake(faces).std() > 20 * asleep(faces).std()


def test_augmentation_gives_a_window_and_its_reference_one_camera():
    rng = np.random.default_rng(0)
    faces = torch.from_numpy(rng.integers(0, 256, (2, 3, 1, 128, 128), np.uint8).repeat(5, 2))
    items = {
        "faces": faces,
        "wrong": faces,
        "mels": torch.zeros(2, 5, 1, 80, 16),
        "sync_mel": torch.zeros(2, 1, 80, 16),
    }
    new, again = (augment.augment(items, np.random.default_rng(3)) for _ in range(2))
    assert new["faces"].shape == new["wrong"].shape == (2, 3, 5, 96, 96) and new["mels"].shape == items["mels"].shape
    assert all(torch.equal(new[name], again[name]) for name in new)
    means = [new[name].float().mean((2, 3, 4)) for name in ("faces", "wrong")]
    assert (means[0] - means[1]).abs().max() < 4 < (means[0][0] - means[0][1]).abs().max()


def test_the_embedded_reader_reads_a_mouth(written):
    (clip, *_) = actors.read_actor(written, "val")
    assert np.corrcoef(checks.mouth_openings(clip.faces.faces, rendered=True), clip.opening)[0, 1] > 0.9


def test_the_recipe_runs_what_is_not_done(tmp_path, monkeypatch):
    begun, recipe = [], pretrain.Pretraining(tmp_path, pretrain.SIZES["short"])
    monkeypatch.setattr(recipe, "render", lambda: begun.append("actors"))
    monkeypatch.setattr(recipe, "run_stage", begun.append)
    recipe.result("ear").parent.mkdir()
    recipe.result("ear").touch()
    recipe.run()
    assert begun == ["actors", "expert", "likeness", "generator", "reader", "judge"]


def test_a_regression_learns_a_sum():
    def batch(rng):
        x = torch.from_numpy(rng.normal(size=(16, 3)).astype(np.float32))
        return x, x.sum(1, keepdim=True)

    network = torch.nn.Linear(3, 1)
    pretrain.regress(network, batch, 200, rate=0.1)
    torch.testing.assert_close(network.weight, torch.ones(1, 3), atol=0.05, rtol=0)
