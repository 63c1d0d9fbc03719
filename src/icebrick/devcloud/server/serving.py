"""What both server processes share: serving on an inherited socket, saying "ready", ending with their owner."""

from __future__ import annotations

import os
import select
import signal
import threading
import traceback
from argparse import ArgumentParser, Namespace
from collections.abc import Callable

from werkzeug import serving


def parse_arguments(description: str) -> Namespace:
    """The arguments the devcloud starts a server with. The directory comes first: `down` finds processes by it."""
    parser = ArgumentParser(description=description)
    parser.add_argument("--directory", required=True, help="the devcloud's directory")
    parser.add_argument("--listen-fd", type=int, required=True, help="a listening socket")
    parser.add_argument(
        "--ready-fd", type=int, required=True, help="a pipe that gets one line when requests are served"
    )
    parser.add_argument("--owner", type=int, help="end when this process ends")
    return parser.parse_args()


def die_with(owner: int | None) -> None:
    """End this process as soon as process `owner` has ended, however it ended.

    A pidfd rather than PR_SET_PDEATHSIG: that signal comes when the *thread* that started us ends.
    """
    if owner is None:
        return
    try:
        handle = os.pidfd_open(owner)
    except ProcessLookupError:
        os._exit(0)
    if os.getppid() != owner:  # the owner ended before the handle was open, and its number may be another's
        os._exit(0)

    def watch() -> None:
        select.select([handle], [], [])
        os._exit(0)

    threading.Thread(target=watch, name="owner-watch", daemon=True).start()


class _QuietHandler(serving.WSGIRequestHandler):
    protocol_version = "HTTP/1.1"  # keep connections open between requests
    disable_nagle_algorithm = True

    def log(self, *args, **kwargs) -> None:
        """The services log their requests themselves."""


def serve(application, arguments: Namespace, *, start: Callable[[], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT. Nothing needs saving at the end: all state is in SQLite.

    `start` is what needs the application to answer before all is ready.
    """
    server = serving.make_server(
        "127.0.0.1", 0, application, threaded=True, request_handler=_QuietHandler, fd=arguments.listen_fd
    )
    server.daemon_threads = True
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    if start is None:
        _say_ready(arguments)
    else:
        threading.Thread(target=_started, args=[start, arguments], name="start", daemon=True).start()
    server.serve_forever()


def _started(start: Callable[[], None], arguments: Namespace) -> None:
    try:
        start()
    except BaseException:  # noqa: BLE001 - the process ends with it, and not only this thread
        traceback.print_exc()
        os._exit(1)
    _say_ready(arguments)


def _say_ready(arguments: Namespace) -> None:
    with os.fdopen(arguments.ready_fd, "w") as ready:
        ready.write("ready\n")
