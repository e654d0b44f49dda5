"""Where a workspace lives: one folder, all of it ours, nothing of it in anybody's repository.

HOME/journal.db    the truth            HOME/blobs/      content by digest
HOME/forge/        private git objects  HOME/copies/     working copies: ORDER/ATTEMPT
HOME/socket        people's gate        HOME/log/        the daemon's and the workers' output
HOME/daemon.json   who runs it now
HOME/log/reserve   room on the disk for the last words of a daemon whose disk is full
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

SOCKET_PATH_MAX = 100  # bytes: the operating systems' bound for a socket's path is 104 to 108


class Folder(NamedTuple):
    """The paths of one workspace."""

    home: Path

    @property
    def journal(self) -> Path:
        return self.home / "journal.db"

    @property
    def blobs(self) -> Path:
        return self.home / "blobs"

    @property
    def forge(self) -> Path:
        return self.home / "forge"

    @property
    def copies(self) -> Path:
        return self.home / "copies"

    @property
    def log(self) -> Path:
        return self.home / "log"

    @property
    def daemon(self) -> Path:
        return self.home / "daemon.json"

    @property
    def reserve(self) -> Path:
        return self.log / "reserve"

    @property
    def socket(self) -> Path:
        """In the workspace, or where that path is too long for a socket, in a private folder of this user's."""
        near = self.home / "socket"
        if len(os.fsencode(near)) <= SOCKET_PATH_MAX:
            return near
        from hashlib import sha256

        name = sha256(os.fsencode(near)).hexdigest()[:16]
        return Path(os.environ.get("XDG_RUNTIME_DIR", "/tmp")) / f"agentos-{os.getuid()}" / name

    def make(self) -> None:
        """Make the folders, for the owner alone."""
        for path in (self.home, self.blobs, self.forge, self.copies, self.log, self.socket.parent):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)


def home(env: Mapping[str, str]) -> Path:
    """AGENTOS_HOME, else the user's data folder."""
    told = env.get("AGENTOS_HOME")
    if told:
        return Path(told).expanduser().absolute()
    data = env.get("XDG_DATA_HOME") or str(Path(env.get("HOME", "~")).expanduser() / ".local/share")
    return Path(data) / "agentos"
