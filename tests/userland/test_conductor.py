"""One order at a time through the shipped programs, on a real kernel: what closes, what goes to a person, and why."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agentos.abi.budget import Amounts
from agentos.abi.calls.process import Kill, Spawn
from agentos.abi.calls.work import Attest
from agentos.abi.events.work import AttemptBegun, ContentAttested, OrderClosed, OrderEscalated
from agentos.abi.handoff import HandOff
from agentos.abi.ids import OrderId
from agentos.abi.inference import Request
from agentos.abi.work import Approval, Command, Contract, Reason, Review, Scope, Verdict
from agentos.drivers.inference_scripted import Call, Line
from agentos.userland.agents import judgement
from tests.userland.world import BUDGET, TOOLS, Script, World, words

BROKEN = "def add(a, b):\n    return a - b\n\n\ndef double(a):\n    return add(a, a)\n"
FIXED = BROKEN.replace("a - b", "a + b")
WRONG = BROKEN.replace("a - b", "a * b")
TESTS = "from calc import add, double\n\n\ndef test_add():\n    assert add(2, 5) == 7\n\n\ndef test_double():\n    assert double(2) == 4\n"
FILES = {"calc.py": BROKEN, "README.md": "A calculator.\n", "tests/test_calc.py": TESTS}
TEXT = "# Goal\n`add` must add.\n\n# Constraints\nKeep the names.\n"
PYTEST = Command(name="pytest", argv=("pytest", "-q"))
CONTRACT = Contract(
    accept=(PYTEST,), tools=TOOLS, budget=BUDGET, scope=Scope(protected=("tests/**",)), model_classes=("coder",)
)


def contract(**changes: Any) -> Contract:
    return msgspec.structs.replace(CONTRACT, **changes)


def block(text: str) -> Line:
    return Line(say=f"Here it is.\n```python\n{text}```\n")


def fixes(request: Request) -> Line:
    return block(FIXED)


def says(line: Line) -> Script:
    return lambda request: line


def conduct(
    root: Path,
    script: Script | Mapping[str, Script],
    order: Contract = CONTRACT,
    files: Mapping[str, str] = FILES,
    text: str = TEXT,
    *,
    prepare: Callable[[World], None] = lambda world: None,
    **rest: Any,
) -> tuple[World, OrderId]:
    world = World(root, script, **rest)
    prepare(world)
    return world, asyncio.run(world.run(files, order, text=text))


def escalation(world: World) -> OrderEscalated:
    (found,) = world.events_of(OrderEscalated)
    return found


def spawned(world: World) -> list[str]:
    return [one.call.program for one in world.calls if isinstance(one.call, Spawn)]


# ---- the way through -------------------------------------------------------------------------------------------------


def test_a_small_model_fixes_one_file_and_the_kernel_closes_the_order(tmp_path: Path) -> None:
    world, order = conduct(tmp_path, fixes)
    (closed,) = world.events_of(OrderClosed)
    assert world.result(f"refs/heads/{order}") == {**FILES, "calc.py": FIXED}
    assert closed.commit == world.forge.refs[f"refs/heads/{order}"]
    assert spawned(world) == ["file-writer", "gatekeeper"]
    assert len(world.requests) == 1
    assert "calc.py" in world.artifact("/report.md")
    left = msgspec.json.decode(world.artifact("/handoff/worker-1.json"), type=HandOff)
    assert left.changed == "calc.py"
    assert left.failed == ""


def test_the_prompt_shows_the_file_the_goal_and_the_failing_output_and_stays_short(tmp_path: Path) -> None:
    world, _ = conduct(tmp_path, fixes)
    asked = words(world.requests[0][1])
    for part in (
        "You change exactly one file: calc.py",
        "`add` must add.",
        "Keep the names.",
        BROKEN,
        "AssertionError",
    ):
        assert part in asked
    assert len(asked) < 6_000, "about 1,500 tokens; with the answer it fits a context of 4,096"
    assert not world.requests[0][1].tools, "small models cannot call tools"


def test_the_gatekeeper_is_another_process_in_another_trust_domain(tmp_path: Path) -> None:
    world, _ = conduct(tmp_path, fixes)
    (attested,) = world.events_of(ContentAttested)
    assert (attested.verdict, attested.grade) == (Verdict.PASSED, "independent")
    assert attested.principal == "agent:gate"
    assert "2 tests passed" in attested.reason


def test_a_failing_change_is_mended_once_with_the_failing_output(tmp_path: Path) -> None:
    lines = iter([block(WRONG), block(FIXED)])
    world, order = conduct(tmp_path, lambda request: next(lines))
    assert world.result(f"refs/heads/{order}")["calc.py"] == FIXED
    assert len(world.events_of(AttemptBegun)) == 1
    again = words(world.requests[1][1])
    assert WRONG in again, "the second request shows the file as it is by then"
    assert "AssertionError" in again


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (Line(say="I cannot help with that."), "there is no fenced code block"),
        (Line(say="```python\n\n```"), "the block is empty"),
        (block("def add(a, b:\n"), "it does not parse"),
        (block("def add(a, b):\n    return a + b\n"), "these names are gone, and must stay: double"),
        (block(BROKEN), "the file is the same as before"),
        (block("def add(a, b):\n    return a + b\n\n# ... rest of the file\ndef double(a): pass\n"), "left out"),
        (Line(say="```python\n" + "x" * 9_000), "it was cut off after"),
    ],
)
def test_an_answer_that_cannot_be_used_is_never_written_and_is_asked_for_once_more(
    tmp_path: Path, said: Line, why: str
) -> None:
    lines = iter([said, block(FIXED)])
    world, order = conduct(tmp_path, lambda request: next(lines))
    assert why in words(world.requests[1][1])
    assert world.result(f"refs/heads/{order}")["calc.py"] == FIXED
    assert sum(one.name == "present" for one in world.calls) == 1


# ---- other models, other attempts ------------------------------------------------------------------------------------


def test_garbage_without_end_uses_two_requests_per_attempt_and_goes_to_a_person(tmp_path: Path) -> None:
    world, order = conduct(tmp_path, says(Line(say="?")), contract(attempts_max=2))
    assert escalation(world).reason == "attempts"
    assert "no fenced code block" in escalation(world).detail
    assert len(world.requests) == 4
    assert f"refs/heads/{order}" not in world.forge.refs


def test_the_next_attempt_is_done_by_the_next_model_class_with_what_the_first_left(tmp_path: Path) -> None:
    scripts = {"tiny": says(block(WRONG)), "coder": fixes}
    world, order = conduct(tmp_path, scripts, contract(model_classes=("tiny", "coder")))
    assert world.result(f"refs/heads/{order}")["calc.py"] == FIXED
    assert [name for name, _ in world.requests] == ["tiny", "tiny", "coder"]
    assert "It failed: pytest failed (check_failed)" in words(world.requests[-1][1])


def test_a_model_that_dies_is_replaced_by_the_next_class_which_finishes(tmp_path: Path) -> None:
    scripts = {"tiny": says(Line(fault="refuse", say="the model is gone")), "coder": fixes}
    world, order = conduct(tmp_path, scripts, contract(model_classes=("tiny", "coder")))
    assert world.result(f"refs/heads/{order}")["calc.py"] == FIXED
    left = msgspec.json.decode(world.artifact("/handoff/worker-1.json"), type=HandOff)
    assert "the model is gone" in left.failed
    assert "the model is gone" in words(world.requests[-1][1])


def test_a_model_that_dies_in_the_middle_leaves_its_change_behind_and_not_in_the_result(tmp_path: Path) -> None:
    lines = iter([block(WRONG), Line(fault="refuse", say="gone")])
    scripts = {"tiny": lambda request: next(lines), "coder": fixes}
    world, order = conduct(tmp_path, scripts, contract(model_classes=("tiny", "coder")))
    assert world.result(f"refs/heads/{order}")["calc.py"] == FIXED
    assert BROKEN in words(world.requests[-1][1]), "the new attempt starts from the base"


def test_with_no_other_class_a_dead_model_burns_no_more_attempts(tmp_path: Path) -> None:
    world, _ = conduct(tmp_path, says(Line(fault="refuse", say="the model is gone")), contract(attempts_max=3))
    assert escalation(world).reason == "model_unavailable"
    assert "the model is gone" in escalation(world).detail
    assert len(world.events_of(AttemptBegun)) == 1


# ---- what no worker can talk its way past ----------------------------------------------------------------------------


def test_a_change_that_makes_tests_worse_never_closes(tmp_path: Path) -> None:
    world, order = conduct(tmp_path, says(block(WRONG)), contract(attempts_max=1))
    assert escalation(world).reason == "attempts"
    assert not world.events_of(OrderClosed)
    assert not [one for one in world.calls if isinstance(one.call, Attest)], "nobody is asked to judge what failed"
    assert f"refs/heads/{order}" not in world.forge.refs


@pytest.mark.parametrize("reason", [Reason.NO_SANDBOX, Reason.CHECK_BROKEN])
def test_what_cannot_be_verified_here_goes_to_a_person_at_once_with_the_way_out(tmp_path: Path, reason: Reason) -> None:
    def breaks(world: World) -> None:
        world.checker.broken = reason

    world, _ = conduct(tmp_path, fixes, contract(attempts_max=3), prepare=breaks)
    assert escalation(world).reason == reason
    assert "The way out:" in escalation(world).detail
    assert "then retry" in escalation(world).detail
    assert len(world.events_of(AttemptBegun)) == 1, "another attempt would find the same"


def test_a_spent_budget_is_named_as_the_reason(tmp_path: Path) -> None:
    world, _ = conduct(tmp_path, fixes, contract(budget=Amounts(uusd=10, tokens=10**8, actions=100)))
    assert escalation(world).reason == "budget"
    assert "uusd left of 10" in escalation(world).detail
    assert not world.requests, "nothing was sent that could not be paid"


def test_actions_run_out_like_money(tmp_path: Path) -> None:
    world, _ = conduct(tmp_path, fixes, contract(budget=Amounts(uusd=10**6, tokens=10**8, actions=2)))
    assert escalation(world).reason == "budget"
    assert "actions left of 2" in escalation(world).detail


def test_an_agent_nobody_has_goes_to_a_person_with_those_there_are(tmp_path: Path) -> None:
    world, _ = conduct(tmp_path, fixes, contract(agent="wizard"))
    assert escalation(world).reason == "unknown_agent"
    assert "worker-tools" in escalation(world).detail


def test_without_the_tools_it_needs_the_worker_says_which(tmp_path: Path) -> None:
    world, _ = conduct(tmp_path, fixes, contract(tools=(), attempts_max=1))
    assert escalation(world).reason == "attempts"
    assert "/list_files" in escalation(world).detail


def test_a_person_can_let_it_go_on_and_the_next_worker_knows_what_happened(tmp_path: Path) -> None:
    lines = iter([Line(say="?"), Line(say="?"), block(FIXED)])
    world = World(tmp_path, lambda request: next(lines))

    async def both() -> OrderId:
        async with world.started():
            order = await world.submit(FILES, contract(attempts_max=1), text=TEXT)
            await world.settled(order)
            await world.decide("retry")
            await world.until(lambda: order in world.machine.state.closed)
        return order

    order = asyncio.run(both())
    assert world.result(f"refs/heads/{order}")["calc.py"] == FIXED
    assert "no fenced code block" in words(world.requests[-1][1])


# ---- reviewers and people --------------------------------------------------------------------------------------------

REVIEWED = (PYTEST, Review(name="look"))


def reviewing(*opinions: dict[str, Any], planted: str = "failed") -> Script:
    """Fixes, and judges: the planted case as told, then one opinion for each review."""
    left = iter(opinions)

    def pick(request: Request) -> Line:
        if "must not be merged" in words(request):
            return Line(json={"verdict": planted})
        return Line(json=next(left)) if request.schema is not None else fixes(request)

    return pick


def test_a_reviewer_reads_the_change_and_its_word_is_on_record(tmp_path: Path) -> None:
    world, _ = conduct(tmp_path, reviewing({"verdict": "passed", "findings": []}), contract(accept=REVIEWED))
    assert world.events_of(OrderClosed)
    attested = {event.check: event for event in world.events_of(ContentAttested)}
    assert attested["look"].principal == "agent:review"
    assert FIXED in words(world.requests[-1][1]), "what it judges is what was presented"


def test_a_review_that_says_no_starts_another_attempt_with_its_findings(tmp_path: Path) -> None:
    no = {"verdict": "failed", "findings": ["calc.py: no docstring"]}
    script = reviewing(no, {"verdict": "passed", "findings": []})
    world, _ = conduct(tmp_path, script, contract(accept=REVIEWED))
    assert world.events_of(OrderClosed)
    assert len(world.events_of(AttemptBegun)) == 2
    second = [words(request) for _, request in world.requests if request.schema is None][1]
    assert "look: calc.py: no docstring" in second


@pytest.mark.parametrize("planted", ["passed", "no idea"])
def test_a_model_that_passes_a_planted_fault_judges_nothing(tmp_path: Path, planted: str) -> None:
    script = reviewing({"verdict": "passed", "findings": []}, planted=planted)
    world, _ = conduct(tmp_path, script, contract(accept=REVIEWED))
    assert escalation(world).reason == "review_unverified"
    assert not world.events_of(OrderClosed)
    (attested,) = world.events_of(ContentAttested)
    assert attested.verdict == Verdict.UNVERIFIED


def test_a_small_model_judges_nothing_even_when_it_names_the_planted_fault(tmp_path: Path) -> None:
    script = reviewing({"verdict": "passed", "findings": []})
    names = {"coder": "qwen2.5-coder-1.5b-instruct"}
    world, _ = conduct(tmp_path, script, contract(accept=REVIEWED), names=names)
    assert escalation(world).reason == "review_unverified"
    assert "too small to judge (1500 million parameters)" in escalation(world).detail


def test_another_family_judges_where_the_contract_asks_for_one(tmp_path: Path) -> None:
    scripts = {"coder": fixes, "judge": reviewing({"verdict": "passed", "findings": []})}
    accept = (PYTEST, Review(name="look", is_other_family=True))
    names = {"coder": "qwen3-coder-30b", "judge": "claude-opus"}
    order = contract(accept=accept, model_classes=("coder", "judge"))
    world, _ = conduct(tmp_path, scripts, order, names=names)
    assert world.events_of(OrderClosed)
    attested = {event.check: event for event in world.events_of(ContentAttested)}
    assert attested["look"].family == "claude"


def test_the_same_family_judges_nothing_where_another_is_asked_for(tmp_path: Path) -> None:
    scripts = {"coder": fixes, "judge": reviewing({"verdict": "passed", "findings": []})}
    accept = (PYTEST, Review(name="look", is_other_family=True))
    names = {"coder": "claude-haiku", "judge": "claude-opus"}
    order = contract(accept=accept, model_classes=("coder", "judge"))
    world, _ = conduct(tmp_path, scripts, order, names=names)
    assert escalation(world).reason == "review_unverified"
    assert "another family is asked for" in escalation(world).detail


@pytest.mark.parametrize("choice", ["approve", "reject"])
def test_a_person_has_the_last_word_where_the_contract_asks_for_it(
    tmp_path: Path, choice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judgement, "POLL_NS", 1_000_000)  # a millisecond: nobody here takes minutes to answer
    order = contract(accept=(PYTEST, Approval(name="ok")), attempts_max=1)
    world = World(tmp_path, fixes)

    async def both() -> OrderId:
        async with world.started():
            order_id = await world.submit(FILES, order, text=TEXT)
            await world.settled(order_id)
            await world.decide(choice)
            await world.settled(order_id)
        return order_id

    asyncio.run(both())
    assert bool(world.events_of(OrderClosed)) == (choice == "approve")
    if choice == "reject":
        assert escalation(world).reason == "attempts"
        assert "a person did not accept it" in escalation(world).detail


def test_advice_for_the_next_attempt_comes_from_a_model_that_may_judge(tmp_path: Path) -> None:
    def judge(request: Request) -> Line:
        if "must not be merged" in words(request):
            return Line(json={"verdict": "failed"})
        return Line(json={"missed": "addition", "next": "replace the sign in calc.py"})

    scripts = {"tiny": says(block(WRONG)), "judge": judge, "coder": fixes}
    world, _ = conduct(tmp_path, scripts, contract(model_classes=("tiny", "coder", "judge")))
    assert world.events_of(OrderClosed)
    assert "Next: replace the sign in calc.py" in words(world.requests[-1][1])


# ---- time ------------------------------------------------------------------------------------------------------------


def test_a_worker_that_hangs_is_killed_when_its_time_is_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from agentos.userland.agents import conductor

    monkeypatch.setattr(conductor, "MINUTE_NS", 3_000_000)  # so that a quarter of an hour is 45 ms
    scripts = {"tiny": says(Line(fault="hang")), "coder": fixes}
    world, _ = conduct(tmp_path, scripts, contract(model_classes=("tiny", "coder")))
    assert [one for one in world.calls if isinstance(one.call, Kill)]
    assert len(world.events_of(AttemptBegun)) >= 2


# ---- workers in rounds -----------------------------------------------------------------------------------------------

ROUNDS = {"agent": "worker-tools"}


def turns(*lines: Line) -> Script:
    """One line for each turn; the last for ever."""

    def pick(request: Request) -> Line:
        turn = sum(message.role == "assistant" for message in request.messages)
        return lines[min(turn, len(lines) - 1)]

    return pick


def calls(name: str, **arguments: Any) -> Line:
    return Line(calls=(Call(name=name, arguments=arguments),))


EDIT = calls("edit_file", path="calc.py", old="a - b", new="a + b")
HANDOFF = Line(say="ATTEMPTED: the sign\nCHANGED: calc.py\nREMAINS: nothing\nFAILED: -\nNEXT: -")


def last_result(world: World) -> str:
    return words(world.requests[-1][1])


def test_a_capable_model_reads_edits_presents_and_is_done(tmp_path: Path) -> None:
    script = turns(calls("read_file", path="calc.py"), EDIT, calls("present"))
    world, order = conduct(tmp_path, script, contract(**ROUNDS))
    assert world.result(f"refs/heads/{order}")["calc.py"] == FIXED
    assert len(world.requests) == 3


def test_a_model_that_just_stops_has_its_work_presented_and_its_words_kept(tmp_path: Path) -> None:
    world, _ = conduct(tmp_path, turns(EDIT, HANDOFF), contract(**ROUNDS))
    assert world.events_of(OrderClosed)
    left = msgspec.json.decode(world.artifact("/handoff/worker-1.json"), type=HandOff)
    assert "the sign" in left.attempted
    assert left.changed == "calc.py"


def test_claiming_success_without_a_change_closes_nothing(tmp_path: Path) -> None:
    claim = Line(say="ATTEMPTED: all\nCHANGED: calc.py\nREMAINS: nothing\nAll tests pass now.")
    world, _ = conduct(tmp_path, says(claim), contract(**ROUNDS, attempts_max=1))
    assert escalation(world).reason == "attempts"
    assert "nothing was changed" in escalation(world).detail
    left = msgspec.json.decode(world.artifact("/handoff/worker-1.json"), type=HandOff)
    assert left.changed == "", "what it claims to have changed it did not"


def test_changing_the_tests_instead_of_the_code_closes_nothing(tmp_path: Path) -> None:
    cheat = calls("write_file", path="tests/test_calc.py", content="def test_add():\n    assert True\n")
    world, _ = conduct(tmp_path, turns(cheat, HANDOFF), contract(**ROUNDS, attempts_max=1))
    assert escalation(world).reason == "attempts"
    assert "protected" in escalation(world).detail
    assert not world.events_of(OrderClosed)


def test_writing_outside_the_scope_closes_nothing(tmp_path: Path) -> None:
    scope = Scope(allowed=("calc.py",), protected=("tests/**",))
    stray = calls("write_file", path="notes/plan.md", content="x")
    world, _ = conduct(tmp_path, turns(EDIT, stray, HANDOFF), contract(**ROUNDS, attempts_max=1, scope=scope))
    assert "outside the scope" in escalation(world).detail


def test_the_same_call_again_and_again_is_stopped_and_nothing_is_spent_on_it(tmp_path: Path) -> None:
    world, _ = conduct(tmp_path, says(calls("read_file", path="calc.py")), contract(**ROUNDS, attempts_max=1))
    assert escalation(world).reason == "attempts"
    assert "without changing a file" in escalation(world).detail
    assert len(world.requests) == 12


def test_one_model_turn_cannot_repeat_a_call_past_the_kernels_bound(tmp_path: Path) -> None:
    many = Line(calls=tuple(Call(name="read_file", arguments={"path": "calc.py"}) for _ in range(8)))
    world, _ = conduct(tmp_path, turns(many, HANDOFF), contract(**ROUNDS, attempts_max=1))
    assert "has made the same invoke call 5 times in a row" in words(world.requests[1][1])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (Line(calls=(Call(name="read_file", arguments='{"path": '),)), "are no JSON"),
        (Line(calls=(Call(name="read_file", arguments='["calc.py"]'),)), "are no JSON object"),
        (Line(calls=(Call(name="read_file", arguments="{}"),)), "read_file needs path"),
        (Line(calls=(Call(name="read_file", arguments={"path": 3}),)), "path must be of type string"),
        (Line(calls=(Call(name="read_file", arguments={"path": "a", "mode": "r"}),)), "has no argument mode"),
        (calls("rm", path="calc.py"), "there is no tool 'rm'"),
        (calls("read_file", path="../../etc/passwd"), "goes up; name it from"),
        (calls("send", to="1.1", kind="x", body="y"), "refused:"),
        (calls("spawn_agent", agent="wizard", task="x"), "expected one of"),
    ],
)
def test_what_a_model_writes_wrongly_comes_back_as_an_error_it_can_read(tmp_path: Path, line: Line, said: str) -> None:
    world, order = conduct(tmp_path, turns(line, EDIT, HANDOFF), contract(**ROUNDS))
    assert said in words(world.requests[1][1])
    assert world.result(f"refs/heads/{order}")["calc.py"] == FIXED, "and it can go on from there"


def test_an_agent_can_ask_a_person_and_goes_on_with_the_answer(tmp_path: Path) -> None:
    script = turns(calls("ask", question="Add or subtract?", choices=["add", "subtract"]), EDIT, HANDOFF)
    world = World(tmp_path, script)

    async def both() -> None:
        async with world.started():
            order = await world.submit(FILES, contract(**ROUNDS), text=TEXT)
            await world.settled(order)
            await world.decide("add", "of course")
            await world.until(lambda: order in world.machine.state.closed)

    asyncio.run(both())
    assert "add of course" in words(world.requests[1][1])


def test_an_agent_can_have_a_smaller_one_do_a_part(tmp_path: Path) -> None:
    def pick(request: Request) -> Line:
        if "Write the final text in Markdown" in words(request):
            return Line(say="The sign is wrong.")
        return turns(calls("spawn_agent", agent="writer", task="explain"), EDIT, HANDOFF)(request)

    world, _ = conduct(tmp_path, pick, contract(**ROUNDS))
    assert world.events_of(OrderClosed)
    assert "The sign is wrong." in words(world.requests[2][1])
    assert spawned(world) == ["tool-loop", "answer", "gatekeeper"]


def test_a_model_without_tools_is_replaced_by_one_that_has_them(tmp_path: Path) -> None:
    scripts = {"tiny": says(Line(fault="refuse", say="tiny cannot call tools")), "coder": turns(EDIT, HANDOFF)}
    world, _ = conduct(tmp_path, scripts, contract(**ROUNDS, model_classes=("tiny", "coder")))
    assert world.events_of(OrderClosed)
