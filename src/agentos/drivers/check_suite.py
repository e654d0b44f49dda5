"""The checker: runs one acceptance check on one exact tree, in the sandbox, and says what it found. Refusing a false
"done" is what this file is for.

    ordinary run     base's tests, change's code; a positive record for each named test, or it did not pass
    the base         the same on the base: which tests are red, which green, what the tests read
    the probe        could it have failed? each passing test apart from the artifact, or with its expectations spoiled

Rule 1: passed means: every named test left a positive record. An exit status is a pass only for commands without ids.
Rule 2: named are the tests the check lists; where it lists none, those that were red on the base and all green ones.
Rule 3: no sandbox, nothing runs: `unverified`, `no_sandbox`. What cannot be started is `check_broken`, with the way out.
Rule 4: nothing the artifact prints is believed where a record can be had; where it cannot, `detail` says so.
Rule 5: a finding is kept for the life of nothing but its base: the same content asked again is run again.
"""

import asyncio
import re
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import NamedTuple

import msgspec

from agentos.abi import paths
from agentos.abi.ids import Digest
from agentos.abi.work import (
    Approval,
    Check,
    Command,
    Document,
    FileSchema,
    Finding,
    Metric,
    Reason,
    Review,
    Scope,
    Unchanged,
    Verdict,
)
from agentos.drivers import (
    check_document,
    check_probe,
    check_python,
    check_run,
    check_runners,
    check_schema,
    check_spoil,
    check_trees,
)
from agentos.drivers.check_run import LOG_BYTES_MAX, Ran, Suite
from agentos.drivers.check_runners import Plan
from agentos.drivers.check_trees import Trees
from agentos.ports.blobs import Blobs
from agentos.ports.forge import Forge
from agentos.ports.sandbox import Bind, Exit, Limits, Sandbox, Unavailable
from agentos.ports.sandbox import Command as Run

BASES_MAX = 32  # bases whose run is remembered: one per order in flight on a small machine
FILE_BYTES_MAX = 4 << 20  # a file that is checked against a schema; parsing holds ten times that
NAMES_MAX = 3  # tests named in a detail, which is one line for a person

Toolchain = Callable[..., tuple[Bind, ...]]


class _Place(NamedTuple):
    """One check on one change."""

    repository: Path
    commit: str
    base: str
    scope: Scope
    scratch: Path
    tree: Digest
    is_probed: bool


class _Base(NamedTuple):
    """What the suite said of the base."""

    ran: Ran
    green: frozenset[str]
    red: frozenset[str]


