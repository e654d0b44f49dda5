"""The forge port: repositories, working copies, sealed commits and guarded refs.

Rule 1: the user's checkout, index and config are never touched; only objects are added and one ref is moved.
Rule 2: host git never runs what a repository brings along: hooks, filters, config, fsmonitor, attributes' drivers.
Rule 3: a ref moves by compare-and-swap. `Moved` says that it was not where the caller thought.
Rule 4: `seal` is a pure function of working copy, base and scope: the same content gives the same commit id
        (author, committer and dates are arguments).
"""

from pathlib import Path
from typing import NamedTuple, Protocol

from agentos.abi.ids import Digest
from agentos.abi.work import Change, Scope


class NotARepository(Exception):
    """There is no git repository there, or it has no commit; the message says how to make one."""


class Moved(Exception):
    """The ref was not at the expected commit."""


class Conflict(Exception):
    """The change does not apply to what is there; the message names the paths."""


class Delivered(Protocol):
    """A change in a checkout, or out of it again."""

    @property
    def id(self) -> str: ...  # the receipt that reverses it

    @property
    def paths(self) -> tuple[str, ...]: ...


class TooLarge(Exception):
    """A file, or the number of files, is over a bound; the message names the limit, its value and its key."""


class Stamp(NamedTuple):
    """Who and when, for a commit that must be reproducible."""

    name: str
    email: str
    at_s: int


class Forge(Protocol):
    name: str

    async def resolve(self, repository: Path, ref: str) -> str: ...  # commit id
    async def tree(self, repository: Path, commit: str) -> Digest: ...  # tree id, padded with zeros to 64 digits
    async def checkout(self, repository: Path, commit: str, target: Path) -> None: ...  # fresh, no shared config
    async def discard(self, target: Path) -> None: ...
    async def seal(self, target: Path, *, base: str, scope: Scope, message: str, stamp: Stamp) -> Change: ...
    async def export(self, repository: Path, commit: str, target: Path) -> None: ...  # plain files, no .git, no links
    async def fetch_into(self, repository: Path, target: Path, commit: str) -> None: ...  # a sealed commit's objects
    async def move_ref(self, repository: Path, ref: str, *, old: str | None, new: str | None, why: str) -> None: ...
    async def diff(self, repository: Path, base: str, commit: str) -> str: ...  # unified text, for people and models
    async def apply_to_checkout(self, repository: Path, commit: str, base: str) -> Delivered: ...  # all or nothing
    async def undo(self, repository: Path, receipt: str) -> Delivered: ...  # exactly, or refused
    async def checkout_worktree(self, repository: Path, target: Path) -> None: ...  # as it is, with the user's edits
