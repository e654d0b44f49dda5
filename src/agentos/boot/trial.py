"""One small question to the model that would serve, outside any order: does it answer, and how fast?

Rule 1: it is asked as an order would be asked, through the same driver; it is not journaled, for nothing rests on it.
"""

import asyncio
import time
from collections.abc import Mapping

import msgspec

from agentos.abi.inference import Message, Request, Text, Usage
from agentos.boot.models import Misconfigured, choose, open_backend, probes_of
from agentos.ports.inference import InferenceError

QUESTION = "Answer with the one word: ready"
OUTPUT_TOKENS_MAX = 64  # enough for a model that thinks a little first, and a fraction of a cent anywhere
WAIT_S = 120.0  # a small model on a slow machine loads for a minute


class Silent(Exception):
    """The model did not answer; the message says what happened, and the way out."""


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What came back."""

    model: str
    text: str
    usage: Usage
    took_ns: int


def ask(env: Mapping[str, str]) -> Trial:
    """Ask the model that this environment chooses. Misconfigured or Silent when there is none."""
    return asyncio.run(_ask(env))


async def _ask(env: Mapping[str, str]) -> Trial:
    choice = choose(env, probes_of(env, lambda _: False))
    if choice.backend == "scripted":
        raise Misconfigured(f"there is no model to ask: {choice.reason}")
    backend = open_backend(choice, env)
    request = Request(
        model=choice.model, messages=(Message("user", (Text(QUESTION),)),), output_tokens_max=OUTPUT_TOKENS_MAX
    )
    began_ns = time.monotonic_ns()
    try:
        async with asyncio.timeout(WAIT_S):
            answer = await backend.generate(request, key=f"trial-{began_ns}")
    except InferenceError as error:
        raise Silent(f"{choice.backend} {choice.model} did not answer: {error}; look at agentos models ls") from error
    except TimeoutError:
        raise Silent(f"{choice.backend} {choice.model} did not answer within {WAIT_S:.0f} s; try again") from None
    finally:
        await backend.close()
    return Trial(model=answer.model, text=answer.text, usage=answer.usage, took_ns=time.monotonic_ns() - began_ns)
