"""One training run from a terminal, on one or several processes:

    python -m lipsync_utils.training --preset sample --data sample --run without steps=300
    accelerate launch --num_processes 2 -m lipsync_utils.training --preset article --run with disc_weight=0.07

Several processes on a CPU: `torchrun --nproc_per_node 2 -m lipsync_utils.training ...`. Words after the options are
settings of TrainConfig; windows.alignment=... and the like are settings of WindowsConfig.
"""

import argparse
import ast
import sys

from .. import config, project, windows
from ..errors import LipsyncError
from .trainer import log, train


def setting(word: str) -> tuple[str, object]:
    """("steps", 300) from "steps=300"; what is no Python literal is text."""
    name, equals, text = word.partition("=")
    config.check(bool(equals), f"{word!r}: write settings as name=value")
    try:
        return name, ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return name, text


def main(arguments: list[str] | None = None) -> int:
    """Run; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lipsync_utils.training", description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="sample")
    parser.add_argument("--data", help="name of the data set; default: the preset's")
    parser.add_argument("--run", required=True, help="name of the folder under outputs/")
    parser.add_argument("--network", choices=("generator", "expert"), default="generator")
    parser.add_argument("--anew", action="store_true", help="set an earlier run of that name aside")
    parser.add_argument("settings", nargs="*", metavar="name=value")
    options = parser.parse_args(arguments)
    project.setup_logging()
    try:
        preset, given = config.preset(options.preset), dict(map(setting, options.settings))
        of_windows = {k.removeprefix("windows."): given.pop(k) for k in list(given) if k.startswith("windows.")}
        of_windows = config.override(preset.windows, **of_windows)
        wanted = config.override(getattr(preset, options.network), **given)
        clips = windows.load_clips(project.data_set(options.data or preset.data), scheduler="inline")
        result = train(wanted, clips, options.run, windows=of_windows, resume=not options.anew)
    except LipsyncError as error:
        log.error("%s", error)
        return 2
    log.info("step %d, newest weights %s", result.step, result.weights)
    return 0


if __name__ == "__main__":
    sys.exit(main())
