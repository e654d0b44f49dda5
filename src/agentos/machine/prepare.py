"""What is not pure is asked before the decision, and enters with the call: routes, bounds, prices, manifests, schemas.

Rule 1: the bound is an upper bound. Input is at most one token for each INPUT_BYTES_PER_TOKEN bytes, output is the
        request's own hard limit, and the price is the table's for both.
Rule 2: what a caller wrote into an entered field is overwritten.
Rule 3: a request that cannot be read enters all the same, with no backend: the kernel refuses or fails it on record.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from agentos.abi.calls.base import Call
from agentos.abi.calls.device import Infer, Invoke
from agentos.abi.calls.ipc import Publish
from agentos.abi.ids import Digest
from agentos.abi.inference import Request
from agentos.abi.limits import value
from agentos.ports.blobs import Blobs, Corrupt, Missing
from agentos.ports.tool import Tool

INPUT_BYTES_PER_TOKEN = 2  # English runs at 4, code at 3, the densest scripts near 2 bytes for each token
FAULT_CHARS_MAX = 500  # a sentence or two; the message itself is the sender's to look at
OVERHEAD_TOKENS = 512  # a chat template, tool schemas' wrapping, and what else a provider adds around the words

_DECODER = msgspec.msgpack.Decoder(Request)


class Route(NamedTuple):
    """Where a model class is served, and what that costs."""

    backend: str
    model: str
    bound_uusd: Callable[[int, int], int]  # (input tokens, output tokens) -> micro-USD at most
    price: str  # version of the table


def request_of(blobs: Blobs, request: bytes) -> Request:
    """The request a blob holds; msgspec.DecodeError if it is none."""
    return _DECODER.decode(request)


class Preparer:
    """Fills the entered fields."""

    def __init__(
        self,
        blobs: Blobs,
        routes: Mapping[str, Route],
        tools: Mapping[str, Tool],
        schema_of: Callable[[str], Digest | None] = lambda channel: None,
    ) -> None:
        self._blobs, self._routes, self._tools, self._schema_of = blobs, routes, tools, schema_of
        self._validators: dict[Digest, Callable[[object], object]] = {}

    def enter(self, call: Call) -> Call:
        """The call as it is decided on."""
        if isinstance(call, Infer):
            return self._infer(call)
        if isinstance(call, Invoke):
            tool = self._tools.get(call.tool)
            return msgspec.structs.replace(call, repeat=tool.manifest.repeat if tool else "once")
        if isinstance(call, Publish):
            return msgspec.structs.replace(call, fault=self._mismatch(call))
        return call

    def _mismatch(self, call: Publish) -> str:
        """What the channel's schema says against a message; "" when it has none or matches."""
        schema = self._schema_of(call.channel)
        if schema is None:
            return ""
        from fastjsonschema import JsonSchemaException

        try:
            self._validator(schema)(msgspec.json.decode(self._blobs.get(call.body)))
        except (JsonSchemaException, msgspec.DecodeError, Missing) as error:
            return str(error)[:FAULT_CHARS_MAX]
        return ""

    def _validator(self, schema: Digest) -> Callable[[object], object]:
        """The schema as a function, made once. A schema that is none lets nothing through."""
        if schema not in self._validators:
            import fastjsonschema

            self._validators[schema] = fastjsonschema.compile(msgspec.json.decode(self._blobs.get(schema)))
        return self._validators[schema]

    def _infer(self, call: Infer) -> Infer:
        route = self._routes.get(call.model_class)
        try:
            content = self._blobs.get(call.request)
            request = _DECODER.decode(content)
        except (Missing, Corrupt, msgspec.DecodeError):
            return msgspec.structs.replace(
                call, backend="", input_tokens_max=0, output_tokens_max=0, bound_uusd=0, price=""
            )
        inputs = len(content) // INPUT_BYTES_PER_TOKEN + OVERHEAD_TOKENS
        outputs = max(request.output_tokens_max, 0)
        if route is None or len(content) > value("content_bytes_max"):
            return msgspec.structs.replace(
                call, backend="", input_tokens_max=inputs, output_tokens_max=outputs, bound_uusd=0, price=""
            )
        return msgspec.structs.replace(
            call,
            backend=route.backend,
            input_tokens_max=inputs,
            output_tokens_max=outputs,
            bound_uusd=route.bound_uusd(inputs, outputs),
            price=route.price,
        )
