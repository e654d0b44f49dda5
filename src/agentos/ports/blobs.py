"""The blob port: content by its SHA-256. A blob is durable before the event that names it.

Rule 1: `put` of the same content twice is one blob. What `get` returns hashes to its name, or `Corrupt` is raised.
Rule 2: a blob becomes visible whole or not at all, after a power cut too.
Rule 3: a failed `put` leaves nothing behind. A failed `sync` raises `Failed`, and so does every later `put` and `sync`:
        what was pending may never reach the disk, so no event may name it.
        A driver beside a journal may leave what it holds to the journal's next append instead: one transaction with the
        event that names it.
Rule 4: a name that is not a digest names nothing; `delete` of what is not there does nothing.
"""

from typing import Protocol

from agentos.abi.ids import Digest


class Missing(Exception):
    """No blob of that name here."""


class Corrupt(Exception):
    """The stored bytes do not hash to their name."""


class Failed(Exception):
    """The device refused a write (full disk, I/O error); nothing that was pending counts as durable."""


class Blobs(Protocol):
    def put(self, content: bytes) -> Digest: ...  # visible here now, durable after `sync`
    def sync(self) -> None: ...  # everything put so far survives a power cut; a no-op when nothing is pending
    def get(self, digest: Digest) -> bytes: ...
    def has(self, digest: Digest) -> bool: ...
    def delete(self, digest: Digest) -> None: ...
