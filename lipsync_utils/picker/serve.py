"""Serve the web app on this machine: `python -m lipsync_utils.picker.serve` (make app).

Listens on localhost only. To let others in, put it behind a proxy that asks for a login; the README says how.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from ..project import home
from .parts import FAST
from .session import Limits

SOCKET_BYTES = 16 << 20  # the largest message of the browser; uploads come in pieces of 1 MiB
EXTENSIONS = (
    "@voila-dashboards/widgets-manager8",
    "@voila-dashboards/widgets-manager7",
    "@jupyter-widgets/jupyterlab-manager",
    "anywidget",
)  # others, made for JupyterLab, fail in this page
SHARE = Path(__file__).parent / "share"  # holds the page's template
IDLE_S = 1800  # a visit without a sign of life ends after this


def options(arguments: list[str]) -> argparse.Namespace:
    """What the command line says."""
    known = Limits()
    parser = argparse.ArgumentParser(prog="lipsync_utils.picker.serve", description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=8866)
    parser.add_argument("--ip", default="127.0.0.1", help="0.0.0.0 lets the whole network in, without a login")
    parser.add_argument("--base-url", default="/", help="path under which a proxy shows the app")
    parser.add_argument("--generator", help="weights of the network; default: the embedded ones")
    parser.add_argument("--max-upload-mb", type=float, default=known.upload_mb)
    parser.add_argument("--max-seconds", type=float, default=known.seconds)
    parser.add_argument("--parallel", type=int, default=known.parallel, help="videos made at the same time")
    parser.add_argument("--browser", action="store_true", help="open it in a browser")
    return parser.parse_args(arguments)


def voila_arguments(chosen: argparse.Namespace, notebook: Path) -> list[str]:
    """The same for Voila: no source code shown, no rate limit on results, visits that end."""
    return [
        str(notebook),
        f"--Voila.ip={chosen.ip}",
        f"--port={chosen.port}",
        f"--base_url={chosen.base_url}",
        *([] if chosen.browser else ["--no-browser"]),
        "--template=lipsync",
        *(f"--VoilaConfiguration.extension_allowlist={name}" for name in EXTENSIONS),
        "--ZMQChannelsWebsocketConnection.limit_rate=False",
        "--VoilaConfiguration.strip_sources=True",
        "--VoilaConfiguration.show_tracebacks=False",
        "--VoilaConfiguration.file_denylist=.*",  # nothing of the disk is served as a file
        f"--MappingKernelManager.cull_idle_timeout={IDLE_S}",
        "--MappingKernelManager.cull_interval=60",
        "--MappingKernelManager.cull_connected=False",
    ]


def main(arguments: list[str] | None = None) -> None:
    """Start Voila with the app's notebook; ends with it."""
    from voila.app import Voila

    chosen = options(sys.argv[1:] if arguments is None else arguments)
    os.environ.update(
        {
            FAST: "1",
            "LIPSYNC_APP_UPLOAD_MB": str(chosen.max_upload_mb),
            "LIPSYNC_APP_SECONDS": str(chosen.max_seconds),
            "LIPSYNC_APP_PARALLEL": str(chosen.parallel),
        }
    )
    os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, [str(SHARE), os.environ.get("JUPYTER_PATH")]))
    if chosen.generator:
        os.environ["LIPSYNC_GENERATOR"] = str(Path(chosen.generator).resolve())
    # The page says goodbye with a POST that Voila gives no token to; refused, kernel and files would stay. A kernel's
    # id in it is random, known to its own page only.
    server = Voila.instance(tornado_settings={"websocket_max_message_size": SOCKET_BYTES, "disable_check_xsrf": True})
    server.initialize(voila_arguments(chosen, home() / "notebooks" / "app.ipynb"))
    server.start()


if __name__ == "__main__":
    main()
