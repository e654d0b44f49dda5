"""What nobody meant to send: models that fail, content without measure, disks that are full, files that are damaged.

The daemon refuses, or ends with a last line that says why; what it had promised is there when it is started again.
"""

import base64
import ctypes
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentos.abi.calls.process import Whoami
from agentos.abi.effects import Generate
from agentos.abi.events.call import EffectIntended, EffectRetried, EffectSettled
from agentos.abi.events.ipc import ArtifactAttached
from agentos.abi.events.work import OrderClosed
from agentos.boot.client import Client, Unreachable
from tests.e2e.town import ROOT, Town, events, is_running, wait_until

IS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not IS_ROOT, reason="mounts and other users take root")

SCRIPT = {
    "lines": [
        {"when": {"contains": "garbage"}, "fault": "garbage"},
        {"when": {"contains": "empty"}, "fault": "empty"},
        {"when": {"contains": "throttled"}, "fault": "throttle", "times": 2, "retry_after_ms": 20},
        {"when": {"contains": "cut"}, "fault": "cut", "times": 1},
        {"when": {"contains": "hang"}, "fault": "hang"},
        {"when": {}, "say": "a word"},
    ]
}


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    made = Town(tmp_path, script=SCRIPT)
    try:
        yield made
    finally:
        made.close()


def answer(town: Town, client: Client, order: str) -> str:
    """What the worker was told."""
    attached = [event for event in events(town.facts(client, order=order), ArtifactAttached) if event.name == "/answer"]
    content = client.blob(attached[-1].content)
    assert content is not None
    return content.decode()


def test_a_model_that_fails_is_a_refusal_and_its_order_goes_on(town: Town) -> None:
    client = town.up()
    orders = {
        words: town.submit(client, "asking", words=words) for words in ("garbage", "empty", "throttled", "cut", "hello")
    }
    orders["long"] = town.submit(client, "asking", words="words and words ", times=10_000)
    orders["flood"] = town.submit(client, "flooding")
    for order in orders.values():
        town.wait_for(client, OrderClosed, order)
    assert answer(town, client, orders["garbage"]).startswith("Broken: openai garbled")
    assert answer(town, client, orders["empty"]).startswith("Broken: openai garbled")
    for words in ("throttled", "cut", "hello"):
        assert answer(town, client, orders[words]) == "a word"
    retried = events(town.facts(client, order=orders["throttled"]), EffectRetried)
    assert [event.written_off.uusd for event in retried] == [0, 0], "a provider that says no has not charged"
    assert answer(town, client, orders["long"]) == "a word"
    (asked,) = [event for event in intended(town, client, orders["long"]) if isinstance(event.what, Generate)]
    used = max(exchange["usage"]["prompt_tokens"] for exchange in town.model.exchanges() if exchange["usage"])
    assert 40_000 <= used <= asked.reserved.tokens, "160 kB crossed whole, and were reserved for"
    assert client.status().pid == town.pids[0]


def intended(town: Town, client: Client, order: str) -> list[EffectIntended]:
    return events(town.facts(client, order=order), EffectIntended)


def test_a_model_that_hangs_holds_up_nobody_else(town: Town) -> None:
    client = town.up()
    hanging = town.submit(client, "asking", words="hang")
    wait_until(lambda: events(town.facts(client, order=hanging), EffectIntended), "it to hang")
    town.wait_for(client, OrderClosed, town.submit(client, "asking"))
    client.stop()
    wait_until(lambda: not is_running(town.pids[0]), "the daemon to end though a model hangs", bound_s=15)
    client = town.up()
    assert client.status().orders_open == 1


def test_a_model_that_is_not_there_is_said_to_be_unreachable(town: Town) -> None:
    town.env["AOS_LLM_BASE_URL"] = f"http://127.0.0.1:{free_port()}/v1"
    client = town.up()
    order = town.submit(client, "asking")
    town.wait_for(client, OrderClosed, order)
    assert answer(town, client, order).startswith("Broken: openai unreachable")
    assert not [event for event in events(town.facts(client, order=order), EffectSettled) if event.spent.uusd]


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


# The gate.


