"""One workspace with everything real around it: a daemon of its own process, a model server of its own, a tool server.

Rule 1: every wait is for a condition, asked again every POLL_S, and bounded by WAIT_S.
Rule 2: what a test started is ended by its pid, also when the test fails.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from agentos.abi.budget import Amounts
from agentos.abi.calls.work import Submit
from agentos.abi.events.base import Event
from agentos.abi.events.work import OrderClosed, OrderEscalated
from agentos.abi.ids import Digest, OrderId
from agentos.abi.replies import Ordered
from agentos.abi.work import Contract, FileSchema, Scope
from agentos.boot.client import Client, Reader
from agentos.boot.workspace import Folder
from agentos.views.base import Fact
from tests.e2e import keyed_tools
from tests.e2e.tool_server import ToolServer

ROOT = Path(__file__).parents[2]
WAIT_S = 60.0  # a loaded machine with two cores takes a tenth of this
POLL_S = 0.01
PROGRAMS = "python:tests.e2e.programs"
KEYED = ("do_idempotent", "do_queryable")
FILES = ("write_file", "edit_file", "read_file", "list_files", "search_files")
E = TypeVar("E", bound=Event)

STEADY = {"lines": [{"when": {}, "say": "a steady word, said again", "delay_ms": 40}]}
INPUT_UUSD, OUTPUT_UUSD = 3_000_000, 15_000_000  # per million tokens: 3 and 15 micro-USD each, no rounding


def wait_until(condition: Callable[[], object], what: str, *, bound_s: float = WAIT_S) -> Any:
    """What the condition says once it says something; fails by name when it never does."""
    deadline = time.monotonic() + bound_s
    while not (said := condition()):
        assert time.monotonic() < deadline, f"waited {bound_s:.0f} s for {what}"
        time.sleep(POLL_S)
    return said


class ModelServer:
    """`tests.servers.model_server` as a process, with its log."""

    def __init__(self, folder: Path, script: dict[str, Any], *, name: str = "model") -> None:
        self.log, path = folder / f"{name}.jsonl", folder / f"{name}.yaml"
        path.write_text(json.dumps(script))  # JSON is YAML
        command = [sys.executable, "-m", "tests.servers.model_server", "--log", str(self.log), "--script", str(path)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True)
        assert self.process.stdout is not None
        self.url = f"http://127.0.0.1:{json.loads(self.process.stdout.readline())['port']}"

    def exchanges(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


class Town:
    """A workspace, a repository, and the servers."""

    def __init__(self, folder: Path, *, script: dict[str, Any] | None = None, seed: int = 0) -> None:
        self.home, self.repository = folder / "home", folder / "repository"
        self.folder = Folder(self.home)
        self.model = ModelServer(folder, script or STEADY)
        self.tools = ToolServer(seed=seed)
        self.base = repository(self.repository)
        self.pids: list[int] = []
        keyed_tools.install(folder / "packages")
        (folder / "prices.json").write_text(
            json.dumps({"local": {"*": {"input_uusd": INPUT_UUSD, "output_uusd": OUTPUT_UUSD}}})
        )
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "HOME", "TMPDIR") if name in os.environ}
        self.env = kept | {
            "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "src"), str(folder / "packages"))),
            "TOOL_SERVER": self.tools.url,
            "AOS_LLM_BACKEND": "openai",
            "AOS_LLM_BASE_URL": f"{self.model.url}/v1",
            "AOS_LLM_MODEL": "scripted-1",
            "AGENTOS_PRICES": str(folder / "prices.json"),
        }

    def close(self) -> None:
        for pid in (*self.pids, self.pid()):
            if pid and is_running(pid):
                kill(pid)
        self.tools.close()
        self.model.close()

    # The daemon.

    def up(self) -> Client:
        """A connection; the daemon is started if it is not there."""
        before = dict(os.environ)
        os.environ.clear()
        os.environ.update(self.env)
        try:
            client = Client.open(self.home)
        finally:
            os.environ.clear()
            os.environ.update(before)
        self.pids.append(client.status().pid)
        return client

    def pid(self) -> int:
        """Who runs it now, or 0."""
        return int(json.loads(self.folder.daemon.read_text())["pid"]) if self.folder.daemon.exists() else 0

    def kill_daemon(self) -> None:
        """-9, and nothing of it is left: its workers end with their sockets."""
        pid = self.pids[-1]
        workers = children(pid)
        kill(pid)
        wait_until(lambda: not any(map(is_running, workers)), f"the workers {workers} of the killed daemon to end")
        wait_until(self.is_free, f"the journal's lock to be free of {pid}", bound_s=10)

    def is_free(self) -> bool:
        """Whether nobody holds the journal. A killed process lets go when its last thread is gone, a moment after."""
        with open(f"{self.folder.journal}.lock") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    def log(self) -> str:
        return (self.folder.log / "daemon.log").read_text(errors="replace")

    # Orders.

    def submit(
        self,
        client: Client,
        worker: str = "steady",
        *,
        title: str = "an order",
        check: Any = None,
        goal: str = "",
        **args: Any,
    ) -> OrderId:
        """An order for the programs of these tests, unless there is a `goal`: that is for the ones that ship. What
        names a field of the contract goes there, the rest to the worker."""
        made = str(args.setdefault("path", f"made/{len(self.pids)}-{time.monotonic_ns()}.txt"))
        fields = {name: args.pop(name) for name in Contract.__struct_fields__ if name in args}
        contract = {
            "repository": str(self.repository),
            "base": self.base,
            "branch": "refs/heads/agentos/{order}",
            "scope": Scope(protected=("test_*.py",)),
            "accept": (check or FileSchema(name="made", path=made),),
            "budget": Amounts(10_000_000, 50_000_000, 10_000),
            "attempts_max": 50,
            "conductor": f"{PROGRAMS}:conduct",
            "tools": (*KEYED, "do_once", "do_pure", *FILES),
        }
        text = goal.encode() or json.dumps({"worker": f"{PROGRAMS}:{worker}", "args": args}).encode()
        digest = Digest(sha256(text).hexdigest())
        reply = client.call(Submit(title=title, text=digest, contract=Contract(**(contract | fields))), {digest: text})
        assert isinstance(reply, Ordered)
        return reply.order

    def facts(self, client: Client | None = None, *, order: str = "", after: int = 0) -> list[Fact]:
        """What is on record: over the socket, or from disk with the daemon dead."""
        if client is not None:
            return list(client.follow(order=order, after=after, is_live=False))
        reader = Reader.open(self.home)
        try:
            return list(reader.facts(order=order, after=after))
        finally:
            reader.close()

    def wait_for(self, client: Client, kind: type[E], order: str = "", *, bound_s: float = WAIT_S) -> E:
        """The first event of a kind, of one order or of any."""

        def found() -> E | None:
            facts = self.facts(client, order=order)
            if kind is OrderClosed and order:
                asked = events(facts, OrderEscalated)
                assert not asked, f"{order} went to a person: {asked[0].reason}: {asked[0].detail}"
            return next((fact.event for fact in facts if isinstance(fact.event, kind)), None)

        event = wait_until(found, f"{kind.__name__} of {order or 'any order'}", bound_s=bound_s)
        assert isinstance(event, kind)
        return event


def events(facts: list[Fact], kind: type[E]) -> list[E]:
    return [fact.event for fact in facts if isinstance(fact.event, kind)]


def repository(path: Path) -> str:
    """A small repository; its base commit."""
    path.mkdir()
    (path / "calc.py").write_text("def add(a, b):\n    return a - b\n")
    (path / "test_calc.py").write_text(
        "import unittest\nfrom calc import add\n\n\nclass Add(unittest.TestCase):\n"
        "    def test_add(self):\n        self.assertEqual(add(2, 3), 5)\n"
    )
    git = ["git", "-C", str(path), "-c", "user.name=a", "-c", "user.email=a@localhost"]
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", "base"]):
        subprocess.run([*git, *words], check=True)
    return subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()


def is_running(pid: int) -> bool:
    """Whether that process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(pid: int) -> list[int]:
    """The processes that one has started itself."""
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [int(child) for child in found.split()]


def workers(pid: int) -> list[int]:
    """The SDK workers among a daemon's children."""
    return [child for child in children(pid) if b"agentos.sdk.worker" in _command(child)]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def kill(pid: int) -> None:
    """-9, and wait until it is gone."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    wait_until(lambda: not is_running(pid), f"pid {pid} to be dead")


def decoded(client: Client, digest: Digest | None) -> Any:
    """A JSON blob."""
    assert digest is not None
    content = client.blob(digest)
    assert content is not None
    return msgspec.json.decode(content)
