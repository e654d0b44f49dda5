"""The programs that the simulator's orders run: a conductor, workers that follow a script, a gatekeeper, and children.

The script is the order's text: {"steps": [["infer", 3], ["tool", "once", "WO/3"], ...], "tries": 1, ...}. A step that is
refused is noted and the next one taken, as a patient worker would.

Rule 1: they see the sdk and nothing behind it, like any program.
Rule 2: they are deterministic between calls, all but `fickle`, which is there to be caught.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from agentos.abi.budget import Amounts
from agentos.abi.inference import Message, Request, Text
from agentos.abi.rights import Grant, Right
from agentos.abi.signals import Signal
from agentos.abi.work import Verdict
from agentos.sdk.errors import Broken, Exhausted, NotFound, Refused
from agentos.sdk.system import System

HERE = "python:agentos.sim.programs"
SECOND_NS = 1_000_000_000
CHANCE = [0]  # what `fickle` takes for chance; the simulation starts it anew, so that a seed repeats itself
KEEPERS_MAX = 3  # gatekeepers that may fail one after the other
ROUNDS_MAX = 4  # attempts a conductor makes before it gives the order to a person


async def conductor(os: System, args: Any = None) -> None:
    """Run the order: attempt, work, judge, until it closes over our head or nothing helps."""
    me = await os.whoami()
    assert me.order is not None
    standing = await os.look(me.order)
    script = msgspec.json.decode(await os.text(standing.text))
    tools = tuple(Grant(Right.TOOL, f"/{name}") for name in standing.contract.tools)
    grants = (
        *tools,
        Grant(Right.INFER, "/coder"),
        Grant(Right.PRESENT, f"/{me.order}"),
        Grant(Right.LEASE, f"/{me.order}/**"),
        Grant(Right.SPAWN, "/**"),
        Grant(Right.PUBLISH, f"/{me.order}/**"),
        Grant(Right.SUBSCRIBE, f"/{me.order}/**"),
        Grant(Right.ATTEST, f"/{me.order}"),
    )
    judging = (Grant(Right.INFER, "/coder"), Grant(Right.ATTEST, f"/{me.order}"))
    for _ in range(ROUNDS_MAX):
        try:
            await os.begin(me.order)
        except Broken:
            continue  # the working copy could not be made; the order is ready again
        except Exhausted:
            break
        await _work(os, script, grants)
        standing = await os.look(me.order)
        for _ in range(KEEPERS_MAX if standing.state == "gating" else 0):
            keeper = await os.spawn(f"{HERE}:gatekeeper", role="gatekeeper", args=me.order, grants=judging)
            if (await os.wait(keeper)).status == 0:
                break
        else:
            continue
        while (await os.look(me.order)).state == "gating":
            await os.sleep(20 * SECOND_NS)  # a person is asked as well, and has all the time they want
    await os.escalate(me.order, "no attempt helped")


async def _work(os: System, script: dict[str, Any], grants: tuple[Grant, ...]) -> None:
    """Side workers beside the main one; all are waited for, so that the order's end kills none of them at work."""
    sides = [
        await os.spawn(f"{HERE}:worker", args={**script, "steps": steps, "tries": 0}, grants=grants)
        for steps in script.get("sides", ())
    ]
    budget = Amounts(*script["budget"]) if "budget" in script else None
    restart = script.get("restart", "temporary")
    main = await os.spawn(f"{HERE}:worker", args=script, grants=grants, budget=budget, restart=restart)
    for pid in (*sides, main):
        await os.wait(pid)


async def worker(os: System, script: dict[str, Any], state: Any = None) -> Any:
    """Take the steps, write the result, present it. `state` is where a checkpoint left off: no call comes before it."""
    if state is None:
        me = await os.whoami()
        state = {"next": 0, "notes": [], "pid": me.pid, "order": me.order}
    pid, order, notes = state["pid"], state["order"], list(state["notes"])
    for number, (name, *rest) in enumerate(script["steps"]):
        if number < state["next"]:
            continue
        try:
            if name == "checkpoint":
                await os.checkpoint({**state, "next": number + 1, "notes": notes})
            else:
                await STEPS[name](os, order, *(_own(part, pid) for part in rest))
            notes.append(f"{number} {name}")
        except Refused as refused:
            notes.append(f"{number} {name}: {type(refused).__name__}")
    for number in range(script["tries"]):
        is_last = number == script["tries"] - 1
        await os.invoke("write", path="result", content=f"{'good' if is_last else 'bad'} {pid} {number}")
        judged = await os.present(order, claim=notes)
        if script.get("cheats") and judged.verdict == Verdict.PASSED:
            await _cheat(os, order)
    return notes


