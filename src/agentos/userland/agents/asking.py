"""Asking a model: words in, words or a short decision out.

Rule 1: code is asked for in fenced blocks and never inside JSON, which makes small models worse at it.
Rule 2: decisions are short, and held to a schema where the backend can; where it cannot, the same fields are read out of
        its words, or the answer is no decision.
Rule 3: what a model does not answer properly is `Garbled`, the program's to handle; that it does not answer at all is the
        refusal of the call, which ends the program unless it says otherwise.
"""

import re
from typing import Any

import msgspec

from agentos.abi.inference import Answer, Message, Request, Text
from agentos.sdk import System
from agentos.sdk.errors import Broken, TimedOut

DECISION_TOKENS_MAX = 400  # a word and up to five short lines
WORDS_TOKENS_MAX = 1_200  # a page; with a page of prompt it fits a context of 4,096
RETRY_TEMPERATURE_MILLI = 500  # enough to leave a loop of dashes, not enough to leave the facts

DEAD = (Broken, TimedOut)  # how a call says that a model is not to be had

_FENCE = re.compile(r"^(`{3,}|~{3,})[^\n]*\n(.*?)^\1[ \t]*$", re.DOTALL | re.MULTILINE)
# A page in a fence that has fences of its own: from the first mark to the last, where the first says that it is a page.
_PAGE = re.compile(r"^(```)(?:markdown|md)[ \t]*\n(.*)^```[ \t]*$", re.DOTALL | re.MULTILINE)


class Garbled(ValueError):
    """The model answered, and the answer is not what was asked for."""


def user(text: str) -> Message:
    return Message("user", (Text(text),))


def assistant(text: str) -> Message:
    return Message("assistant", (Text(text),))


async def words(
    os: System, prompt: str, *, model_class: str, phase: str, tries: int = 1, tokens_max: int = WORDS_TOKENS_MAX
) -> Answer:
    """One prompt, one answer. A second try is asked with some chance, seeded: cold, a small model repeats its mistake."""
    warmth = 0 if tries == 1 else RETRY_TEMPERATURE_MILLI
    request = Request(
        model="",
        messages=(user(prompt),),
        output_tokens_max=tokens_max,
        temperature_milli=warmth,
        seed=tries if warmth else None,
    )
    return await os.infer(request, model_class=model_class, phase=phase)


async def decide(
    os: System, prompt: str, schema: dict[str, Any], *, model_class: str, phase: str
) -> tuple[dict[str, Any], Answer]:
    """A short decision that fits the schema, and the answer it came in; Garbled if it is none."""
    request = Request(model="", messages=(user(prompt),), output_tokens_max=DECISION_TOKENS_MAX, schema=schema)
    try:
        answer = await os.infer(request, model_class=model_class, phase=phase)
    except Broken as error:
        if "JSON mode" not in error.refusal.fact:
            raise
        asked = f"{prompt}\n\nAnswer with one JSON object with the fields {', '.join(schema['properties'])}, alone."
        plain = msgspec.structs.replace(request, messages=(user(asked),), schema=None)
        answer = await os.infer(plain, model_class=model_class, phase=phase)
    return fitting(answer.text, schema), answer


def fitting(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The object that the text is, or holds, if it fits a schema of flat fields; Garbled if not."""
    start, end = text.find("{"), text.rfind("}")
    try:
        got = msgspec.json.decode(text[start : end + 1].encode())
    except (msgspec.DecodeError, RecursionError):
        raise Garbled(f"the model's decision is no JSON object: {text[:120]!r}") from None
    if not isinstance(got, dict):
        raise Garbled(f"the model's decision is no JSON object: {text[:120]!r}")
    for name in schema["required"]:
        wrong = _fault(got.get(name), schema["properties"][name])
        if wrong:
            raise Garbled(f"the field {name!r} of the model's decision {wrong}")
    return got


def _fault(value: object, schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return "" if value in schema["enum"] else f"is {str(value)[:40]!r}, none of {', '.join(schema['enum'])}"
    if schema["type"] == "array":
        is_text = isinstance(value, list) and all(isinstance(item, str) for item in value)
        return "" if is_text else "is no list of texts"
    return "" if isinstance(value, str) else "is no text"


def fenced(text: str) -> list[str]:
    """The contents of the fenced blocks, in order. A block that is never closed runs to the end."""
    page = _PAGE.search(text)
    inner = re.search(r"^```(.*)$", page[2], re.MULTILINE) if page else None
    if page and inner and inner[1].strip() and page[2].count("```") % 2 == 0:
        return [page[2]]  # the first mark inside opens a block, so the page goes on behind it
    found = [match[2] for match in _FENCE.finditer(text)]
    if found:
        return found
    opened = re.search(r"^(?:`{3,}|~{3,})[^\n]*\n", text, re.MULTILINE)
    return [text[opened.end() :]] if opened else []
