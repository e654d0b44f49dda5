"""Blobs in memory for the simulator, which knows what a power cut would leave behind."""

from hashlib import sha256

from agentos.abi.ids import Digest
from agentos.ports.blobs import Corrupt, Failed, Missing


class MemoryBlobs:
    """The blob port over two tables: what is durable, and what is only visible.

    `fail_at=n` makes the n-th `sync` fail.
    """

    def __init__(self, *, fail_at: int = 0) -> None:
        self._durable: dict[Digest, bytes] = {}
        self._visible: dict[Digest, bytes] = {}
        self._fail_at = fail_at
        self._syncs = 0
        self._fault = ""

    def put(self, content: bytes) -> Digest:
        self._ready()
        digest = Digest(sha256(content).hexdigest())
        self._visible.setdefault(digest, content)
        return digest

    def sync(self) -> None:
        self._ready()
        self._syncs += 1
        if self._syncs == self._fail_at:
            self._fault = "the blobs in memory failed, as they were told to; start again"
            raise Failed(self._fault)
        self._durable = dict(self._visible)

    def get(self, digest: Digest) -> bytes:
        if digest not in self._visible:
            raise Missing(f"blob {digest!r} is not in memory")
        content = self._visible[digest]
        if sha256(content).hexdigest() != digest:
            raise Corrupt(f"blob {digest} holds other bytes than it was given")
        return content

    def has(self, digest: Digest) -> bool:
        return digest in self._visible

    def delete(self, digest: Digest) -> None:
        self._ready()
        self._visible.pop(digest, None)

    def spoil(self, digest: Digest) -> None:
        """Flip a bit of what is stored, as a bad medium does."""
        content = self._visible[digest]
        self._visible[digest] = bytes([content[0] ^ 1]) + content[1:] if content else b"\0"

    def image(self) -> "MemoryBlobs":
        """The poorest that a power cut here could leave: what was synced and not deleted since."""
        image = MemoryBlobs()
        image._visible = {digest: content for digest, content in self._durable.items() if digest in self._visible}
        image._durable = dict(image._visible)
        return image

    def _ready(self) -> None:
        if self._fault:
            raise Failed(self._fault)