def _own(part: Any, pid: str) -> Any:
    """What is wanted, named so that no two wishes have one name: another attempt is another wish."""
    return f"{part}@{pid}" if isinstance(part, str) and "/" in part else part


async def _cheat(os: System, order: str) -> None:
    """Try to judge one's own work."""
    standing = await os.look(order)  # type: ignore[arg-type]
    if standing.content is not None:
        try:
            await os.attest(standing.order, standing.content, Verdict.PASSED, "it is very good")
        except Refused:
            return


async def gatekeeper(os: System, order: Any) -> None:
    """Judge what is presented, and pass it when the kernel's own checks did."""
    standing = await os.look(order)
    if standing.content is not None and standing.verdict == Verdict.PASSED:
        await os.infer(_request(f"is {standing.content[:8]} good?", 40), phase="gatekeeping")
        await os.attest(order, standing.content, Verdict.PASSED, "the checks passed, and I looked")


def _request(words: str, tokens: int) -> Request:
    return Request(model="", messages=(Message(role="user", content=(Text(words),)),), output_tokens_max=tokens)


async def _infer(os: System, order: str, op: str, tokens: int) -> None:
    await os.infer(_request(op, tokens))


async def _tool(os: System, order: str, kind: str, op: str) -> None:
    await os.invoke(kind, op=op)


async def _again(os: System, order: str, op: str) -> None:
    """The same call until the loop detector says no."""
    for _ in range(8):
        await os.invoke("pure", op=op)


async def _lease(os: System, order: str, op: str, hold_ns: int, ttl_ns: int) -> None:
    """Be alone with the order's resource, work in it, and write with the token; maybe for longer than the lease."""
    resource = f"/{order}/shared"
    held = await os.acquire(resource, ttl_ns, is_waiting=True)
    await os.sleep(hold_ns)
    if hold_ns % 2:
        held = await os.renew(resource, held.token, ttl_ns)
    await os.invoke("guarded", resource=resource, token=held.token, op=op)
    await os.release(resource, held.token)


async def _echo(os: System, order: str, op: str) -> None:
    """A child that is written to and writes back."""
    child = await os.spawn(f"{HERE}:echo", role="echo", args=op)
    await os.send(child, "ping", {"op": op})
    mail, body = await os.receive("pong", 600 * SECOND_NS)
    assert mail.sender == child and body == {"op": op}, "mail is stamped and whole"
    await os.wait(child)


async def echo(os: System, op: Any) -> None:
    mail, body = await os.receive("ping")
    await os.send(mail.sender, "pong", body)


async def _deaf(os: System, order: str) -> None:
    """Wait for what never comes."""
    await os.receive("never", 5 * SECOND_NS)


async def _crew(os: System, order: str, op: str, strategy: str) -> None:
    """A supervisor with a child that fails once."""
    grants = (Grant(Right.TOOL, "/idempotent"), Grant(Right.SPAWN, "/**"))
    boss = await os.spawn(
        f"{HERE}:boss", role="boss", args=[op, strategy], grants=grants, strategy=strategy, period_ns=3600 * SECOND_NS
    )
    await os.wait(boss)


async def boss(os: System, args: Any) -> None:
    """Two children, one of which fails at first; wait until it has had its say."""
    op, _ = args
    me = await os.whoami()
    tool = (Grant(Right.TOOL, "/idempotent"),)
    await os.spawn(f"{HERE}:steady", role="hand", restart="permanent")
    await os.spawn(f"{HERE}:flaky", role="hand", args=[op, me.pid], grants=tool, restart="transient")
    await os.receive(f"done {op}", 1800 * SECOND_NS)


