"""The blob port: content by its SHA-256. A blob is durable before the event that names it.

Rule 1: `put` of the same content twice is one blob. What `get` returns hashes to its name, or `Corrupt` is raised.
Rule 2: a blob becomes visible whole or not at all.
"""

from typing import Protocol

from agentos.abi.ids import Digest


class Missing(Exception):
    """No blob of that name here."""


class Corrupt(Exception):
    """The stored bytes do not hash to their name."""


class Blobs(Protocol):
    def put(self, content: bytes) -> Digest: ...  # visible now, durable after `sync`
    def sync(self) -> None: ...  # everything put so far survives a power cut; a no-op when nothing is pending
    def get(self, digest: Digest) -> bytes: ...
    def has(self, digest: Digest) -> bool: ...
    def delete(self, digest: Digest) -> None: ...
