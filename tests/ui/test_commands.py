"""The commands, end to end: a person's words in, a kernel behind it, what is seen and the exit status out."""

import json
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

from agentos.abi.calls.work import Cancel, Decide, Present, Raise, Submit
from agentos.abi.work import Reason, Verdict
from agentos.drivers.journal_sqlite import SqliteJournal
from agentos.kernel.state import encode
from agentos.machine import codec
from agentos.machine.journal import Header, genesis, seal
from agentos.ui.cli import follow, table, trouble
from tests.ui.seat import Daemon, Hold, Seat, run, typed
from tests.views import story
from tests.views.story import World

STORIES = (
    "closed",
    "refused",
    "unverified",
    "escalated",
    "cancelled",
    "judged",
    "crashed",
    "approved",
    "running",
    "hostile",
)


@pytest.fixture(autouse=True)
def _columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a failing test."""
    root = tmp_path / "calc"
    (root / "tests").mkdir(parents=True)
    (root / "calc.py").write_text("def div(a, b):\n    return a / b\n")
    (root / "tests/test_calc.py").write_text(
        "def test_div():\n    from calc import div\n\n    assert div(1, 0) is None\n"
    )
    git(root, "init", "-q", "-b", "main")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "first")
    return root


def git(root: Path, *words: str) -> str:
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    ran = subprocess.run(["git", *identity, *words], cwd=root, capture_output=True, text=True, timeout=60, check=True)
    return ran.stdout.strip()


def told(name: str) -> World:
    """A story of one's own: the views' tests share theirs."""
    world: World = getattr(story, name).__wrapped__()
    return world


def at(world: World, folder: Path, **more: object) -> Seat:
    return Seat(Daemon(world, **more), folder=folder)  # type: ignore[arg-type]


# ---- do ----------------------------------------------------------------------------------------------------------


def works(world: World) -> None:
    """What follows when a worker does the order."""
    order = list(world.state.orders)[-1]
    world.perform()
    conductor, worker = story._work(world, order)
    world.call(worker, Present(order=order))
    world.perform()
    story._judge(world, order, conductor)


def test_do_ends_with_a_receipt_and_0_when_the_order_is_closed(repository: Path) -> None:
    seat = at(World(), repository, goes_on=works)
    ran = run(seat, "do", "make div return None", "--check", "pytest -q", "--budget-usd", "0.50")
    assert ran.status == table.OK
    assert "C L O S E D" in ran.out
    assert "of $0.50" in ran.out
    assert "red before, green after" in ran.err
    submitted = next(call for call in seat.daemon.calls if isinstance(call, Submit))  # type: ignore[union-attr]
    assert submitted.contract.budget.uusd == 500_000
    assert submitted.contract.base == git(repository, "rev-parse", "HEAD")


def test_do_in_json_writes_one_record_a_line_and_nothing_else(repository: Path) -> None:
    ran = run(at(World(), repository, goes_on=works), "do", "make it", "--check", "pytest", "--json")
    records = [json.loads(line) for line in ran.out.splitlines()]
    assert [record["record"] for record in records] == ["draft", "submitted", "receipt"]
    assert records[-1]["exit"] == 0
    assert ran.out.isascii()
    assert not ran.err


def rejects(world: World) -> None:
    """What follows when a person ends it."""
    world.perform()
    world.call(world.person("user:ada"), Cancel(order=list(world.state.orders)[-1]))


def asks(world: World) -> None:
    """What follows when its check is green on the base already."""

    def green(effect: object) -> object:
        if type(effect).__name__ != "RunCheck":
            return None
        outcome = story.Checked(
            finding=story.finding(effect, verdict=Verdict.PASSED, reason=Reason.OK)  # type: ignore[arg-type]
        )
        return outcome

    world.perform(green)  # type: ignore[arg-type]


@pytest.mark.parametrize(("goes_on", "status"), [(rejects, table.FAILED), (asks, table.WAITING)])
def test_do_is_0_for_a_closed_order_only(repository: Path, goes_on: object, status: int) -> None:
    ran = run(at(World(), repository, goes_on=goes_on), "do", "make it", "--check", "pytest")
    assert ran.status == status
    assert "next" in ran.out.splitlines()[-1]


def interrupts(world: World) -> None:
    raise KeyboardInterrupt


def test_ctrl_c_leaves_the_order_alone_and_tells_the_way_back(repository: Path) -> None:
    seat = at(World(), repository, goes_on=interrupts)
    ran = run(seat, "do", "make it", "--check", "pytest")
    assert ran.status == table.INTERRUPTED
    assert "agentos show WO-1" in ran.err
    assert [type(call) for call in seat.daemon.calls] == [Submit]  # type: ignore[union-attr]


def test_detach_hands_in_and_returns(repository: Path) -> None:
    ran = run(at(World(), repository, goes_on=interrupts), "do", "make it", "--check", "pytest", "--detach")
    assert (ran.status, ran.out.split()[0]) == (table.OK, "WO-1")


def test_a_dry_run_hands_nothing_in(repository: Path) -> None:
    seat = at(World(), repository)
    ran = run(seat, "do", "make it", "--check", "pytest", "--dry-run")
    assert ran.status == table.OK
    assert "pytest" in ran.out
    assert not seat.daemon.calls  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "words",
    [
        ("do",),
        ("do", "a", "--file", "b"),
        ("do", "a", "--budget-usd", "lots"),
        ("do", "a", "--check", "a | b"),
        ("do", "a", "--frob"),
        ("do", " "),
        ("run",),
        ("run", "a", "--workflow", "b"),
        ("show", "frob"),
        ("kill", "frob"),
        ("cost", "--by", "colour"),
        ("trace",),
        ("work", "frob"),
        ("work", "raise", "WO-1"),
    ],
)
def test_a_mistake_of_the_person_is_status_2_and_calls_nobody(repository: Path, words: tuple[str, ...]) -> None:
    seat = at(told("closed"), repository)
    ran = run(seat, *words)
    assert (ran.status, ran.out) == (table.USAGE, "")
    assert ran.err.startswith("error:")
    assert "Traceback" not in ran.err
    assert not seat.daemon.calls  # type: ignore[union-attr]


def test_a_base_that_is_not_there_is_status_3(repository: Path) -> None:
    ran = run(at(World(), repository), "do", "a", "--check", "true", "--base", "nope")
    assert ran.status == table.NOT_FOUND
    assert "no commit 'nope'" in ran.err


def test_outside_a_repository_the_way_out_is_told(tmp_path: Path) -> None:
    ran = run(at(World(), tmp_path), "do", "a", "--check", "true")
    assert ran.status == table.NOT_FOUND
    assert "git init" in ran.err


def test_without_a_daemon_that_starts_the_status_is_7(repository: Path) -> None:
    ran = run(Seat(None, folder=repository), "do", "a", "--check", "true")
    assert ran.status == table.UNREACHABLE


def test_an_order_file_with_faults_is_told_line_by_line(repository: Path, transcript: Hold) -> None:
    path = repository / "ORDER.md"
    path.write_text("---\ntitel: x\nbudget: {usd: many}\n---\n# Goal\nx\n")
    seat = at(World(), repository)
    ran = run(seat, "run", str(path))
    assert ran.status == table.USAGE
    transcript("cli/malformed", typed(("run", "ORDER.md"), ran, {str(repository): "REPO"}))
    assert not seat.daemon.calls  # type: ignore[union-attr]


def test_a_workflow_and_its_inputs_become_the_base_of_an_order(repository: Path) -> None:
    before = (
        git(repository, "for-each-ref"),
        git(repository, "status", "--porcelain"),
        git(repository, "rev-parse", "HEAD"),
    )
    seat = at(World(), repository, goes_on=interrupts)
    ran = run(seat, "run", "--workflow", "docs-merge", "--input", "task=Merge them", "--detach")
    assert ran.status == table.OK, ran
    contract = seat.daemon.calls[0].contract  # type: ignore[union-attr]
    assert git(repository, "show", f"{contract.base}:.agentos-inputs/task") == "Merge them"
    assert git(repository, "show", f"{contract.base}:.agentos-workflow.yaml").startswith("# Three documents")
    assert git(repository, "rev-parse", f"{contract.base}^") == before[2]
    assert contract.conductor == "workflow"
    assert [check.path for check in contract.accept] == ["remote-work.md"]
    assert contract.scope.allowed == ("/remote-work.md",)
    after = (
        git(repository, "for-each-ref"),
        git(repository, "status", "--porcelain"),
        git(repository, "rev-parse", "HEAD"),
    )
    assert after == before


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("--workflow", "docs-merge", "--input", "frob=1"), table.USAGE),
        (("--workflow", "nothing-like-it"), table.NOT_FOUND),
        (("--workflow", "calc.py"), table.USAGE),
    ],
)
def test_a_workflow_is_checked_before_anything_is_written(
    repository: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], status: int
) -> None:
    monkeypatch.chdir(repository)
    objects = git(repository, "count-objects", "-v")
    seat = at(World(), repository)
    assert run(seat, "run", *words).status == status
    assert not seat.daemon.calls  # type: ignore[union-attr]
    assert git(repository, "count-objects", "-v") == objects


# ---- verify ------------------------------------------------------------------------------------------------------


def judges(verdict: Verdict, reason: Reason) -> object:
    def goes_on(world: World) -> None:
        def outcome(effect: object) -> object:
            if type(effect).__name__ == "RunCheck" and effect.commit != effect.base:  # type: ignore[attr-defined]
                return story.Checked(finding=story.finding(effect, verdict=verdict, reason=reason))  # type: ignore[arg-type]
            return None

        world.perform(outcome)  # type: ignore[arg-type]

    return goes_on


@pytest.mark.parametrize(
    ("verdict", "reason", "status"),
    [
        (Verdict.PASSED, Reason.OK, table.OK),
        (Verdict.FAILED, Reason.CHECK_FAILED, table.FAILED),
        (Verdict.UNVERIFIED, Reason.NO_SANDBOX, table.UNVERIFIED),
    ],
)
def test_verify_is_0_only_when_passed(repository: Path, verdict: Verdict, reason: Reason, status: int) -> None:
    git(repository, "checkout", "-q", "-b", "fix")
    (repository / "calc.py").write_text("def div(a, b):\n    return a / b if b else None\n")
    git(repository, "commit", "-q", "-a", "-m", "fix")
    seat = at(World(), repository, goes_on=judges(verdict, reason))
    ran = run(seat, "verify", "--base", "main", "--", "pytest", "-q")
    assert ran.status == status, ran
    contract = seat.daemon.calls[0].contract  # type: ignore[union-attr]
    assert contract.is_external
    assert contract.candidate == git(repository, "rev-parse", "HEAD")
    assert contract.base == git(repository, "rev-parse", "main")
    assert contract.accept[0].argv == ("pytest", "-q")


def test_verify_compares_with_where_the_lines_parted(repository: Path) -> None:
    forked = git(repository, "rev-parse", "HEAD")
    git(repository, "checkout", "-q", "-b", "fix")
    git(repository, "commit", "-q", "--allow-empty", "-m", "fix")
    git(repository, "checkout", "-q", "main")
    git(repository, "commit", "-q", "--allow-empty", "-m", "somebody else's")
    seat = at(World(), repository, goes_on=judges(Verdict.PASSED, Reason.OK))
    run(seat, "verify", "--base", "main", "--head", "fix", "--", "true")
    assert seat.daemon.calls[0].contract.base == forked  # type: ignore[union-attr]


def test_verify_of_nothing_is_refused(repository: Path) -> None:
    seat = at(World(), repository)
    ran = run(seat, "verify", "--base", "main", "--", "true")
    assert ran.status == table.USAGE
    assert "--worktree" in ran.err
    assert not seat.daemon.calls  # type: ignore[union-attr]


# ---- reading -----------------------------------------------------------------------------------------------------

READS = {
    "status": ("status",),
    "show": ("show", "WO-1"),
    "log": ("show", "WO-1", "--log"),
    "inbox": ("inbox",),
    "cost": ("cost", "WO-1", "--by", "phase,role"),
    "why": ("why", "WO-1"),
    "why-evidence": ("why", "evidence"),
    "ps": ("ps", "--all"),
    "work-ls": ("work", "ls"),
    "trace": ("trace", "--why", "40"),
}


@pytest.mark.parametrize("name", READS)
def test_what_is_read_reads_as_it_is_kept(name: str, tmp_path: Path, transcript: Hold) -> None:
    seat = at(told("escalated" if name == "inbox" else "closed"), tmp_path)
    ran = run(seat, *READS[name])
    assert ran.status == table.OK, ran
    transcript(f"cli/closed-{name}", typed(READS[name], ran, {str(tmp_path): "HOME"}))


EVERY = (
    *READS.values(),
    ("show",),
    ("show", "--events"),
    ("log", "--full"),
    ("top",),
    ("cost",),
    ("work", "show", "1"),
)


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
@pytest.mark.parametrize("name", STORIES)
def test_every_story_can_be_read_in_every_way(name: str, words: tuple[str, ...], tmp_path: Path) -> None:
    seat = at(told(name), tmp_path)
    ran = run(seat, *words)
    assert ran.status == table.OK, ran.err
    assert printable(ran.out + ran.err)
    again = run(seat, *words, "--json")
    assert again.status == table.OK
    records = [json.loads(line) for line in again.out.splitlines()]
    assert records
    assert again.out.isascii()
    assert not again.err


def printable(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n"))


def test_agents_words_are_withheld_from_programs_unless_asked_for(tmp_path: Path) -> None:
    seat = at(told("hostile"), tmp_path)
    words = ("show", "--events", "--json")
    kept, shown = run(seat, *words), run(seat, *words, "--content")
    assert "egnp.exe" not in kept.out.replace('"title"', "") or "withheld" in kept.out
    assert "withheld" in kept.out
    assert "withheld" not in shown.out
    notes = [row for row in map(json.loads, kept.out.splitlines()) if row["type"] == "process.noted"]
    assert all("withheld" in row["event"]["text"] for row in notes)


def test_quiet_says_the_result_and_nothing_else(repository: Path) -> None:
    ran = run(at(World(), repository, goes_on=works), "do", "make it", "--check", "pytest", "--quiet")
    assert "C L O S E D" in ran.out
    assert ran.err == ""


def test_without_a_workspace_lists_are_empty_and_pages_are_not_found(tmp_path: Path) -> None:
    seat = Seat(None, folder=tmp_path)
    for words in (("inbox",), ("work", "ls"), ("cost",), ("ps",), ("stop",)):
        assert run(seat, *words).status == table.OK, words
    for words in (("show",), ("why",), ("log",), ("report",), ("apply",), ("sys", "replay"), ("sys", "fsck")):
        assert run(seat, *words).status == table.NOT_FOUND, words
    assert run(seat, "status").status == table.UNREACHABLE
    assert not seat.home.exists()


def test_an_order_that_is_not_there_is_status_3(tmp_path: Path, transcript: Hold) -> None:
    ran = run(at(told("closed"), tmp_path), "show", "WO-9")
    assert ran.status == table.NOT_FOUND
    transcript("cli/not-found", typed(("show", "WO-9"), ran))


def test_an_order_may_be_named_by_its_number(tmp_path: Path) -> None:
    assert run(at(told("closed"), tmp_path), "show", "wo-1").out == run(at(told("closed"), tmp_path), "show", "1").out


# ---- deciding ----------------------------------------------------------------------------------------------------


def test_an_answer_in_the_inbox_lets_the_order_go_on(tmp_path: Path) -> None:
    seat = at(told("escalated"), tmp_path)
    ran = run(seat, "inbox", "--json")
    row = json.loads(ran.out)[0]
    assert f"agentos inbox {row['question']} {row['choices'][0]}" in run(seat, "inbox").out
    ran = run(seat, "inbox", str(row["question"]), row["choices"][0][:3], "--text", "go on")
    assert ran.status == table.OK, ran
    assert isinstance(seat.daemon.calls[0], Decide)  # type: ignore[union-attr]
    assert seat.daemon.calls[0].choice == row["choices"][0]  # type: ignore[union-attr]
    assert json.loads(run(seat, "inbox", "--json").out) == []


def test_what_is_no_choice_decides_nothing(tmp_path: Path) -> None:
    seat = at(told("escalated"), tmp_path)
    number = str(json.loads(run(seat, "inbox", "--json").out)[0]["question"])
    assert run(seat, "inbox", number, "frob").status == table.USAGE
    assert run(seat, "inbox", "99").status == table.NOT_FOUND
    assert not seat.daemon.calls  # type: ignore[union-attr]


def test_an_escalated_order_is_resumed_by_its_name(tmp_path: Path) -> None:
    seat = at(told("escalated"), tmp_path)
    assert run(seat, "work", "resume", "WO-1").status == table.OK
    assert run(seat, "work", "resume", "WO-1").status == table.FAILED


def test_stop_wants_a_name_and_ends_that_order(tmp_path: Path) -> None:
    seat = at(told("running"), tmp_path)
    ran = run(seat, "stop")
    assert ran.status == table.USAGE
    assert "WO-1" in ran.err
    assert run(seat, "stop", "1").status == table.OK
    assert run(seat, "stop", "--all").out == "No order is open.\n"
    assert [type(call) for call in seat.daemon.calls] == [Cancel]  # type: ignore[union-attr]


def test_a_refusal_is_told_with_the_kernels_own_remedy(tmp_path: Path, transcript: Hold) -> None:
    seat = at(told("cancelled"), tmp_path)
    ran = run(seat, "stop", "WO-1")
    assert ran.status == table.FAILED
    transcript("cli/refused", typed(("stop", "WO-1"), ran))


def test_more_budget_is_asked_for_exactly(tmp_path: Path) -> None:
    seat = at(told("running"), tmp_path)
    assert run(seat, "work", "raise", "WO-1", "--usd", "0.000001").status == table.OK
    raised = seat.daemon.calls[0]  # type: ignore[union-attr]
    assert isinstance(raised, Raise)
    assert raised.by.uusd == 1


def test_sys_down_stops_a_daemon_and_says_so_when_there_is_none(tmp_path: Path) -> None:
    seat = at(told("closed"), tmp_path)
    assert run(seat, "sys", "down").status == table.OK
    assert seat.daemon is not None and seat.daemon.is_stopped
    assert run(Seat(None, folder=tmp_path), "sys", "down").out == "No daemon runs.\n"


def test_the_journal_is_not_checked_under_a_running_daemon(tmp_path: Path) -> None:
    ran = run(at(told("closed"), tmp_path), "sys", "fsck")
    assert ran.status == table.FAILED
    assert "agentos sys down" in ran.err


# ---- errors ------------------------------------------------------------------------------------------------------


def test_a_defect_of_ours_is_told_as_that_and_shown_with_debug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seat = at(told("closed"), tmp_path)
    monkeypatch.setattr(seat, "facts", lambda: 1 // 0)
    ran = run(seat, "show")
    assert ran.status == table.FAILED
    assert "defect" in ran.err
    assert "Traceback" not in ran.err
    with pytest.raises(ZeroDivisionError):
        run(seat, "show", "--debug")


def test_errors_are_json_where_json_is_asked_for(tmp_path: Path) -> None:
    ran = run(at(told("closed"), tmp_path), "show", "WO-9", "--json")
    assert ran.out == ""
    assert json.loads(ran.err)["error"]["exit"] == table.NOT_FOUND


def test_every_named_error_exists() -> None:
    """The table knows errors by name, so a renamed class would be told as a defect."""
    import importlib

    for name in trouble._TABLE:
        module, _, kind = name.rpartition(".")
        assert issubclass(getattr(importlib.import_module(module), kind), BaseException), name


def test_no_colour_reaches_a_pipe_or_who_does_not_want_it(tmp_path: Path) -> None:
    from agentos.ui.cli.screen import Screen

    class Terminal:
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

    assert Screen(out=Terminal(), err=Terminal(), env={}).is_colour  # type: ignore[arg-type]
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert not Screen(out=Terminal(), err=Terminal(), env=env).is_colour  # type: ignore[arg-type]
    assert "\x1b" not in run(at(told("closed"), tmp_path), "show").out


def test_every_end_of_an_order_has_its_status() -> None:
    ends = {name: follow.standing(story_facts(name), "WO-1") for name in ("closed", "cancelled", "escalated", "judged")}
    assert ends["closed"].exit == table.OK
    assert ends["cancelled"].exit == table.FAILED
    assert ends["escalated"].exit == table.WAITING
    assert ends["judged"].state == "judged"


def story_facts(name: str) -> list[object]:
    return list(told(name).facts)


# ---- on disk, with no daemon ---------------------------------------------------------------------------------------


def founded(world: World, home: Path) -> None:
    """The story's facts as a journal on disk."""
    home.mkdir()
    journal = SqliteJournal(home / "journal.db")
    journal.set_meta("workspace", "w")
    previous, rows = genesis("w"), []
    for fact in world.facts:
        event = fact.event
        header = Header(
            fact.seq, fact.at_ns, fact.epoch, fact.type, codec.version(event), fact.caller, fact.cause, fact.order
        )
        rows.append(seal(previous, "w", header, salt=bytes(16), payload=codec.encode(event)))
        previous = rows[-1].hash
    journal.append(rows, is_durable=True)
    journal.close()