class SuiteChecker:
    """`agentos.ports.check.Checker`. `toolchain` names the binds for commands that are no Python suite."""

    name = "suite"

    def __init__(
        self, forge: Forge, sandbox: Sandbox, blobs: Blobs, *, scratch: Path, toolchain: Toolchain | None = None
    ) -> None:
        self.forge = forge
        self.sandbox = sandbox
        self.blobs = blobs
        self.scratch = scratch
        self.toolchain = toolchain
        self._bases: OrderedDict[tuple[object, ...], _Base] = OrderedDict()

    async def run(
        self, check: Check, *, repository: Path, commit: str, base: str, scope: Scope, is_probed: bool = False
    ) -> Finding:
        """One finding. With `is_probed`, a pass also means that the check was seen to be able to fail here."""
        if isinstance(check, Review | Approval):
            raise ValueError(  # noqa: TRY004 (a wrong value of the union, not a wrong type)
                f"check {check.name!r} is a {type(check).__name__.lower()}: a principal's act, nothing to run"
            )
        tree = await self.forge.tree(repository, commit)
        self.scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=self.scratch, ignore_cleanup_errors=True) as scratch:
            place = _Place(repository, commit, base, scope, Path(scratch), tree, is_probed)
            if isinstance(check, FileSchema):
                return await self._file(check, place)
            if isinstance(check, Document):
                return await self._document(check, place)
            if isinstance(check, Unchanged):
                return await self._unchanged(check, place)
            level = await asyncio.to_thread(self.sandbox.probe)
            if not level.is_usable:
                missing = "; ".join(level.missing)
                return _found(check, place, Reason.NO_SANDBOX, f"nothing was run; this machine lacks {missing}")
            try:
                return await (self._metric if isinstance(check, Metric) else self._command)(check, place)  # type: ignore[arg-type]
            except Unavailable as refusal:
                return _found(check, place, Reason.NO_SANDBOX, f"nothing was run; {refusal}")

    # Commands.

    async def _command(self, check: Command, place: _Place) -> Finding:
        base, whole = await self._export(place)
        plan = check_runners.plan(check.argv, lambda path: check_trees.content(base, path))
        trees = await check_trees.compose(base, whole, place.scope, plan.defined_in)
        if plan.runner in ("pytest", "unittest"):
            return await self._suite(check, place, plan, trees)
        return await self._plain(check, place, plan, trees)

    async def _export(self, place: _Place) -> tuple[Path, Path]:
        return await check_trees.export(
            self.forge, place.scratch, repository=place.repository, commit=place.commit, base=place.base
        )

    async def _suite(self, check: Command, place: _Place, plan: Plan, trees: Trees) -> Finding:
        module = "pytest" if plan.runner == "pytest" else None
        python = check_python.find(place.repository, module)
        if python is None:
            return _found(
                check,
                place,
                Reason.CHECK_BROKEN,
                "no Python at hand has pytest; in the repository: python3 -m venv .venv && .venv/bin/pip install pytest",
            )
        suite = Suite(plan.runner, plan.words, python, check.timeout_s)
        base = await self._base(place, suite, trees)
        if place.commit == place.base:
            return self._judged(check, place, suite, trees, base, base.ran)
        tree = await check_trees.copy(trees.whole, place.scratch / "ordinary")
        ran = await check_run.together(self.sandbox, suite, tree, kept=trees.kept)
        finding = self._judged(check, place, suite, trees, base, ran)
        if finding.verdict is not Verdict.PASSED or not place.is_probed:
            return finding
        return await self._probed(finding, place, suite, trees, base)

    async def _base(self, place: _Place, suite: Suite, trees: Trees) -> _Base:
        theirs = trees.kept | trees.helpers
        key = (place.repository, place.base, suite, place.scope, theirs)
        if key in self._bases:
            self._bases.move_to_end(key)
            return self._bases[key]
        tree = await check_trees.copy(trees.base, place.scratch / "ordinary-base")
        ran = await check_run.together(self.sandbox, suite, tree, kept=theirs, is_base=True)
        self._bases[key] = base = _base_of(ran)
        while len(self._bases) > BASES_MAX:
            self._bases.popitem(last=False)
        return base

    def _judged(self, check: Command, place: _Place, suite: Suite, trees: Trees, base: _Base, ran: Ran) -> Finding:
        named = frozenset(check.tests) or base.green | base.red
        canaries = frozenset(ran.canaries or ())
        tests = {name: test for name, test in ran.tests.items() if name not in canaries}
        passed = tuple(sorted(name for name, test in tests.items() if test.outcome == "passed"))
        failed = tuple(sorted(name for name, test in tests.items() if test.outcome == "failed"))
        missing = sorted(named - set(passed) - set(failed)) + _missing_files(base, tests, trees, suite.runner)
        reason, detail = _reason(check, base, ran, set(failed) & named if check.tests else set(failed), missing)
        if reason is Reason.OK:
            detail = f"{len(passed)} tests passed"
        return _found(
            check,
            place,
            reason,
            detail,
            passed=passed,
            failed=failed,
            **self._evidence(ran.log, ran.wall_ns, ran.level),
        )

    async def _probed(self, finding: Finding, place: _Place, suite: Suite, trees: Trees, base: _Base) -> Finding:
        named = frozenset(finding.passed)
        subject = check_probe.Subject(self.sandbox, suite, trees, place.scratch, named, base.green, base.ran)
        found = await check_probe.probe(subject)
        duration_ns = finding.duration_ns + sum(ran.wall_ns for ran in found.runs)
        if found.blind:
            first, why = min(found.blind.items())
            detail = f"{_names(list(found.blind))}: {why}" if len(found.blind) == 1 else f"{first} and others: {why}"
            return msgspec.structs.replace(
                finding, verdict=Verdict.FAILED, reason=Reason.CHECK_CANNOT_FAIL, detail=detail, duration_ns=duration_ns
            )
        detail = f"{len(named)} tests passed; {len(found.apart)} apart from the code, {len(found.probed)} with spoiled copies"
        if found.unprobed:
            detail += f"; {len(found.unprobed)} could not be probed: {_names(sorted(found.unprobed))}"
        return msgspec.structs.replace(finding, detail=detail, duration_ns=duration_ns)

    async def _plain(self, check: Command, place: _Place, plan: Plan, trees: Trees) -> Finding:
        base_exit = await self._exec(check, place, plan, trees.base, "plain-base")
        ran = base_exit if place.commit == place.base else await self._exec(check, place, plan, trees.whole, "plain")
        has_ids = plan.runner != "plain"
        seen = check_runners.outcomes(plan.runner, ran.stdout) if has_ids else check_runners.Outcomes((), ())
        before = check_runners.outcomes(plan.runner, base_exit.stdout) if has_ids else seen
        named = set(check.tests) or set(before.passed) | set(before.failed)
        missing = sorted(named - set(seen.passed) - set(seen.failed))
        reason, detail = _plain_reason(check, ran, missing, is_red_on_base=base_exit.status != 0)
        evidence = self._evidence((ran.stdout + ran.stderr)[-LOG_BYTES_MAX:], ran.wall_ns, ran.level)
        if reason is Reason.OK and has_ids:
            detail = f"{len(seen.passed)} tests passed, by the runner's own output, which the code under test shares"
        elif reason is Reason.OK:
            detail = "exit status 0; this command leaves no record per test"
            if place.is_probed and place.commit != place.base:
                reason, detail = await self._poisoned(check, place, plan, trees, detail)
        return _found(
            check, place, reason, detail, passed=seen.passed, failed=seen.failed, exit_status=ran.status, **evidence
        )

    async def _poisoned(
        self, check: Command, place: _Place, plan: Plan, trees: Trees, detail: str
    ) -> tuple[Reason, str]:
        """A script that checks by assertion must end badly once they are negated."""
        script = next((p for p in plan.defined_in if p.endswith(".py") and p in trees.kept), None)
        made = check_spoil.poison(check_trees.content(trees.whole, script) or b"") if script else None
        if script is None or made is None:
            return Reason.OK, f"{detail}, and could not be probed"
        put = {script: made.source}
        spoiled = await self._exec(check, place, plan, trees.whole, "poisoned", put=put)
        if spoiled.status == 0 and made.certain:
            return Reason.CHECK_CANNOT_FAIL, f"{script} exits 0 with every assertion negated"
        is_probed = spoiled.status != 0
        return Reason.OK, f"{detail}, {'and fails once spoiled' if is_probed else 'and could not be probed'}"

    async def _exec(
        self,
        check: Command | Metric,
        place: _Place,
        plan: Plan,
        tree: Path,
        name: str,
        *,
        put: dict[str, str] | None = None,
    ) -> Exit:
        work = await check_trees.copy(tree, place.scratch / name, put=put)
        argv = check_runners.command_of(plan)
        python = check_python.find(place.repository, None)
        binds = {bind.inside: bind for bind in (python.binds if python else ())}
        if self.toolchain is not None:
            binds = {bind.inside: bind for bind in self.toolchain(argv[0])} | binds
        limits = Limits(wall_ns=check.timeout_s * 1_000_000_000, cpu_s=check.timeout_s * 2)
        spots = [b for b in binds.values() if not _is_below_another(b, binds)]
        return await self.sandbox.run(Run(argv, (*spots, Bind(work, "/copy", True)), "/copy", (), b"", limits))

    # Metrics, files, and paths that must stay.

    async def _metric(self, check: Metric, place: _Place) -> Finding:
        base, whole = await self._export(place)
        plan = check_runners.plan(check.argv, lambda _: None)._replace(runner="plain", words=check.argv)
        trees = await check_trees.compose(base, whole, place.scope, tuple(w.removeprefix("./") for w in check.argv))
        ran = await self._exec(check, place, plan, trees.whole, "metric")
        evidence = self._evidence((ran.stdout + ran.stderr)[-LOG_BYTES_MAX:], ran.wall_ns, ran.level)
        value, reason, detail = _measured(check, ran)
        whole_value = int(value) if value is not None else None
        return _found(check, place, reason, detail, exit_status=ran.status, metric=whole_value, **evidence)

    async def _file(self, check: FileSchema, place: _Place) -> Finding:
        _, whole = await self._export(place)
        content = check_trees.content(whole, check.path)
        if content is None:
            return _found(check, place, Reason.SCHEMA_MISMATCH, f"file {check.path} is not there; write it")
        try:
            wrong = await asyncio.to_thread(_file_errors, check, content)
        except check_schema.Unknown as beyond:
            return _found(check, place, Reason.CHECK_BROKEN, str(beyond))
        if wrong:
            return _found(check, place, Reason.SCHEMA_MISMATCH, f"file {check.path}: {'; '.join(wrong)}")
        return _found(check, place, Reason.OK, f"file {check.path} is there" + (" and matches" if check.schema else ""))

    async def _document(self, check: Document, place: _Place) -> Finding:
        _, whole = await self._export(place)
        content = check_trees.content(whole, check.path)
        if content is not None and len(content) > FILE_BYTES_MAX:
            return _found(check, place, Reason.CHECK_FAILED, f"file {check.path} is over {FILE_BYTES_MAX} bytes")
        return check_document.find(check, None if content is None else content.decode("utf-8", "replace"), place.tree)

    async def _unchanged(self, check: Unchanged, place: _Place) -> Finding:
        base, whole = await self._export(place)
        match = paths.compile_patterns(check.paths)
        both = [p for p in sorted(check_trees.listing(base) | check_trees.listing(whole)) if match(p)]
        changed = [path for path in both if not check_trees.is_same(base, whole, path)]
        if changed:
            return _found(check, place, Reason.PROTECTED_CHANGED, f"{_names(changed)} must be as on the base")
        return _found(check, place, Reason.OK, f"{len(both)} files are as on the base")

    def _evidence(self, log: bytes, wall_ns: int, level: str) -> dict[str, object]:
        return {"log": self.blobs.put(log) if log else None, "duration_ns": wall_ns, "isolation": level}


