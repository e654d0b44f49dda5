"""The journal's hash chain: what makes a journal evidence, for people who do not trust whoever keeps it.

    commitment  = SHA-256("agentos/1/payload" 0x00, salt, payload)
    header      = ["workspace uuid", seq, at_ns, epoch, "type", version, "caller", "cause", "order"]     as JSON, no blanks
    hash        = SHA-256("agentos/1/event" 0x00, hash of the event before, header, commitment)
    first hash  = SHA-256("agentos/1/genesis" 0x00, workspace uuid)            stands before event 1

Rule 1: the three kinds of digest have prefixes of their own, so none can be passed off as another; salt, hash and
        commitment have fixed lengths and the header is a JSON array, so no two inputs run together into one text.
Rule 2: the payload enters by its commitment only, so salt and payload can be erased and the chain still verifies. The
        salt (16 random bytes, new for each event) keeps a short payload from being guessed from what is left.
Rule 3: the header is what any JSON writer gives (UTF-8, shortest escapes), so a stranger can verify with a few lines of
        another language. Its form never changes; another form is another number in the prefixes.
Rule 4: payloads are bytes here. What they mean is the codec's affair.

What a chain cannot see: that its end was cut off (compare `Proof.seq` and `Proof.hash` with a head kept elsewhere), and
whether a payload was erased with the right to do so (compare `Proof.erased` with the journal's own events of erasure).

After RFC 9162 (prefixes against second preimages) and Crosby and Wallach, "Efficient Data Structures for Tamper-Evident
Logging" (2009); a plain chain and not a tree, since a workspace's journal is read from front to back anyway.
"""

from collections.abc import Callable, Iterable
from hashlib import sha256
from io import BytesIO
from typing import NamedTuple

import msgspec

from agentos.ports.journal import Row

SALT_BYTES = 16  # 128 bits: as hard to guess as a key
HASH_BYTES = 32
POOL_BYTES = 4_096  # 256 salts

_PAYLOAD = b"agentos/1/payload\0"
_EVENT = b"agentos/1/event\0"
_GENESIS = b"agentos/1/genesis\0"

_encode = msgspec.json.Encoder().encode


class Header(NamedTuple):
    """What is known of an event without its payload; the fields of a `Row` up to the salt, in its order."""

    seq: int
    at_ns: int
    epoch: int
    type: str
    version: int
    caller: str
    cause: str
    order: str


class Breach(NamedTuple):
    """The first row that is not what was sealed."""

    seq: int  # where the row should stand
    fact: str  # what is wrong with it


class Proof(NamedTuple):
    """What `verify` found: everything up to `seq` is as it was sealed, and `breach` says what is not, if anything."""

    seq: int  # last good event, or the one before the first that was given
    hash: bytes  # its hash: the head to compare with one kept elsewhere
    rows: int  # good events
    erased: int  # of these, how many have lost their payload
    breach: Breach | None


def pooled(source: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """The same source, asked for POOL_BYTES at a time: a system call for each salt costs more than sealing with it."""
    pool = BytesIO()

    def draw(count: int) -> bytes:
        assert count <= POOL_BYTES, "a draw is a salt or a few"
        drawn = pool.read(count)
        if len(drawn) < count:  # what is left of a pool is thrown away, so that no two salts share a byte
            pool.seek(0)
            pool.write(source(POOL_BYTES))
            pool.seek(0)
            drawn = pool.read(count)
        return drawn

    return draw


def genesis(workspace: str) -> bytes:
    """The hash that stands before a workspace's first event."""
    return sha256(_GENESIS + workspace.encode()).digest()


def commit(salt: bytes, payload: bytes) -> bytes:
    """The commitment to a payload, which reveals nothing of it without the salt."""
    return sha256(_PAYLOAD + salt + payload).digest()


def seal(previous: bytes, workspace: str, header: Header, *, salt: bytes, payload: bytes) -> Row:
    """The row that follows the one whose hash is `previous`, ready to append."""
    assert len(previous) == HASH_BYTES, "a hash of the event before, or genesis"
    assert len(salt) == SALT_BYTES, "the salt's length is part of the format"
    commitment = commit(salt, payload)
    return Row(*header, salt, payload, commitment, _link(previous, workspace, header, commitment))


def verify(rows: Iterable[Row], workspace: str, *, previous: bytes, after: int = 0) -> Proof:
    """Check rows that follow event `after`, whose hash is `previous`. Stops at the first breach. O(rows), constant memory."""
    seq = after
    erased = 0
    for row in rows:
        fact = _fault(row, workspace, seq + 1, previous)
        if fact:
            return Proof(seq, previous, seq - after, erased, Breach(seq + 1, fact))
        seq, previous = row.seq, row.hash
        erased += row.payload is None
    return Proof(seq, previous, seq - after, erased, None)


def _fault(row: Row, workspace: str, seq: int, previous: bytes) -> str:
    """What is wrong with the row that should be event `seq`; "" if nothing is."""
    if row.seq != seq:
        return f"event {seq} is missing: {row.seq} stands in its place"
    if row.payload is None:
        if row.salt:
            return f"event {seq} has lost its payload but not its salt: that is no erasure"
    elif len(row.salt) != SALT_BYTES or commit(row.salt, row.payload) != row.commitment:
        return f"the payload of event {seq} is not the one it was sealed with"
    if _link(previous, workspace, Header._make(row[:8]), row.commitment) != row.hash:
        return f"event {seq} does not follow from the one before: a header, a commitment or a hash was changed"
    return ""


def _link(previous: bytes, workspace: str, header: Header, commitment: bytes) -> bytes:
    return sha256(_EVENT + previous + _encode((workspace, *header)) + commitment).digest()
