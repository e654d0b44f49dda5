"""The inference port: a model behind some wire. Drivers translate and count; they route, retry and price nothing
beyond what a single exchange needs.

Rule 1: `generate` answers with what the provider counted. No usage from the provider means `is_metered=False`.
Rule 2: cancelling the awaiting task cancels the exchange upstream; nothing keeps running.
Rule 3: what goes wrong is one of the exceptions below, never another.
"""

from collections.abc import AsyncIterator
from typing import Protocol

from agentos.abi.inference import Abilities, Answer, Delta, Request


class InferenceError(Exception):
    """Base; `is_retryable` says whether the same request may succeed later, `retry_after_ns` when."""

    is_retryable = False
    retry_after_ns: int | None = None


class Unreachable(InferenceError):
    """No connection, or it broke before the answer was complete."""

    is_retryable = True
    is_sent = True  # False where the request certainly never reached the provider: then nothing was charged


class Throttled(InferenceError):
    """The provider asks to wait (429, 529, 503)."""

    is_retryable = True


class Refused(InferenceError):
    """The provider will not serve this request (400, 401, 403, 404, context too long)."""


class Garbled(InferenceError):
    """The provider answered with something that is not an answer."""


class Inference(Protocol):
    name: str

    def abilities(self) -> Abilities: ...
    async def generate(self, request: Request, *, key: str) -> Answer: ...  # key: idempotency key of the attempt
    def stream(self, request: Request, *, key: str) -> AsyncIterator[Delta | Answer]: ...  # ends with one Answer
    async def close(self) -> None: ...
