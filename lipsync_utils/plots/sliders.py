"""A figure with sliders: drag one and the figure is drawn anew."""

from __future__ import annotations

import io
from collections.abc import Callable

import matplotlib.pyplot as plt
from matplotlib.figure import Figure


def sliders(draw: Callable[..., Figure], **controls):
    """Return a widget: the controls above the figure that `draw` makes of their values, by name.

    The figure is a picture widget. (An Output widget, as `ipywidgets.interact` uses, now and then leaves a notebook
    that is run in batch waiting for ever.)
    """
    import ipywidgets

    picture = ipywidgets.Image(format="png", layout=ipywidgets.Layout(max_width="100%"))

    def redraw(_=None):
        figure, png = draw(**{name: control.value for name, control in controls.items()}), io.BytesIO()
        figure.savefig(png, format="png", dpi=90)
        plt.close(figure)
        picture.value = png.getvalue()

    for control in controls.values():
        control.observe(redraw, "value")
    redraw()
    return ipywidgets.VBox([*controls.values(), picture])
