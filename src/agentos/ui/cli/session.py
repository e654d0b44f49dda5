"""What every command has: where the workspace is, how to ask the daemon, how to read the record without it.

Rule 1: what is on record can be read while nothing runs: from the daemon when there is one, else from the disk.
Rule 2: the daemon is started only by a command that hands something in.
"""

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from agentos.ui.cli.screen import Screen

if TYPE_CHECKING:  # loading these costs more than many a command
    from agentos.abi.calls import AnyCall
    from agentos.abi.ids import Digest
    from agentos.abi.replies import AnyReply
    from agentos.views.base import Fact


class Client(Protocol):
    """The daemon, as the command line sees it: `agentos.boot.client.Client`."""

    def call(self, call: "AnyCall", blobs: "Mapping[Digest, bytes]" = ...) -> "AnyReply": ...
    def status(self) -> Any: ...
    def follow(self, *, order: str = "", after: int = 0, is_live: bool = True) -> "Iterator[Fact]": ...
    def blob(self, digest: "Digest") -> bytes | None: ...
    def stop(self) -> None: ...


class Session:
    """One run of the command line."""

    def __init__(
        self,
        *,
        home: Path | None = None,
        screen: Screen | None = None,
        env: Mapping[str, str] = os.environ,
        folder: Path | None = None,
    ) -> None:
        self.env = env
        self.screen = screen or Screen(env=env)
        self.folder = folder or Path.cwd()  # where the person stands
        self.is_debug = False
        self._home = home
        self._client: Client | None = None
        self._blobs: dict[str, bytes | None] = {}

    @property
    def home(self) -> Path:
        """The workspace's folder."""
        if self._home is None:
            from agentos.boot.workspace import home

            self._home = home(self.env)
        return self._home

    @home.setter
    def home(self, path: Path) -> None:
        self._home = path

    def now_ns(self) -> int:
        """What time it is for whoever looks."""
        return time.time_ns()

    def connect(self, *, is_starting: bool = True) -> Client:
        """A connection of one's own to the daemon."""
        from agentos.boot.client import Client as Daemon

        return Daemon.open(self.home, is_starting=is_starting)

    def client(self) -> Client:
        """The daemon, started if it does not run."""
        if self._client is None:
            self._client = self.connect()
        return self._client

    def forget(self) -> None:
        """The daemon was started anew: the connection to the one before is no use."""
        self._client = None

    def running(self) -> Client | None:
        """The daemon, if it runs."""
        from agentos.boot.client import Unreachable

        if self._client is None:
            try:
                self._client = self.connect(is_starting=False)
            except Unreachable:
                return None
        return self._client

    def facts(self) -> "list[Fact]":
        """What is on record, oldest first. NoWorkspace where nothing was ever handed in."""
        client = self.running()
        return self._read() if client is None else list(client.follow(is_live=False))

    def facts_or_none(self) -> "list[Fact]":
        """What is on record; nothing where there is no workspace yet."""
        from agentos.boot.client import NoWorkspace

        try:
            return self.facts()
        except NoWorkspace:
            return []

    def _read(self) -> "list[Fact]":
        from agentos.boot.client import Reader
        from agentos.ports.journal import Locked

        try:
            reader = Reader.open(self.home)
        except Locked:  # a daemon took the journal since we asked; it answers in a moment
            return list(self.client().follow(is_live=False))
        try:
            return list(reader.facts())
        finally:
            reader.close()

    def blob(self, digest: "Digest") -> bytes | None:
        """Content by its digest; None when it is not here."""
        if digest not in self._blobs:
            self._blobs[digest] = self._fetched(digest)
        return self._blobs[digest]

    def _fetched(self, digest: "Digest") -> bytes | None:
        client = self.running()
        if client is not None:
            return client.blob(digest)
        from agentos.boot.client import Reader

        reader = Reader.open(self.home)
        try:
            return reader.blob(digest)
        finally:
            reader.close()
