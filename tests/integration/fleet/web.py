"""An image server with bad manners, as a program of its own: ``python web.py ADDRESS PORT FILE``.

The path says how FILE is sent: ``/plain/…``; ``/slow/…`` in pieces; ``/cut/…`` broken off in the middle the first time,
``/stump/…`` every time; ``/other/…`` as other bytes; ``/short/…`` with a length that is too small; ``/endless/…``.
"""

from __future__ import annotations

import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import repeat
from pathlib import Path

_PIECES = 20
#: seconds between two pieces of a slow answer
_PAUSE_S = 0.15


class Handler(BaseHTTPRequestHandler):
    """Answers GET."""

    content = b""
    seen: set[str] = set()  # noqa: RUF012  of the program, which is one server

    def do_GET(self) -> None:
        content, manner = self.content, self.path.split("/")[1]
        again = self.path in self.seen
        self.seen.add(self.path)
        length = len(content) // 2 if manner == "short" else len(content)
        self.send_response(200)
        if manner != "endless":
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if manner == "slow":
            size = -(-len(content) // _PIECES)
            for first in range(0, len(content), size):
                self.wfile.write(content[first : first + size])
                time.sleep(_PAUSE_S)
        elif manner == "stump" or (manner == "cut" and not again):
            self.wfile.write(content[: len(content) // 2])
        elif manner == "other":
            self.wfile.write(content[::-1])
        elif manner == "endless":
            for part in repeat(content):
                self.wfile.write(part)
        else:
            self.wfile.write(content[:length])


def main() -> None:
    address, port, file = sys.argv[1:]
    Handler.content = Path(file).read_bytes()
    server = ThreadingHTTPServer((address, int(port)), Handler)
    print("ready", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