# Judgement, as functions of what is on record.

_UNVERIFIED = (Reason.NO_SANDBOX, Reason.CHECK_BROKEN, Reason.CHECK_GREEN_ON_BASE)


def _found(check: Check, place: _Place, reason: Reason, detail: str, **more: object) -> Finding:
    verdict = Verdict.PASSED if reason is Reason.OK else Verdict.FAILED
    verdict = Verdict.UNVERIFIED if reason in _UNVERIFIED else verdict
    line = " ".join(detail.split())[:500]
    return Finding(check=check.name, tree=place.tree, verdict=verdict, reason=reason, detail=line, **more)  # type: ignore[arg-type]


def _base_of(ran: Ran) -> _Base:
    """Green, red, and neither: what is skipped or expected to fail on the base is nobody's duty."""
    canaries = frozenset(ran.canaries or ())
    tests = {name: test.outcome for name, test in ran.tests.items() if name not in canaries}
    green = frozenset(name for name, outcome in tests.items() if outcome == "passed")
    silent = frozenset(ran.collected) - tests.keys()  # collected and never done: the base hung or died there
    return _Base(ran, green, frozenset(name for name, outcome in tests.items() if outcome == "failed") | silent)


def _reason(check: Command, base: _Base, ran: Ran, failed: set[str], missing: list[str]) -> tuple[Reason, str]:
    canaries = [ran.tests.get(name) for name in ran.canaries or ()]
    if ran.is_late:
        return (
            Reason.TIMED_OUT,
            f"the tests ran over {check.timeout_s} s; raise the check's timeout_s if that is too short",
        )
    if ran.limit:
        return Reason.CHECK_FAILED, f"the tests ran into the sandbox's limit {ran.limit}"
    if canaries and canaries[0] is not None and canaries[0].outcome != "failed":
        return Reason.CHECK_CANNOT_FAIL, "the runner reports a false assertion as passed"
    if canaries and canaries[1] is not None and canaries[1].outcome != "passed":
        return Reason.CHECK_CANNOT_FAIL, "the runner reports a true assertion as failed"
    if ran.broken:
        first, why = min(ran.broken.items())
        return Reason.CHECK_FAILED, f"{first} could not be collected: {_last_line(why)}"
    if failed:
        return Reason.CHECK_FAILED, f"{_names(sorted(failed))} failed"
    if missing or not ran.is_complete or (base.ran.canaries and not ran.canaries):
        if not (base.ran.tests or base.ran.broken or base.ran.collected) and not check.tests:
            return Reason.CHECK_BROKEN, f"the runner did not start: {_complaint(ran.log)}"
        what = _names(missing) if missing else "the end of the run"
        return Reason.TESTS_MISSING, f"no record of {what}; the run was cut short or the tests were skipped"
    if not ran.tests:
        return Reason.CHECK_BROKEN, f"no tests were found; name them in the command ({_complaint(ran.log)})"
    if check.must_fail_on_base and not base.red and not base.ran.broken:
        return Reason.CHECK_GREEN_ON_BASE, "every test passes without the change, so none shows that it works; add one"
    return Reason.OK, ""


