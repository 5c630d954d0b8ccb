"""One training run from a terminal, on one or several processes:

    python -m lipsync_utils.training --preset sample --data sample --run without steps=300
    accelerate launch --num_processes 2 -m lipsync_utils.training --preset article --run with disc_weight=0.07

Several processes on a CPU: `torchrun --nproc_per_node 2 -m lipsync_utils.training ...`. Words after the options are
settings of TrainConfig.
"""

import argparse
import ast
import contextlib
import sys

from .. import config, project, windows
from ..errors import LipsyncError
from .trainer import log, look, train


def main() -> int:
    """Run; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lipsync_utils.training", description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="sample")
    parser.add_argument("--data", help="name of the data set; default: the preset's")
    parser.add_argument("--run", required=True, help="name of the folder under outputs/")
    parser.add_argument("--network", choices=("generator", "expert"), default="generator")
    parser.add_argument("--anew", action="store_true", help="set an earlier run of that name aside")
    parser.add_argument("settings", nargs="*", metavar="name=value")
    options = parser.parse_args()
    project.setup_logging()
    given = dict(word.partition("=")[::2] for word in options.settings)
    for name, text in given.items():
        with contextlib.suppress(ValueError, SyntaxError):  # what is no Python literal is text
            given[name] = ast.literal_eval(text)
    try:
        preset = config.preset(options.preset)
        wanted = config.override(getattr(preset, options.network), **given)
        clips = windows.load_clips(project.data_set(options.data or preset.data), scheduler="inline")
        report = look(wanted, clips, preset.windows)
        log.info("%s", report)
        config.check(not report.problems, "training would not work")
        train(wanted, clips, options.run, windows=preset.windows, resume=not options.anew)
    except LipsyncError as error:
        log.error("%s", error)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
