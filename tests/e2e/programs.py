"""The programs that the orders of these tests run: a conductor that does what the order's text says, and workers.

Rule 1: they are ordinary programs over the SDK; what goes wrong in them goes wrong as in anybody's.
"""

import asyncio
import json
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from agentos.abi.inference import Message, Request, Text
from agentos.abi.rights import Grant, Right
from agentos.abi.work import Verdict
from agentos.sdk import System
from agentos.sdk.errors import Broken, Exhausted, Refused

T = TypeVar("T")
TRIES = 20


def request(words: str, *, output_tokens_max: int = 64) -> Request:
    return Request(model="", messages=(Message("user", (Text(words),)),), output_tokens_max=output_tokens_max)


async def conduct(system: System, args: Any, state: Any = None) -> None:
    """Attempts until one passes, then the gatekeeper that ships. The text of the order says who works."""
    me = await system.whoami()
    assert me.order is not None
    standing = await system.look(me.order)
    told = json.loads(await system.text(standing.text))
    classes = standing.contract.model_classes
    for number in range(TRIES):
        begun = await system.begin(me.order)
        grants = (
            Grant(Right.PRESENT, f"/{me.order}"),
            Grant(Right.INFER, f"/{classes[min(number, len(classes) - 1)]}"),
            Grant(Right.SPAWN, "/**"),
            *((Grant(Right.ATTEST, f"/{me.order}"),) if told["args"].get("is_attesting") else ()),
            *(Grant(Right.TOOL, f"/{name}") for name in standing.contract.tools),
        )
        given = told["args"] | {"order": me.order, "attempt": begun.attempt}
        given["model_class"] = classes[min(number, len(classes) - 1)]
        worker = await system.spawn(told["worker"], args=given, grants=grants, domain=told["args"].get("domain", ""))
        ended = await system.wait(worker)
        found = await system.look(me.order)
        if found.verdict == Verdict.PASSED:
            grant = (Grant(Right.ATTEST, f"/{me.order}"),)
            gate = await system.spawn("gatekeeper", role="gatekeeper", grants=grant, domain="gate", family="program")
            ended = await system.wait(gate)
            await system.escalate(me.order, "gate", ended.reason)
            return
        if told["args"].get("is_once") or number + 1 >= standing.contract.attempts_max:
            await system.escalate(me.order, str(found.reason or "worker_ended"), ended.reason)
            return


async def persist(act: Callable[[int], Awaitable[T]]) -> T:
    """Act until the world is not broken: a service may have died under it more often than the kernel tries."""
    for number in range(TRIES):
        try:
            return await act(number)
        except Broken:
            continue
    raise RuntimeError(f"broken {TRIES} times in a row")


async def steady(system: System, args: dict[str, Any], state: Any = None) -> None:
    """Asks the model and does keyed things, step by step; then makes its file and presents it."""
    for step in range(args.get("steps", 2)):
        words = f"{args['order']}.{args['attempt']} step {step}"
        await persist(lambda _, words=words: system.infer(request(words), model_class=args["model_class"]))
        for tool in args.get("use", ("do_idempotent", "do_queryable")):
            item = f"{words} {tool}"
            await persist(
                lambda n, tool=tool, item=item: system.invoke(tool, item=item if not n else f"{item} anew {n}")
            )
    await finish(system, args)


async def finish(system: System, args: dict[str, Any]) -> None:
    await persist(lambda _: system.invoke("write_file", path=args["path"], content=f"made by {args['order']}\n"))
    await system.present(args["order"])


async def mend(system: System, args: dict[str, Any], state: Any = None) -> None:
    """Mends the repository's bug, after the steps of a steady worker."""
    for step in range(args.get("steps", 1)):
        words = f"{args['order']}.{args['attempt']} step {step}"
        await persist(lambda _, words=words: system.infer(request(words), model_class=args["model_class"]))
    await persist(lambda _: system.invoke("write_file", path="calc.py", content="def add(a, b):\n    return a + b\n"))
    await system.present(args["order"])


async def frozen(system: System, args: dict[str, Any], state: Any = None) -> None:
    """Says where it runs, waits to be let go on, and then does something: too late, if it was frozen meanwhile."""
    await system.note("here")
    witness = Path(args["witness"])
    (witness / f"here.{os.getpid()}").touch()
    while not (witness / "go").exists():
        await asyncio.sleep(0.01)
    try:
        await system.invoke("do_idempotent", item=f"{args['order']} at last")
    except Refused as error:
        (witness / f"refused.{os.getpid()}").write_text(f"{type(error).__name__}: {error}")
        raise
    await finish(system, args)


async def ending_its_worker(system: System, args: dict[str, Any], state: Any = None) -> None:
    """Ends the worker it runs on, the first `deaths` times."""
    await system.note("alive")
    witness = Path(args["witness"])
    deaths = len(list(witness.glob("died.*")))
    if deaths < args["deaths"]:
        (witness / f"died.{deaths}").touch()
        if args.get("by") == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(3)
    await finish(system, args)


