"""How a command reaches the workspace: over the daemon's socket, started when it is not there; or, with the daemon
dead, by reading what is on disk.

Rule 1: blocking and standard library only, for a command line must start fast.
Rule 2: a daemon is started detached, once: whoever comes at the same time waits for the same one.
Rule 3: whatever goes wrong is `Unreachable`, with the fact and the way out.
"""

import base64
import fcntl
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from agentos.abi.calls import AnyCall
from agentos.abi.events import AnyEvent
from agentos.abi.ids import Digest
from agentos.abi.replies import AnyReply, Response
from agentos.boot.workspace import Folder, home
from agentos.sdk.errors import raising
from agentos.views.base import Fact

START_S = 30.0  # a cold start on a slow disk takes three; ten times that is a fault
CONNECT_S = 5.0
STOP_S = 30.0  # what is in flight is cancelled, workers are killed; a second is usual

__all__ = ["Client", "NoWorkspace", "Reader", "Status", "Unreachable", "home"]


class Unreachable(Exception):
    """No daemon answers, and none could be started."""


class NoWorkspace(Exception):
    """There is no workspace in that folder yet."""


class Status(msgspec.Struct, kw_only=True):
    """What the daemon says of itself."""

    version: str
    home: str
    pid: int
    workspace: str
    epoch: int
    events: int
    processes: int
    orders_open: int
    questions_open: int
    effects_in_flight: int
    models: list[dict[str, str]]
    isolation: dict[str, Any]


class _Frame(msgspec.Struct):
    """What the daemon sends."""

    op: str
    id: int = 0
    response: Response | None = None
    fact: tuple[int, int, int, str, str, str, str, AnyEvent] | None = None
    content: str | None = None
    status: Status | None = None


_DECODE = msgspec.json.Decoder(_Frame).decode
_ENCODE = msgspec.json.Encoder().encode


class Client:
    """One connection. Not for several threads."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lines = connection.makefile("rb")
        self._last = 0

    @staticmethod
    def open(home: Path, *, is_starting: bool = True, script: Path | None = None) -> "Client":
        """A connection to the workspace's daemon, which is started if it is not there."""
        folder = Folder(home)
        connection = _connect(folder)
        if connection is None and is_starting:
            connection = _start(folder, script)
        if connection is None:
            raise Unreachable(f"no daemon runs for {home}; start one with: agentos sys up")
        return Client(connection)

    def close(self) -> None:
        self._lines.close()
        self._connection.close()

    def call(self, call: AnyCall, blobs: Mapping[Digest, bytes] = {}) -> AnyReply:
        """The reply; a refusal is raised as its exception."""
        body = {digest: base64.b64encode(content).decode() for digest, content in blobs.items()}
        frame = self._ask({"op": "call", "call": call, "blobs": body})
        assert frame.response is not None
        if frame.response.refusal is not None:
            raise raising(frame.response.refusal)
        assert frame.response.reply is not None
        return frame.response.reply

    def status(self) -> Status:
        status = self._ask({"op": "status"}).status
        assert status is not None
        return status

    def blob(self, digest: Digest) -> bytes | None:
        content = self._ask({"op": "blob", "digest": digest}).content
        return None if content is None else base64.b64decode(content)

    def follow(self, *, order: str = "", after: int = 0, is_live: bool = True) -> Iterator[Fact]:
        """History after a number, and then what happens. Use a client of its own: it serves nothing else meanwhile."""
        number = self._send({"op": "follow", "order": order, "after": after, "is_live": is_live})
        while (frame := self._read(number)).op != "end":
            assert frame.fact is not None
            yield Fact(*frame.fact)

    def stop(self) -> None:
        """End the daemon, in order; returns when it no longer answers."""
        self._ask({"op": "stop"})
        self._connection.settimeout(STOP_S)
        try:
            while self._lines.readline():
                continue
        except TimeoutError:
            raise Unreachable(f"the daemon has not ended within {STOP_S:.0f} s; look at its log, or kill it") from None

    def _ask(self, frame: dict[str, Any]) -> _Frame:
        return self._read(self._send(frame))

    def _send(self, frame: dict[str, Any]) -> int:
        self._last += 1
        frame["id"] = self._last
        try:
            self._connection.sendall(_ENCODE(frame) + b"\n")
        except OSError as error:
            raise Unreachable(f"the daemon went away: {error}; look at agentos sys status") from error
        return self._last

    def _read(self, number: int) -> _Frame:
        while raw := self._line():
            head = json.loads(raw) if b'"refused"' in raw[:20] else None
            if head is not None and head.get("op") == "refused":
                raise Unreachable(str(head.get("fact", "the daemon refused the frame")))
            frame = _DECODE(raw)
            if frame.id == number:
                return frame
        raise Unreachable("the daemon went away in the middle; what it had promised is kept: ask again")

    def _line(self) -> bytes:
        try:
            return self._lines.readline()
        except ConnectionError:  # it died: for us that is its end
            return b""


