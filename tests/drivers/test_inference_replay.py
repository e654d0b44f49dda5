"""The record as files: what a repository holds and a person reads."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from agentos.abi.inference import Message, Request, Text
from agentos.drivers.inference_replay import Folder, Recording, Replay, digest_of
from agentos.drivers.inference_scripted import Scripted, parse
from agentos.ports.inference import Garbled, Refused, Unreachable


def ask(words: str) -> Request:
    return Request(model="m", messages=(Message("user", (Text(words),)),), output_tokens_max=50)


def live() -> Scripted:
    return Scripted(parse({"lines": [{"when": {"contains": "cut"}, "fault": "cut"}, {"say": "ok"}]}))


def test_a_record_on_disk_is_replayed_by_another_process(tmp_path: Path) -> None:
    first = asyncio.run(Recording(live(), Folder(tmp_path)).generate(ask("hello"), key="k"))
    again = Replay(Folder(tmp_path))
    answer = asyncio.run(again.generate(ask("hello"), key="k"))
    assert answer == msgspec.structs.replace(first, provider="replay")
    assert (again.abilities().zone, again.abilities().family) == ("local", "scripted")
    assert (tmp_path / f"{digest_of(ask('hello'))}.json").read_text().count("\n") > 5  # laid out for a reader


def test_what_failed_is_not_recorded(tmp_path: Path) -> None:
    recording = Recording(live(), Folder(tmp_path))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(Unreachable):
        asyncio.run(recording.generate(ask("cut me"), key="k"))
    assert sorted(tmp_path.iterdir()) == before


def test_a_damaged_exchange_is_garbled_and_an_empty_record_says_that_it_is(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="empty"):
        asyncio.run(Replay(Folder(tmp_path)).generate(ask("hello"), key="k"))
    Folder(tmp_path).put(digest_of(ask("hello")), b'{"request": 3}')
    with pytest.raises(Garbled, match="record it again"):
        asyncio.run(Replay(Folder(tmp_path)).generate(ask("hello"), key="k"))


def test_what_changes_from_run_to_run_can_be_taken_out_of_the_key(tmp_path: Path) -> None:
    def normalise(request: Request) -> Request:
        words = request.messages[0].content[0]
        assert isinstance(words, Text)
        return ask(words.text.split(" at ")[0])

    recording = Recording(live(), Folder(tmp_path), normalise=normalise)
    asyncio.run(recording.generate(ask("build at 10:00"), key="k"))
    replay = Replay(Folder(tmp_path), normalise=normalise)
    assert asyncio.run(replay.generate(ask("build at 11:30"), key="k")).text == "ok"
    with pytest.raises(Refused, match="nearest"):
        asyncio.run(replay.generate(ask("deploy at 11:30"), key="k"))
