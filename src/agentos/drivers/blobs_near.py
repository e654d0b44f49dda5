"""Blobs in two places: small ones beside the events that name them, large ones wherever large ones go.

    put      at most NEAR_BYTES_MAX: onto the journal's shelf, written in the transaction of its next append
             more: to the far store
    sync     the far store's; what is near is durable with the append that follows, which is all or nothing

A model call stores its request and its answer, and as files each of them costs a file, a rename and two or three syncs:
1.6 ms of CPU and disk where the journal's own row costs 0.02. In the append's transaction they cost no sync at all.

Rule 1: a small blob is durable with the event that names it or neither is: they are one transaction.
Rule 2: what is near is found first; nothing is in both unless the bound was changed, and then both hold the same bytes.
"""

from hashlib import sha256
from typing import Protocol

from agentos.abi.ids import Digest
from agentos.ports import journal
from agentos.ports.blobs import Blobs, Corrupt, Failed

NEAR_BYTES_MAX = 8_192  # a page of the journal's file; larger ones would make its log, and so its checkpoints, slow


class Shelf(Protocol):
    """A journal that keeps small content beside its rows."""

    def keep(self, name: bytes, content: bytes) -> None: ...  # written with the next append
    def kept(self, name: bytes) -> bytes | None: ...  # at once, written or not
    def drop(self, name: bytes) -> None: ...


class NearBlobs:
    """The blob port over a shelf and a far store."""

    def __init__(self, shelf: Shelf, far: Blobs) -> None:
        self._shelf, self._far = shelf, far

    def put(self, content: bytes) -> Digest:
        if len(content) > NEAR_BYTES_MAX:
            return self._far.put(content)
        name = sha256(content)
        try:
            self._shelf.keep(name.digest(), content)
        except journal.Failed as error:
            raise Failed(str(error)) from error
        return Digest(name.hexdigest())

    def sync(self) -> None:
        self._far.sync()

    def get(self, digest: Digest) -> bytes:
        content = self._near(digest)
        if content is None:
            return self._far.get(digest)
        if sha256(content).hexdigest() != digest:
            raise Corrupt(f"blob {digest} holds other bytes than it was given; restore it from a backup")
        return content

    def has(self, digest: Digest) -> bool:
        return self._near(digest) is not None or self._far.has(digest)

    def delete(self, digest: Digest) -> None:
        name = _name(digest)
        if name is not None:
            self._shelf.drop(name)
        self._far.delete(digest)

    def _near(self, digest: Digest) -> bytes | None:
        name = _name(digest)
        try:
            return None if name is None else self._shelf.kept(name)
        except journal.Corrupt as error:
            raise Corrupt(str(error)) from error


def _name(digest: Digest) -> bytes | None:
    """A digest's 32 bytes; None for what is no digest, upper case and blanks included."""
    try:
        name = bytes.fromhex(digest)
    except ValueError:
        return None
    return name if name.hex() == digest and len(name) == 32 else None
