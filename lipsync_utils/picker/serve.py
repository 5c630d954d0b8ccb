"""Serve the web app on this machine: `python -m lipsync_utils.picker.serve` (make app).

Listens on localhost only. To let others in, put it behind a proxy that asks for a login; the guide says how. Other
options go to Voila: --port=8866, --base_url=/lipsync/ (the path under which a proxy shows the app).
"""

import argparse
import asyncio
import functools
import json
import os
from pathlib import Path

from jupyter_server.services.kernels.connection.base import deserialize_msg_from_ws_v1
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from tornado import web
from voila.app import Voila

from ..project import home
from .visit import Limits

PROTOCOL = "v1.kernel.websocket.jupyter.org"
MESSAGE_BYTES = 2 << 20  # the largest message of a browser; uploads come in pieces of 1 MiB
BODY_BYTES = 1 << 20  # the largest body of a request; the page sends none
WAITING_BYTES = 8 << 20  # what a kernel may have been sent and not yet dealt with
WAITING_MESSAGES = 100
UNREAD_BYTES = 32 << 20  # what a browser may have been sent and not yet read
SHARE = Path(__file__).parent / "share"  # holds the page's template
# No source code shown, nothing of the disk served as a file, no rate limit on results, visits that end when nothing
# happens for half an hour. Extensions that are made for JupyterLab fail in this page, so only these are loaded.
VOILA = [
    "--no-browser",
    "--Voila.ip=127.0.0.1",
    "--template=lipsync",
    "--VoilaConfiguration.allow_template_override=NO",
    "--VoilaConfiguration.allow_theme_override=NO",
    "--VoilaConfiguration.extension_allowlist=@voila-dashboards/widgets-manager8",
    "--VoilaConfiguration.extension_allowlist=@voila-dashboards/widgets-manager7",
    "--VoilaConfiguration.extension_allowlist=@jupyter-widgets/jupyterlab-manager",
    "--VoilaConfiguration.extension_allowlist=anywidget",
    "--Voila.kernel_websocket_connection_class=lipsync_utils.picker.serve.Channel",
    "--VoilaConfiguration.multi_kernel_manager_class=lipsync_utils.picker.serve.Kernels",
    "--ZMQChannelsWebsocketConnection.limit_rate=False",
    "--VoilaConfiguration.strip_sources=True",
    "--VoilaConfiguration.show_tracebacks=False",
    "--VoilaConfiguration.file_denylist=.*",
    "--MappingKernelManager.cull_idle_timeout=1800",
    "--MappingKernelManager.cull_interval=60",
    "--MappingKernelManager.cull_connected=False",
]


