"""What is asked before a decision: here, whether a message is what its channel takes."""

import pytest

from agentos.abi.calls.ipc import Publish
from agentos.drivers.blobs_memory import MemoryBlobs
from agentos.machine.prepare import Preparer

SCHEMA = b'{"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}'


def entered(body: bytes, schema: bytes | None = SCHEMA, *, said: str = "") -> Publish:
    """A message as it enters, on a channel of that schema."""
    blobs = MemoryBlobs()
    digest = blobs.put(schema) if schema is not None else None
    preparer = Preparer(blobs, {}, {}, lambda channel: digest if channel == "/numbers" else None)
    call = preparer.enter(Publish(channel="/numbers", body=blobs.put(body), fault=said))
    assert isinstance(call, Publish)
    return call


def test_a_message_of_the_channels_type_enters_without_a_fault() -> None:
    assert entered(b'{"n": 1}').fault == ""
    assert entered(b"anything at all", None).fault == ""


@pytest.mark.parametrize("body", [b'{"n": "1"}', b"{}", b"[]", b"not json", b"\xff"])
def test_a_message_of_another_type_enters_with_what_is_wrong(body: bytes) -> None:
    assert entered(body).fault != ""


def test_a_schema_that_is_none_lets_nothing_through() -> None:
    assert entered(b'{"n": 1}', b'{"type": "nonsense"}').fault != ""
    assert entered(b'{"n": 1}', b"not json").fault != ""


def test_what_the_sender_says_of_itself_is_overwritten() -> None:
    assert entered(b'{"n": 1}', said="fine, really").fault == ""