def _missing_files(base: _Base, tests: dict[str, check_run.Test], trees: Trees, runner: str) -> list[str]:
    """Tests of files that could not be collected on the base, so that their ids are known from their source only."""
    seen = {check_probe.key_of(name, runner, trees.kept) for name, test in tests.items() if test.outcome == "passed"}
    out = []
    for broken in base.ran.broken:
        path = broken if runner == "pytest" else broken.rsplit("_FailedTest.", 1)[-1].replace(".", "/") + ".py"
        file = next((f for f in sorted(trees.kept, key=len) if f == path or f.endswith(f"/{path}")), None)
        parsed = check_spoil.parse(check_trees.content(trees.base, file) or b"") if file else None
        if file is not None and parsed is not None:
            out += [f"{file}::{name}" for name, _ in check_spoil.tests_in(parsed) if (file, name) not in seen]
    return out


def _plain_reason(check: Command, ran: Exit, missing: list[str], *, is_red_on_base: bool) -> tuple[Reason, str]:
    if ran.reason == "timed_out":
        return (
            Reason.TIMED_OUT,
            f"the command ran over {check.timeout_s} s; raise the check's timeout_s if that is too short",
        )
    if ran.reason == "exhausted":
        return Reason.CHECK_FAILED, f"the command ran into the sandbox's limit {ran.limit}"
    if ran.status in (126, 127):
        return (
            Reason.CHECK_BROKEN,
            f"command {check.argv[0]!r} cannot be started in the sandbox; install it, or name its path",
        )
    if ran.status != 0:
        return (
            Reason.CHECK_FAILED,
            f"exit status {ran.status}: {_last_line((ran.stderr or ran.stdout).decode(errors='replace'))}",
        )
    if missing:
        return Reason.TESTS_MISSING, f"no record of {_names(missing)}"
    if check.must_fail_on_base and not is_red_on_base:
        return Reason.CHECK_GREEN_ON_BASE, "the command exits 0 without the change, so it says nothing about it"
    return Reason.OK, ""