async def steady(os: System, args: Any = None) -> None:
    await os.receive("never")


async def flaky(os: System, args: Any) -> None:
    """Fail at first, do it in the second life, and tell the parent."""
    op, parent = args
    name = f"/flaky/{op.replace('/', '-')}"
    try:
        await os.find(name)
    except NotFound:
        await os.attach(name, "I was here")
        raise RuntimeError("as scripted") from None
    me = await os.whoami()
    await os.invoke("idempotent", op=f"{op}/{me.pid}")
    await os.send(parent, f"done {op}")


async def _both(os: System, order: str, op: str) -> None:
    """Two strands: one waits for what the other brings about, after some work of its own."""

    async def wait(os: System) -> None:
        await os.receive(f"go {op}", 3000 * SECOND_NS)

    async def bring(os: System) -> None:
        await os.invoke("pure", op=f"{op}/a")
        await os.invoke("idempotent", op=f"{op}/b")
        await os.wait(await os.spawn(f"{HERE}:starter", role="starter", args=[(await os.whoami()).pid, op]))

    await os.gather(wait, bring)


async def starter(os: System, args: Any) -> None:
    to, op = args
    await os.send(to, f"go {op}")


async def _news(os: System, order: str, op: str) -> None:
    """A channel with a schema, a subscriber who comes late, and what was said before."""
    channel = f"/{order}/news"
    await os.open(channel)
    await os.publish(channel, {"op": op})
    await os.subscribe(channel, is_from_start=True)
    await os.receive(f"channel:{channel}", 60 * SECOND_NS)


async def _record(os: System, order: str, op: str) -> None:
    digest = await os.attach(f"/plan/{op.replace('/', '-')}", f"a plan for {op}")
    assert await os.find(f"/plan/{op.replace('/', '-')}") == f"a plan for {op}"
    await os.attach(f"/report/{op.replace('/', '-')}", f"made of {digest}", sources=(digest,))


async def _sleep(os: System, order: str, span_ns: int) -> None:
    await os.sleep(span_ns)


async def _note(os: System, order: str, text: str) -> None:
    await os.note(text)


async def _ask(os: System, order: str, op: str) -> None:
    chosen = await os.ask(f"{op}: left or right?", ("left", "right"))
    assert chosen.choice in ("left", "right"), "a person chooses one of the choices"


async def _greedy(os: System, order: str) -> None:
    """Ask for more than any budget here holds."""
    await os.infer(_request("everything", 10_000_000))


async def _doomed(os: System, order: str, op: str) -> None:
    """A child that is killed while it has an effect on its way."""
    tools = (Grant(Right.TOOL, "/idempotent"), Grant(Right.INFER, "/coder"))
    child = await os.spawn(f"{HERE}:busy", role="busy", args=op, grants=tools)
    await os.sleep(len(op) * 100_000_000)
    try:
        await os.kill(child, Signal.KILL)
    except NotFound:
        pass
    await os.wait(child)


async def busy(os: System, op: Any) -> None:
    for number in range(5):
        await os.infer(_request(f"{op}/{number}", 100))
        await os.invoke("idempotent", op=f"{op}/{number}")


async def _fickle(os: System, order: str, op: str) -> None:
    """A child that does not repeat itself; it is stopped at its first difference, if it is ever run again."""
    child = await os.spawn(f"{HERE}:fickle", role="fickle", args=op)
    await os.wait(child)


async def fickle(os: System, op: Any) -> None:
    for number in range(3):
        CHANCE[0] += 1
        await os.note(f"{op} by chance {CHANCE[0]}")
        await os.sleep(number * SECOND_NS)


STEPS: dict[str, Callable[..., Awaitable[None]]] = {
    "infer": _infer,
    "tool": _tool,
    "again": _again,
    "lease": _lease,
    "echo": _echo,
    "deaf": _deaf,
    "crew": _crew,
    "both": _both,
    "news": _news,
    "record": _record,
    "sleep": _sleep,
    "note": _note,
    "ask": _ask,
    "greedy": _greedy,
    "doomed": _doomed,
    "fickle": _fickle,
}