async def never_the_same(system: System, args: dict[str, Any], state: Any = None) -> None:
    """Another call each time it is run: its worker ends once, and then its record is against it."""
    await system.note("always so")
    await system.note(f"never the same: {time.monotonic_ns()}")
    witness = Path(args["witness"]) / "died"
    if not witness.exists():
        witness.touch()
        os._exit(1)
    await finish(system, args)


async def going_round(system: System, args: dict[str, Any], state: Any = None) -> None:
    """Asks the same for ever."""
    while True:
        await system.infer(request("the same question"), model_class=args["model_class"])


async def impostor(system: System, args: dict[str, Any], state: Any = None) -> None:
    """Sends frames past the SDK, as other processes: init, and whoever may be a person."""
    link = system._wire._link  # type: ignore[attr-defined]
    for slot in range(1, 6):
        for incarnation in (0, 1):
            link.send(
                {
                    "op": "call",
                    "id": 0,
                    "pid": f"{slot}.1",
                    "incarnation": incarnation,
                    "strand": 7,
                    "n": 1,
                    "call": {"call": "note", "text": "I am somebody else"},
                }
            )
    link.send({"op": "call", "id": 0, "strand": 1 << 70, "n": 1, "call": {"call": "whoami"}})
    link.send({"op": "call", "id": 0, "pid": "1.1", "n": 1, "call": {"call": "sleep", "span_ns": 1 << 70}})
    link.send({"op": "call", "id": 0, "n": 1, "blobs": {"0" * 64: "no base64 at all!"}, "call": {"call": "whoami"}})
    link.send({"op": "nonsense"})
    link._writer.write(b"\xff\xfe{not json\n")
    me = await system.whoami()
    link.send(
        {"op": "call", "id": 0, "pid": me.pid, "incarnation": 1, "strand": 1 << 70, "n": 1, "call": {"call": "whoami"}}
    )
    link.send(
        {
            "op": "call",
            "id": 0,
            "pid": me.pid,
            "incarnation": 1,
            "strand": 3,
            "n": 1,
            "blobs": {"0" * 64: "no base64!"},
            "call": {"call": "whoami"},
        }
    )
    link.send(
        {
            "op": "call",
            "id": 0,
            "pid": me.pid,
            "incarnation": 1,
            "strand": 4,
            "n": 1,
            "call": {"call": "sleep", "span_ns": 1 << 70},
        }
    )
    await finish(system, args)


async def missing_parts(system: System, args: dict[str, Any], state: Any = None) -> None:
    """Starts children that cannot start; each ends with a status, and none takes the kernel with it."""
    programs = ('command:["/no/such/program"]', "command:no json", "python:no.such.module:main", "python:nothing")
    statuses = [
        (await system.wait(await system.spawn(program, domain=f"child {n}"))).status
        for n, program in enumerate(programs)
    ]
    Path(args["witness"], "statuses").write_text(json.dumps(statuses))
    await finish(system, args)


async def spender(system: System, args: dict[str, Any], state: Any = None) -> None:
    """Starts agents that spend until they are denied; then makes its file."""
    grants = (Grant(Right.INFER, f"/{args['model_class']}"),)
    children = [
        await system.spawn(
            "python:tests.e2e.programs:spend", args={"who": n, "model_class": args["model_class"]}, grants=grants
        )
        for n in range(args["agents"])
    ]
    for child in children:
        ended = await system.wait(child)
        if ended.status:
            raise RuntimeError(ended.reason)
    await finish(system, args)


async def spend(system: System, args: dict[str, Any], state: Any = None) -> int:
    """Asks until the budget says no; how often it was answered."""
    for number in range(1_000):
        try:
            await system.infer(request(f"agent {args['who']} asks {number}"), model_class=args["model_class"])
        except Exhausted:
            return number
    raise RuntimeError("never denied")


async def endless(system: System, args: dict[str, Any], state: Any = None) -> None:
    """Asks something new for ever."""
    for number in range(100_000):
        await system.infer(request(f"{args['order']} asks {number}"), model_class=args["model_class"])


async def asking(system: System, args: dict[str, Any], state: Any = None) -> None:
    """Asks once, and says in its file what came back; a refusal is an answer too."""
    words = args.get("words", "hello") * args.get("times", 1)
    try:
        answer = (await system.infer(request(words), model_class=args["model_class"])).text
    except Refused as error:
        answer = f"{type(error).__name__}: {error}"
    await system.attach("/answer", answer)
    await finish(system, args)


async def insisting(system: System, args: dict[str, Any], state: Any = None) -> None:
    """Works for as long as its model answers."""
    for number in range(args["steps"]):
        await system.infer(request(f"{args['order']}.{args['attempt']} step {number}"), model_class=args["model_class"])
    await finish(system, args)


BINARY = "\x00\x01\x1b[31m\ufffd\U0001f600"


async def sending_binary(system: System, args: dict[str, Any], state: Any = None) -> None:
    await system.send(args["to"], "binary", BINARY)