def _measured(check: Metric, ran: Exit) -> tuple[Decimal | None, Reason, str]:
    if ran.reason == "timed_out":
        return None, Reason.TIMED_OUT, f"the command ran over {check.timeout_s} s"
    if ran.status in (126, 127):
        return None, Reason.CHECK_BROKEN, f"command {check.argv[0]!r} cannot be started in the sandbox; install it"
    if ran.status != 0:
        return None, Reason.CHECK_FAILED, f"exit status {ran.status}: {_last_line(ran.stderr.decode(errors='replace'))}"
    line = _last_line(ran.stdout.decode(errors="replace"))
    try:
        value = Decimal(line) if re.fullmatch(r"[-+]?\d{1,18}(\.\d{1,18})?", line) else Decimal("NaN")
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite():
        return None, Reason.CHECK_BROKEN, f"the last line is {line[:80]!r}, not a number; print one there"
    if check.at_most is not None and value > check.at_most:
        return value, Reason.METRIC_MISSED, f"{value} is over {check.at_most}"
    if check.at_least is not None and value < check.at_least:
        return value, Reason.METRIC_MISSED, f"{value} is under {check.at_least}"
    return value, Reason.OK, f"{value} is within the bound"


def _file_errors(check: FileSchema, content: bytes) -> list[str]:
    if len(content) > FILE_BYTES_MAX:
        return [f"over {FILE_BYTES_MAX} bytes, too large to check"]
    if check.schema is None:
        return []
    kind = check.path.rsplit(".", 1)[-1].lower()
    try:
        value = _PARSERS[kind](content) if kind in _PARSERS else content.decode()
    except (ValueError, RecursionError, msgspec.DecodeError) as error:
        return [f"does not parse as {kind}: {_last_line(str(error))}"]
    return check_schema.errors(value, check.schema)


def _toml(content: bytes) -> object:
    import tomllib

    return tomllib.loads(content.decode())


def _yaml(content: bytes) -> object:
    import yaml

    text = content.decode()
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
            raise ValueError("aliases are not accepted: a few lines of them unfold to gigabytes")
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


_PARSERS: dict[str, Callable[[bytes], object]] = {
    "json": msgspec.json.decode,
    "toml": _toml,
    "yaml": _yaml,
    "yml": _yaml,
}


def _is_below_another(bind: Bind, binds: dict[str, Bind]) -> bool:
    return any(other != bind.inside and bind.inside.startswith(f"{other}/") for other in binds)


def _names(found: list[str]) -> str:
    more = f" and {len(found) - NAMES_MAX} more" if len(found) > NAMES_MAX else ""
    return ", ".join(found[:NAMES_MAX]) + more


def _complaint(log: bytes) -> str:
    """The line in which a runner says what is wrong, or its last one."""
    text = log.decode(errors="replace")
    said = [line.strip() for line in text.splitlines() if re.search(r"\b(error|unrecognized)\b", line, re.IGNORECASE)]
    return said[-1][:300] if said else _last_line(text)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return lines[-1][:300] if lines else "nothing"
