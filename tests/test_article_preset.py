"""A dry run of preset="article": the notebooks walk the Colab path at full width on tiny data with stand-in weights.

The walk through all notebooks takes 4.4 minutes of one CPU core (22 November 2026, one thread; seconds of CPU: 01 7,
02 7, 03 10, 04 8, 05 16, 06 41, 07 59, 08 56, 09 55). That is too much for every `make test`: GitHub does it on every
push (.github/workflows/test.yml), and here `make test ARGS="-m nightly tests/test_article_preset.py"`.
"""

import json
import os
from pathlib import Path

import pytest
import stand_ins
import torch

from lipsync_utils import checkpoints, collect, config, course, project, talkshow
from lipsync_utils.records import Source

ROOT = Path(__file__).resolve().parents[1]
#: Notebooks that do the same whatever the preset: they bring their own data and are run by test_notebooks.
SAME_FOR_BOTH = {"00_tour_the_course", "10_train_from_scratch"}
WALK = [path for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")) if path.stem not in SAME_FOR_BOTH]
#: What is said in the four videos, two of them for validation: 2 to 3 s each, as short as a test clip may be.
LINES = (
    "Goedenavond en welkom bij de show.",
    "Het weer wordt morgen weer beter.",
    "Wie bakt er zondag een appeltaart?",
    "De kat slaapt op een warme stoel.",
)
FEW = {
    "steps": 1,
    "batch_size": 1,
    "max_clips": 1,
    "learning_rate": 1e-7,
    "guest_clips": 0,
    "scheduler": "inline",
    "pause_s": 0.0,
    "val_share": 0.5,
}


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A home with four short videos to collect and stand-ins of the published weights; kernels believe in them."""
    home = tmp_path_factory.mktemp("article")
    listed = stand_ins.write_stand_ins(home / "data" / "weights")
    site = home / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(stand_ins.SITE.format(listed=str(listed)))
    path = os.pathsep.join([str(site), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIPSYNC_HOME", str(home))
        patch.setenv("PYTHONPATH", path)
        data, host, rows = project.data_set("article"), talkshow.host(), []
        for number, line in enumerate(LINES):
            video = home / "mine" / f"talk{number}.mp4"
            talkshow.render_clip(video, [host], [(0, line)], size=(320, 240), pause_s=0.9, seed=number)
            rows.append(Source(f"talk{number}", str(video), f"Talk {number}", "nl", host.name, "MIT", "no real person"))
        collect.write_sources(data, rows)
        yield home


def test_a_widened_network_computes_the_same():
    inputs = {
        "generator": (torch.randn(2, 1, 80, 16), torch.rand(2, 6, 96, 96)),
        "expert": (torch.randn(2, 1, 80, 16), torch.rand(2, 15, 48, 96)),
        "discriminator": (torch.rand(2, 3, 96, 96),),
    }
    for kind, network in stand_ins.KINDS.values():
        small = network(1 / 16).eval()
        wide = stand_ins.widen(small, network(1 / 8))
        with torch.no_grad():
            ours, theirs = small(*inputs[kind]), wide(*inputs[kind])
        if kind == "expert":
            ours, theirs = torch.cat(ours), torch.cat(theirs)
        assert torch.allclose(ours, theirs[..., : ours.shape[-1]], atol=1e-5)


def test_the_preset_is_the_published_size_and_names_published_files():
    article = config.preset("article")
    for run in (article.expert, article.generator):
        assert run.width == 1.0 and run.start in checkpoints.published()
    assert {article.generator.expert, article.generator.discriminator} <= set(checkpoints.published())


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("wav2lip_gan", "wav2lip_generator"),
        ("lipsync_expert", "color_syncnet"),
        ("visual_quality_disc", "wav2lip_disc"),
    ],
)
def test_stand_ins_have_the_published_layout(house, name, keys):
    path = house / "data" / "weights" / checkpoints.published()[name].file
    state = torch.load(path, weights_only=True)["state_dict"]
    layout = [[key, list(value.shape)] for key, value in state.items()]
    published = json.loads((ROOT / "tests" / "golden" / f"{keys}_keys.json").read_text())
    assert layout == [["module." + key, shape] for key, shape, *_ in published]
    assert checkpoints.read(path, stand_ins.KINDS[name][0], mmap=True).width == 1.0


@pytest.mark.nightly
@pytest.mark.parametrize("path", WALK, ids=lambda path: path.stem)
def test_notebook_runs_with_the_article_preset(path, house):
    given = {name: FEW[name] for name in course.declared(path) if name in FEW}
    if path.stem.startswith("09"):
        given["max_clips"] = 2  # each is dubbed with the other's sound
    if path.stem.startswith("08"):
        given["weights"] = str(house / "data" / "weights" / "wav2lip_gan.pth")
    (outcome,) = course.run(path, {"preset": "article", **given}, house / "outputs" / "executed")
    assert outcome.ok
