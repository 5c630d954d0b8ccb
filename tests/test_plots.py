"""plots: figures that can be moved."""

import ipywidgets
import numpy as np

from lipsync_utils import plots
from lipsync_utils.config import SplitConfig


def test_a_slider_draws_the_figure_anew():
    wav = np.random.default_rng(0).normal(0, 0.1, 32000).astype(np.float32)
    seen = []

    def draw(dbfs):
        seen.append(dbfs)
        return plots.waveform(wav, SplitConfig(silence_dbfs=dbfs))

    box = plots.sliders(draw, dbfs=ipywidgets.FloatSlider(-40.0, min=-70, max=-10))
    slider, picture = box.children
    before = bytes(picture.value)
    slider.value = -12.0
    after = bytes(picture.value)
    assert seen == [-40.0, -12.0] and after != before and after.startswith(b"\x89PNG")
