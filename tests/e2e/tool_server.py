"""A service on the loopback that does things by key and keeps its own log of them: what a kernel's promise is judged by.

    POST /do    {"key", "item", "kind"}     done after a moment, answered after another
    GET  /did?key=K                         whether it was done

Rule 1: it forgives nothing but what the kind allows: a service of kind `idempotent` does a key once however often it is
        asked; one of kind `queryable` or `once` does it each time, which is what the caller must not let happen.
"""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit


class Deed(NamedTuple):
    """Something that was really done."""

    key: str
    item: str
    kind: str
    at: float


class ToolServer:
    """Serves in threads of this process until closed."""

    def __init__(self, *, seed: int = 0, pause_s: float = 0.04) -> None:
        self.deeds: list[Deed] = []
        self.asked = 0
        self.busy = 0  # requests inside, done or not
        self.changed = threading.Condition()
        self._random, self._pause_s = Random(seed), pause_s
        outer = self

        class Requests(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.enter(1)
                try:
                    outer.do(Deed(told["key"], told["item"], told["kind"], time.time()))
                    self.answer({"done": told["item"]})
                finally:
                    outer.enter(-1)

            def do_GET(self) -> None:
                key = parse_qs(urlsplit(self.path).query)["key"][0]
                self.answer({"did": any(deed.key == key for deed in outer.deeds)})

            def answer(self, value: object) -> None:
                body = json.dumps(value).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def handle(self) -> None:
                try:
                    super().handle()
                except ConnectionError:
                    pass  # the caller was killed: what these tests are about

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Requests)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def enter(self, change: int) -> None:
        with self.changed:
            self.busy += change
            self.asked += change > 0
            self.changed.notify_all()

    def do(self, deed: Deed) -> None:
        self._pause()
        with self.changed:
            if deed.kind != "idempotent" or all(deed.key != earlier.key for earlier in self.deeds):
                self.deeds.append(deed)
            self.changed.notify_all()
        self._pause()

    def _pause(self) -> None:
        with self.changed:
            span_s = self._random.uniform(0, 2 * self._pause_s)
        time.sleep(span_s)  # the service's own slowness, in which a caller may die

    def doubled(self) -> list[str]:
        """Items that were done more than once, whatever the keys."""
        items = [deed.item for deed in self.deeds]
        return sorted({item for item in items if items.count(item) > 1})