async def flooding(system: System, args: dict[str, Any], state: Any = None) -> None:
    """Has a tool say ten megabytes, puts binary into messages, and goes on."""
    content, is_error = await system.invoke("do_pure", item=str(10 << 20))
    assert len(content.encode()) > 9 << 20 and not is_error
    await system.attach("/binary", bytes(range(256)) * 64, media_type="application/octet-stream")
    me = await system.whoami()
    await system.spawn("python:tests.e2e.programs:sending_binary", args={"to": me.pid})
    _, body = await system.receive("binary")
    assert body == BINARY
    await system.note("\x1b]0;title\x07\x00 and more")
    await finish(system, args)


async def at_once(system: System, args: dict[str, Any], state: Any = None) -> None:
    """Asks many things at the same time, and answers with its file."""

    async def one(strand: System, number: int) -> str:
        return (await strand.infer(request(f"{args['order']} asks {number}"), model_class=args["model_class"])).text

    await system.gather(*(lambda strand, n=n: one(strand, n) for n in range(args["strands"])))
    await finish(system, args)


async def slow_to_return(system: System, args: dict[str, Any], state: Any = None) -> None:
    """Asks twice. Run again, it takes its time between the two, while the second is answered already."""
    await system.infer(request("first"), model_class=args["model_class"])
    runs = Path(args["witness"]) / f"run.{os.getpid()}"
    runs.touch()
    while len(list(runs.parent.glob("run.*"))) > 1 and not (runs.parent / "go").exists():
        await asyncio.sleep(0.01)
    await system.infer(request("second"), model_class=args["model_class"])
    await finish(system, args)


# Cheats. Each presents once; the kernel's verdict is what the test reads.


async def claiming(system: System, args: dict[str, Any], state: Any = None) -> None:
    await system.present(args["order"], claim={"status": "done", "tests": "all green", "verdict": "passed"})


async def changing_the_tests(system: System, args: dict[str, Any], state: Any = None) -> None:
    await system.invoke("write_file", path="test_calc.py", content="import unittest\n")
    await system.invoke("write_file", path="calc.py", content="def add(a, b):\n    return 5\n")
    await system.present(args["order"])


async def writing_passed(system: System, args: dict[str, Any], state: Any = None) -> None:
    for path in ("passed", "result.json", ".pytest_cache/v/cache/lastfailed"):
        await system.invoke("write_file", path=path, content='{"verdict": "passed", "failed": []}')
    await system.present(args["order"])


async def quitting_early(system: System, args: dict[str, Any], state: Any = None) -> None:
    """Ends the test run with status 0 before any test has run."""
    words = "import os\nprint('OK')\nos._exit(0)\n\n\ndef add(a, b):\n    return a - b\n"
    await system.invoke("write_file", path="calc.py", content=words)
    await system.present(args["order"])


async def leaving_its_scope(system: System, args: dict[str, Any], state: Any = None) -> None:
    await system.invoke("write_file", path="calc.py", content="def add(a, b):\n    return a + b\n")
    await system.invoke("write_file", path="other/place.txt", content="mine")
    await system.present(args["order"])


async def mending_late(system: System, args: dict[str, Any], state: Any = None) -> None:
    """Presents what is broken, and mends the copy while it is being judged."""
    await system.invoke("write_file", path="calc.py", content="def add(a, b):\n    return a * b\n")
    await _presenting_and_writing(system, args, "def add(a, b):\n    return a + b\n")


async def spoiling_late(system: System, args: dict[str, Any], state: Any = None) -> None:
    """Presents what is right, and puts something else into the copy while it is being judged."""
    await system.invoke("write_file", path="calc.py", content="def add(a, b):\n    return a + b\n")
    await _presenting_and_writing(system, args, "import os  # planted\n")


async def _presenting_and_writing(system: System, args: dict[str, Any], content: str) -> None:
    writer = system.fork()

    async def write() -> None:
        for number in range(1_000):
            if (await writer.look(args["order"])).state in ("verifying", "gating"):
                await writer.invoke("write_file", path="calc.py", content=content)
                return
            await writer.sleep(10_000_000 + number)

    async with asyncio.TaskGroup() as group:
        group.create_task(write())
        await system.present(args["order"])


async def judging_itself(system: System, args: dict[str, Any], state: Any = None) -> None:
    """Has it verified, and then attests to its own work; the refusal is kept."""
    await system.invoke("write_file", path="calc.py", content="def add(a, b):\n    return a + b\n")
    judged = await system.present(args["order"])
    assert judged.content is not None
    await system.attest(args["order"], judged.content, Verdict.PASSED, "I say so")


async def others(system: System, args: dict[str, Any], state: Any = None) -> None:
    """Runs programs in other languages, and keeps how they ended."""
    statuses = []
    for number, command in enumerate(args["commands"]):
        child = await system.spawn(f"command:{json.dumps(command)}", domain=f"other {number}")
        statuses.append((await system.wait(child)).status)
    Path(args["witness"], "statuses").write_text(json.dumps(statuses))
    await finish(system, args)
