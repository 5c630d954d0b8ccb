"""One training run from a terminal, on one or several processes:

    python -m lipsync_utils.training --preset sample --data sample --run without steps=300
    accelerate launch --num_processes 2 -m lipsync_utils.training --preset article --run with disc_weight=0.07

Several processes on a CPU: `torchrun --nproc_per_node 2 -m lipsync_utils.training ...`. Words after the options are
settings of TrainConfig; windows.alignment=... and the like are settings of WindowsConfig.
"""

import argparse
import ast
import logging
import sys
from collections.abc import Sequence

from .. import config
from ..errors import LipsyncError, SettingError
from ..project import data_set, setup_logging
from ..windows import load_clips
from .trainer import train

log = logging.getLogger("lipsync_utils.training")


def parse_settings(words: Sequence[str]) -> tuple[dict, dict]:
    """(settings of the run, settings of the windows) from "name=value" words."""
    run, windows = {}, {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise SettingError(f"{word!r}: write settings as name=value")
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            value = text
        (windows if name.startswith("windows.") else run)[name.removeprefix("windows.")] = value
    return run, windows


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lipsync_utils.training", description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="sample")
    parser.add_argument("--data", help="name of the data set; default: the preset's")
    parser.add_argument("--run", required=True, help="name of the folder under outputs/")
    parser.add_argument("--network", choices=("generator", "expert"), default="generator")
    parser.add_argument("--anew", action="store_true", help="set an earlier run of that name aside")
    parser.add_argument("settings", nargs="*", metavar="name=value")
    options = parser.parse_args(arguments)
    setup_logging()
    try:
        preset = config.preset(options.preset)
        for_run, for_windows = parse_settings(options.settings)
        wanted = config.override(getattr(preset, options.network), **for_run)
        windows = config.override(preset.windows, **for_windows)
        clips = load_clips(data_set(options.data or preset.data), scheduler="inline")
        result = train(wanted, clips, options.run, windows=windows, resume=not options.anew)
    except LipsyncError as error:
        log.error("%s", error)
        return 2
    log.info("step %d, newest weights %s", result.step, result.weights)
    return 0


if __name__ == "__main__":
    sys.exit(main())
