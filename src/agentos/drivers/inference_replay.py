"""Answers from a record: a run once made with a live backend, made again without one.

Rule 1: the record is keyed by the digest of the request alone, so replay is a function of the request and survives
        a restart. The same request twice in one recording keeps the later answer.
Rule 2: a request that was not recorded is Refused, with the nearest one that was and where they part.
Rule 3: a replayed answer keeps the counts of the recording and names its provider `replay`, because nothing was paid.
Rule 4: only whole answers are recorded; what failed is asked again.
"""

import hashlib
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing
from pathlib import Path
from typing import Any, Protocol

import msgspec

from agentos.abi.inference import Abilities, Answer, Delta, Request
from agentos.ports.inference import Garbled, Inference, Refused

_EXCERPT_CHARS = 60  # either side of the first difference
_ABILITIES_KEY = "abilities"


class Record(Protocol):
    """Where exchanges are kept. A folder (`Folder`) will do, and so will anything like a dict of bytes."""

    def get(self, key: str) -> bytes | None: ...
    def put(self, key: str, content: bytes) -> None: ...
    def keys(self) -> Iterable[str]: ...  # to name the nearest request on a miss


class Exchange(msgspec.Struct, frozen=True):
    """One recorded question with its answer."""

    request: Request
    answer: Answer


class Folder:
    """A record of one JSON file for each exchange, which a person can read and a repository can hold."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def get(self, key: str) -> bytes | None:
        path = self._path(key)
        return path.read_bytes() if path.exists() else None

    def put(self, key: str, content: bytes) -> None:
        self._root.mkdir(parents=True, exist_ok=True)
        draft = self._path(key).with_suffix(".draft")
        draft.write_bytes(msgspec.json.format(content, indent=1) + b"\n")
        draft.replace(self._path(key))  # a reader sees the old one or the new one, never half of one

    def keys(self) -> list[str]:
        return sorted(path.stem for path in self._root.glob("*.json"))

    def _path(self, key: str) -> Path:
        return self._root / f"{key}.json"


class Memory:
    """A record that ends with the process."""

    def __init__(self) -> None:
        self._held: dict[str, bytes] = {}

    def get(self, key: str) -> bytes | None:
        return self._held.get(key)

    def put(self, key: str, content: bytes) -> None:
        self._held[key] = content

    def keys(self) -> list[str]:
        return sorted(self._held)


def digest_of(request: Request) -> str:
    """The name of a request in the record: SHA-256 over its JSON with sorted keys."""
    return hashlib.sha256(_canonical(request)).hexdigest()


def _canonical(request: Request) -> bytes:
    return msgspec.json.encode(request, order="sorted")


class Recording:
    """A backend that passes everything on to `backend` and keeps what came back."""

    def __init__(
        self, backend: Inference, record: Record, *, normalise: Callable[[Request], Request] | None = None
    ) -> None:
        self.name = backend.name
        self._backend = backend
        self._record = record
        self._normalise = normalise or (lambda request: request)
        self._record.put(_ABILITIES_KEY, msgspec.json.encode(backend.abilities()))

    def abilities(self) -> Abilities:
        return self._backend.abilities()

    async def generate(self, request: Request, *, key: str) -> Answer:
        answer = await self._backend.generate(request, key=key)
        self._keep(request, answer)
        return answer

    async def stream(self, request: Request, *, key: str) -> AsyncIterator[Delta | Answer]:
        source: Any = self._backend.stream(request, key=key)
        async with aclosing(source) as items:
            async for item in items:
                if isinstance(item, Answer):
                    self._keep(request, item)
                yield item

    async def close(self) -> None:
        await self._backend.close()

    def _keep(self, request: Request, answer: Answer) -> None:
        request = self._normalise(request)
        self._record.put(digest_of(request), msgspec.json.encode(Exchange(request, answer)))


class Replay:
    """A backend that answers from the record and from nothing else."""

    def __init__(
        self, record: Record, *, name: str = "replay", normalise: Callable[[Request], Request] | None = None
    ) -> None:
        self.name = name
        self._record = record
        self._normalise = normalise or (lambda request: request)

    def abilities(self) -> Abilities:
        """What the recorded backend could do, in the zone `local`, because nothing leaves."""
        raw = self._record.get(_ABILITIES_KEY)
        if raw is None:
            raise Refused(f"the record of {self.name} is empty; record a run first")
        return msgspec.structs.replace(msgspec.json.decode(raw, type=Abilities), zone="local")

    async def generate(self, request: Request, *, key: str) -> Answer:
        request = self._normalise(request)
        digest = digest_of(request)
        raw = self._record.get(digest)
        if raw is None:
            raise Refused(self._miss(request, digest))
        return msgspec.structs.replace(_exchange(digest, raw).answer, provider="replay")

    async def stream(self, request: Request, *, key: str) -> AsyncIterator[Delta | Answer]:
        answer = await self.generate(request, key=key)
        if answer.text:
            yield Delta(answer.text)
        yield answer

    async def close(self) -> None:
        """Nothing is held."""

    def _miss(self, request: Request, digest: str) -> str:
        asked = _canonical(request).decode()
        recorded, keys = [], self._record.keys()
        for key in keys:
            raw = self._record.get(key)
            if key != _ABILITIES_KEY and raw is not None:
                recorded.append((key, _canonical(_exchange(key, raw).request).decode()))
        if not recorded:
            return f"request {digest[:12]} is not in the record of {self.name}, which is empty; record a run first"
        key, nearest = max(recorded, key=lambda pair: _common(pair[1], asked) + _common(pair[1][::-1], asked[::-1]))
        at = _common(nearest, asked)
        cut = slice(max(0, at - _EXCERPT_CHARS), at + _EXCERPT_CHARS)
        return (
            f"request {digest[:12]} is not in the record of {self.name}; the nearest is {key[:12]}, which parts from it "
            f"at character {at}: recorded {nearest[cut]!r}, asked {asked[cut]!r}; record again, or normalise the request"
        )


def _exchange(key: str, raw: bytes) -> Exchange:
    try:
        return msgspec.json.decode(raw, type=Exchange)
    except msgspec.MsgspecError as error:
        raise Garbled(f"recorded exchange {key[:12]} is damaged: {error}; record it again") from None


def _common(left: str, right: str) -> int:
    """Length of the common beginning."""
    for n, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return n
    return min(len(left), len(right))
