"""Show a built board on this machine, to this machine only."""

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from fl_attack_bench.errors import UserError
from fl_attack_bench.site.publish import is_board

HOST = "127.0.0.1"


class _Handler(SimpleHTTPRequestHandler):
    """Files of one folder, without listings and without a log line for each."""

    def list_directory(self, path: Any) -> None:
        del path
        self.send_error(404, "No such page")

    def end_headers(self) -> None:
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        del format, args


def server(folder: Path, port: int) -> ThreadingHTTPServer:
    """A server bound to 127.0.0.1 that has not begun to serve; port 0 takes a free one.

    Raises:
        UserError: the folder holds no board, or the port is taken.
    """
    if not is_board(folder):
        raise UserError(f"{folder}: no board here; build one with `flab board build --out {folder}`")
    try:
        return ThreadingHTTPServer((HOST, port), partial(_Handler, directory=str(folder)))
    except (OSError, OverflowError) as error:
        raise UserError(f"port {port}: {getattr(error, 'strerror', None) or error}; choose another one") from None


def serve(folder: Path, port: int = 8000) -> None:
    """Serve a board until interrupted.

    Raises:
        UserError: the folder holds no board, or the port is taken.
    """
    with server(folder, port) as running:
        try:
            running.serve_forever()
        except KeyboardInterrupt:
            return