@pytest.fixture
def dead(tmp_path: Path) -> Seat:
    """A workspace with a closed order, and no daemon."""
    founded(told("closed"), tmp_path / "home")
    return Seat(None, folder=tmp_path)


def test_what_is_on_disk_is_read_with_the_daemon_dead(dead: Seat, tmp_path: Path) -> None:
    alive = at(told("closed"), tmp_path)
    for words in (("show", "WO-1"), ("why",), ("cost",), ("log", "--full"), ("trace", "4.1")):
        assert run(dead, *words) == run(alive, *words), words


def test_a_whole_journal_is_found_whole_and_replays_to_the_same_state(dead: Seat) -> None:
    ran = run(dead, "sys", "fsck")
    assert ran.status == table.OK, ran
    assert [line.split()[:2] for line in ran.out.splitlines()] == [
        ["ok", name] for name in ("storage", "chain", "fold", "laws")
    ]
    digest = sha256(encode(told("closed").state)).hexdigest()
    assert json.loads(run(dead, "sys", "replay", "--json").out)["digest"] == digest
    assert json.loads(run(dead, "sys", "replay", "--until", "40", "--json").out)["events"] == 40


def test_a_journal_that_was_tampered_with_is_found_out(dead: Seat) -> None:
    import apsw

    connection = apsw.Connection(str(dead.home / "journal.db"))
    (name,) = [row[0] for row in connection.execute("select name from sqlite_master where sql like '%payload%'")]
    connection.execute(f"update {name} set at_ns = at_ns + 1 where seq = 60")
    connection.close()
    ran = run(dead, "sys", "fsck")
    assert ran.status == table.FAILED
    assert "event 60" in ran.out
    assert run(dead, "doctor").status == table.FAILED


def test_a_report_is_one_file_and_is_not_written_over_another(dead: Seat, tmp_path: Path) -> None:
    path = tmp_path / "r.html"
    assert run(dead, "report", "WO-1", "-o", str(path)).status == table.OK
    assert "<html" in path.read_text()
    path.write_text("mine")
    assert run(dead, "report", "WO-1", "-o", str(path)).status == table.USAGE
    assert path.read_text() == "mine"


def test_the_doctor_tells_what_it_looked_at(dead: Seat) -> None:
    lines = json.loads(run(dead, "doctor", "--json").out)
    assert {line["name"] for line in lines} >= {"python", "git", "sandbox", "model", "disk", "journal"}
    assert all(line["fix"] for line in lines if line["state"] != "ok")
    assert {line["state"] for line in lines} <= {"ok", "warn", "fail"}