class Raw:
    """A client that says what it likes."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(str(path))
        self.lines = self.socket.makefile("rb")

    def say(self, raw: bytes) -> dict[str, Any]:
        self.socket.sendall(raw + b"\n")
        line = self.lines.readline()
        return json.loads(line) if line else {}


def test_a_malformed_frame_is_refused_on_its_own_connection_and_nothing_changes(town: Town) -> None:
    client = town.up()
    client.call(Whoami())
    before = client.status().events
    raw = Raw(town.folder.socket)
    call = {"op": "call", "id": 7}
    for frame in (
        b"",
        b"{",
        b"\xff\xfe\x00",
        b"[]",
        b'{"op": "sing", "id": 7}',
        b'{"op": "call", "id": 7}',
        json.dumps(call | {"call": {"call": "no such call"}}).encode(),
        json.dumps(call | {"call": {"call": "sleep", "span_ns": 1 << 80}}).encode(),
        json.dumps(
            call | {"call": {"call": "settle", "effect": 1, "attempt": 1, "outcome": {"outcome": "moved"}}}
        ).encode(),
        json.dumps(call | {"call": {"call": "whoami"}, "blobs": {"0" * 64: "no base64!"}}).encode(),
        b'{"op": "call", "id": 7, "call": {"call": "note", "text": "\\ud800"}}',
        b'{"op":' * 20_000,
    ):
        said = raw.say(frame)
        assert said["op"] == "refused" or "refusal" in said["response"], (frame[:80], said)
    liar = base64.b64encode(b"other").decode()
    said = raw.say(json.dumps(call | {"call": {"call": "whoami"}, "blobs": {"0" * 64: liar}}).encode())
    assert said["response"]["refusal"]["refusal"] == "invalid"
    assert client.status().events == before, "nothing of it is on record"
    big = Raw(town.folder.socket)
    big.socket.settimeout(60)
    try:
        said = big.say(b"x" * (33 << 20))
    except (BrokenPipeError, ConnectionResetError):
        said = {"op": "refused", "fact": "longer"}  # it hung up on us while we were still talking
    assert said.get("op") == "refused" and "longer" in said["fact"]
    assert client.status().pid == town.pids[0]


OTHER_USER = """
import os, socket, sys
os.setgid(65534); os.setuid(65534)
connection = socket.socket(socket.AF_UNIX)
connection.settimeout(20)
try:
    connection.connect(sys.argv[1])
except PermissionError:
    print("no permission")
    sys.exit()