class Channel(ZMQChannelsWebsocketConnection):
    """The socket between a page and its kernel: one page per kernel, well-formed messages only, little in flight.

    Who breaks a rule is disconnected. What waits is counted per kernel, so a new connection does not reset it.
    """

    unread, refused = 0, False

    @property
    def waiting(self) -> dict[str, int]:
        """Bytes of the messages that the kernel has not dealt with, by message id."""
        return self.kernel_manager.__dict__.setdefault("lipsync_waiting", {})

    def refuse(self, why: str) -> None:
        """Close the socket; what still comes over it is dropped."""
        self.refused = True
        self.log.warning("Closing a socket of kernel %s: %s", self.kernel_id, why)
        self.websocket_handler.close(1008, why)

    def connect(self):
        """Connect, unless another page is connected to this kernel."""
        others = [c for c in self._open_sockets if c.kernel_id == self.kernel_id and c.session_id != self.session_id]
        if others or self.subprotocol != PROTOCOL:
            self.multi_kernel_manager.notify_connect(self.kernel_id)  # disconnect() takes it back
            self.refuse("a kernel serves one page")
            return asyncio.sleep(0)
        return super().connect()

    def handle_incoming_message(self, incoming_msg) -> None:
        """Pass a message on if it is one that a page sends, and while the kernel keeps up."""
        if self.refused or self.subprotocol != PROTOCOL:  # None when it closes; the old protocol is not checked here
            return None
        try:
            key = self.message_id(incoming_msg)
        except (ValueError, LookupError, TypeError, RecursionError):
            return self.refuse("not a message that a page sends")
        if len(self.waiting) >= WAITING_MESSAGES or sum(self.waiting.values()) + len(incoming_msg) > WAITING_BYTES:
            return self.refuse("too much at once")
        self.waiting[key] = len(incoming_msg)
        super().handle_incoming_message(incoming_msg)

    def message_id(self, message: bytes) -> str:
        """The id of a message. Raises ValueError and the like for what a page does not send.

        The base class believes the number of parts that a message claims, and makes a list of that length.
        """
        if not 6 <= int.from_bytes(message[:8], "little") <= 16:
            raise ValueError("number of parts")
        channel, parts = deserialize_msg_from_ws_v1(message)
        header, content = self.session.unpack(parts[0]), self.session.unpack(parts[3])
        kind, key = header["msg_type"], str(header["msg_id"])
        known = kind in self.multi_kernel_manager.allowed_message_types and channel in ("shell", "control")
        opens = kind == "comm_open" and content["target_name"] != "jupyter.widget.control"  # a comm of its own
        if not known or opens or key in self.waiting:
            raise ValueError("kind, channel, id or target")
        return key

    def handle_outgoing_message(self, stream, outgoing_msg) -> None:
        """Pass on what the kernel says; its "idle" ends the wait of the message before."""
        _, (_, header, parent, _, content, *_) = self.session.feed_identities(outgoing_msg)
        if b'"idle"' in content[:64] and self.session.unpack(header)["msg_type"] == "status":
            self.waiting.pop(self.session.unpack(parent).get("msg_id"), None)
        super().handle_outgoing_message(stream, outgoing_msg)

    def write_message(self, message, binary=False):
        """Send to the browser, while it reads."""
        size = len(message)
        self.unread += size
        if self.unread > UNREAD_BYTES:
            return self.refuse("nobody reads")
        sent = self.websocket_handler.write_message(message, binary)
        sent.add_done_callback(lambda _: setattr(self, "unread", self.unread - size))
        return sent


class Kernels(AsyncMappingKernelManager):
    """The kernels of all visits, of which there is a largest number."""

    async def start_kernel(self, **options):
        """Start one, or answer that the app is full."""
        if len(self) >= int(os.environ["LIPSYNC_APP_VISITS"]):
            raise web.HTTPError(503, reason="All places are taken. Try again in some minutes.")
        return await super().start_kernel(**options)


class Server(Voila):
    """Voila that takes no large request bodies."""

    def listen(self):
        """Listen on the port."""
        self.app.listen = functools.partial(self.app.listen, max_body_size=BODY_BYTES)
        super().listen()


def main(arguments: list[str] | None = None) -> None:
    """Start Voila with the app's notebook; ends with it."""
    known = Limits()
    parser = argparse.ArgumentParser(prog="lipsync_utils.picker.serve", description=__doc__)
    parser.add_argument("--generator", type=os.path.abspath, help="weights of the network; default: the embedded ones")
    parser.add_argument("--max-upload-mb", type=float, default=known.upload_mb, dest="upload_mb")
    parser.add_argument("--max-seconds", type=float, default=known.seconds, dest="seconds")
    parser.add_argument("--parallel", type=int, default=known.parallel, help="videos made at the same time")
    parser.add_argument("--max-visits", type=int, default=12, help="pages open at the same time, a kernel each")
    chosen, others = parser.parse_known_args(arguments)
    kernels = {name: getattr(chosen, name) for name in ("generator", "upload_mb", "seconds", "parallel")}
    os.environ["LIPSYNC_APP"], os.environ["LIPSYNC_APP_VISITS"] = json.dumps(kernels), str(chosen.max_visits)
    os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, [str(SHARE), os.environ.get("JUPYTER_PATH")]))
    # The page says goodbye with a POST that Voila gives no token to; refused, kernel and files would stay. A kernel's
    # id in it is random, known to its own page only.
    server = Server.instance(tornado_settings={"websocket_max_message_size": MESSAGE_BYTES, "disable_check_xsrf": True})
    server.initialize([str(home() / "notebooks" / "app.ipynb"), *VOILA, *others])
    server.start()


if __name__ == "__main__":
    main()