def _connect(folder: Folder) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(CONNECT_S)
    try:
        connection.connect(str(folder.socket))
    except OSError:
        connection.close()
        return None
    connection.settimeout(None)
    return connection


def _start(folder: Folder, script: Path | None) -> socket.socket | None:
    """Start the daemon, or wait for the one that somebody else is starting."""
    folder.make()
    with open(folder.home / "starting.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        connection = _connect(folder)
        if connection is not None:
            return connection
        argv = [sys.executable, "-m", "agentos.boot.daemon", "--home", str(folder.home)]
        argv += ["--scripted", str(script)] if script else []
        log = folder.log / "daemon.log"
        began = log.stat().st_size if log.exists() else 0
        with open(log, "ab") as out:
            child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            connection = _connect(folder)
            if connection is not None:
                return connection
            if child.poll() is not None:
                raise Unreachable(f"the daemon did not start: {_last_words(log, began)}")
            time.sleep(0.02)
        raise Unreachable(f"the daemon did not answer within {START_S:.0f} s; its log is {log}")


def _last_words(log: Path, began: int) -> str:
    with open(log, "rb") as lines:
        lines.seek(began)
        words = [line for line in lines.read().decode("utf-8", "replace").splitlines() if line.strip()]
    return words[-1] if words else f"it said nothing; its log is {log}"


class Reader:
    """Facts and content from disk, with the daemon dead. Holds the workspace's lock while it is open."""

    def __init__(self, folder: Folder) -> None:
        from agentos.drivers.blobs_files import FileBlobs
        from agentos.drivers.blobs_near import NearBlobs
        from agentos.drivers.journal_sqlite import SqliteJournal

        self._journal = SqliteJournal(folder.journal)
        self._blobs = NearBlobs(self._journal, FileBlobs(folder.blobs))

    @staticmethod
    def open(home: Path) -> "Reader":
        folder = Folder(home)
        if not folder.journal.exists():
            raise NoWorkspace(f'there is no workspace in {home} yet; the first order makes one: agentos do "..."')
        return Reader(folder)

    def facts(self, *, order: str = "", after: int = 0) -> Iterator[Fact]:
        from agentos.machine import codec

        rows = self._journal.read_order(order) if order else self._journal.read(after)
        for row in rows:
            if row.seq > after and row.payload is not None:
                event = codec.decode(row.type, row.version, row.payload)
                yield Fact(row.seq, row.at_ns, row.epoch, row.type, row.caller, row.cause, row.order, event)

    def blob(self, digest: Digest) -> bytes | None:
        from agentos.ports.blobs import Missing

        try:
            return self._blobs.get(digest)
        except Missing:
            return None

    def close(self) -> None:
        self._journal.close()


def environment_home() -> Path:
    """The workspace of this environment."""
    return home(os.environ)