print(connection.makefile().readline())
"""


@needs_root
def test_another_user_is_turned_away_whatever_the_modes(town: Town, tmp_path: Path) -> None:
    client = town.up()
    path = str(town.folder.socket)
    command = [sys.executable, "-c", OTHER_USER, path]
    said = subprocess.run(command, capture_output=True, text=True, timeout=30, cwd="/", check=False).stdout
    assert "no permission" in said, "the socket's mode is the first door"
    opened = [Path(path), *(parent for parent in Path(path).parents if parent != Path("/"))]
    modes = {each: each.stat().st_mode for each in opened}
    try:
        for each in opened:
            each.chmod(0o777 if each != Path("/tmp") else 0o1777)
        said = subprocess.run(command, capture_output=True, text=True, timeout=30, cwd="/", check=False).stdout
    finally:
        for each, mode in modes.items():
            each.chmod(mode & 0o7777)
    assert "this workspace belongs to root" in said, "and what the kernel says of the other end is the second"
    assert client.status().processes >= 1


# The workspace on disk.


def last_line(town: Town) -> str:
    return [line for line in town.log().splitlines() if line.strip()][-1]


def test_a_second_daemon_is_refused_and_told_the_owner(town: Town) -> None:
    client = town.up()
    argv = [sys.executable, "-m", "agentos.boot.daemon", "--home", str(town.home)]
    second = subprocess.run(argv, env=town.env, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 1
    assert f"owned by os pid {town.pids[0]}" in second.stderr.splitlines()[-1]
    assert client.call(Whoami()), "the first goes on"


def test_a_flipped_byte_stops_recovery_with_the_events_number(town: Town) -> None:
    client = town.up()
    town.wait_for(client, OrderClosed, town.submit(client, "asking"))
    count = client.status().events
    client.stop()
    wait_until(lambda: not is_running(town.pids[0]), "the daemon to end")
    spoiled = count // 2
    with sqlite3.connect(town.folder.journal) as db:
        db.execute("DELETE FROM snapshots")
        (payload,) = db.execute("SELECT payload FROM events WHERE seq = ?", (spoiled,)).fetchone()
        db.execute("UPDATE events SET payload = ? WHERE seq = ?", (payload[:-1] + bytes([payload[-1] ^ 1]), spoiled))
    db.close()
    before = town.folder.journal.read_bytes()
    with pytest.raises(Unreachable, match=f"event {spoiled}: "):
        town.up()
    assert "restore a backup" in last_line(town)
    assert town.folder.journal.read_bytes() == before, "nothing was repaired by guessing"


def test_a_workspace_of_a_newer_version_is_left_alone(town: Town) -> None:
    client = town.up()
    client.stop()
    wait_until(lambda: not is_running(town.pids[0]), "the daemon to end")
    with sqlite3.connect(town.folder.journal) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    before = town.folder.journal.read_bytes()
    with pytest.raises(Unreachable, match="written by a newer agentos .journal format 99.*upgrade"):
        town.up()
    assert town.folder.journal.read_bytes() == before


def test_an_event_of_a_newer_version_is_not_guessed_at(town: Town) -> None:
    client = town.up()
    client.stop()
    wait_until(lambda: not is_running(town.pids[0]), "the daemon to end")
    script = (
        "import sys; from pathlib import Path; from agentos.drivers.journal_sqlite import SqliteJournal;"
        "from agentos.machine.journal import Header, seal; j = SqliteJournal(Path(sys.argv[1])); l = j.last();"
        "h = Header(l.seq + 1, l.at_ns, l.epoch, 'process.spawned', 99, '0.0', '', '');"
        "j.append([seal(l.hash, j.meta('workspace'), h, salt=bytes(16), payload=b'x')], is_durable=True); j.close()"
    )
    subprocess.run([sys.executable, "-c", script, str(town.folder.journal)], env=town.env, check=True, timeout=60)
    with pytest.raises(Unreachable, match="process.spawned version 99 was written by a newer agentos"):
        town.up()


LIBC = ctypes.CDLL(None, use_errno=True)


def mount(target: Path, options: str, flags: int = 0) -> None:
    target.mkdir(exist_ok=True)
    if LIBC.mount(b"tmpfs", str(target).encode(), b"tmpfs", flags, options.encode()):
        pytest.skip(f"a file system of our own cannot be mounted here: {os.strerror(ctypes.get_errno())}")


def fill(path: Path, left: int) -> None:
    """Take what is left of a disk, to the last page."""
    with path.open("wb", buffering=0) as ballast:
        try:
            for _ in range(left // 4096 + 16):
                ballast.write(bytes(4096))
        except OSError:
            return


@needs_root
def test_a_full_disk_ends_the_daemon_with_a_clear_line_and_loses_nothing(town: Town) -> None:
    mount(town.home, "size=12m")
    try:
        client = town.up()
        order = town.submit(client, "steady", steps=40)
        wait_until(lambda: len(town.model.exchanges()) >= 3, "it to work")
        left = shutil.disk_usage(town.home).free
        fill(town.home / "ballast", left)
        wait_until(lambda: not is_running(town.pids[0]), "the daemon to end on a full disk")
        client.close()
        assert "the daemon ended" in last_line(town)
        assert "disk" in last_line(town) or "space" in last_line(town)
        (town.home / "ballast").unlink()
        client = town.up()
        town.wait_for(client, OrderClosed, order)
        assert town.tools.doubled() == []
        client.stop()
        wait_until(lambda: not is_running(town.pids[-1]), "the daemon to end")
    finally:
        for pid in town.pids:
            wait_until(lambda pid=pid: not is_running(pid) or os.kill(pid, 9), "the daemon to end")
        LIBC.umount2(str(town.home).encode(), 2)


@needs_root
def test_a_read_only_folder_is_refused_by_name(town: Town) -> None:
    mount(town.home, "size=12m")
    try:
        client = town.up()
        client.stop()
        wait_until(lambda: not is_running(town.pids[0]), "the daemon to end")
        read_only, remount = 1, 32
        assert not LIBC.mount(b"tmpfs", str(town.home).encode(), b"tmpfs", read_only | remount, None)
        argv = [sys.executable, "-m", "agentos.boot.daemon", "--home", str(town.home)]
        ran = subprocess.run(argv, env=town.env, capture_output=True, text=True, timeout=60, check=False)
        assert ran.returncode == 1
        assert str(town.home) in ran.stderr.splitlines()[-1]
        assert "Read-only" in ran.stderr.splitlines()[-1] or "written" in ran.stderr.splitlines()[-1]
    finally:
        LIBC.umount2(str(town.home).encode(), 2)


def test_a_model_without_a_price_is_refused_before_any_work(town: Town, tmp_path: Path) -> None:
    table = tmp_path / "models.toml"
    table.write_text('[frontier]\nbackend = "openai"\nmodel = "no-such-model"\nkey_env = "SOME_KEY"\n')
    town.env |= {"AGENTOS_MODELS": str(table), "SOME_KEY": "k-secret"}
    with pytest.raises(Unreachable, match="no-such-model.*AGENTOS_PRICES") as told:
        town.up()
    assert "k-secret" not in town.log() + str(told.value)
    table.write_text('[frontier]\nbackend = "openai"\nmodle = "typo"\n')
    with pytest.raises(Unreachable, match="AGENTOS_MODELS.*modle"):
        town.up()


# Programs in other languages.


def test_a_program_in_another_language_ends_with_its_own_status(town: Town, tmp_path: Path) -> None:
    client = town.up()
    failing = tmp_path / "failing.sh"
    failing.write_text('#!/bin/bash\nIFS= read -r run <&"$AGENTOS_FD"\nexit 7\n')
    failing.chmod(0o755)
    commands = [["/bin/bash", str(ROOT / "examples/greeter.sh")], [str(failing)], ["/bin/bash", "-c", "kill -9 $$"]]
    order = town.submit(client, "others", commands=commands, witness=str(tmp_path))
    town.wait_for(client, OrderClosed, order)
    assert json.loads((tmp_path / "statuses").read_text()) == [0, 7, 137]
