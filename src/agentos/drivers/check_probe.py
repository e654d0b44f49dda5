"""Can this suite fail on this very content? Asked of every test that passed, by the strongest means that fits it.

    apart       the test passes with the artifact in another sandbox, on plain values alone       -> settled
                a closed test fails there, though it passes beside the artifact                   -> blind: it was fooled
    turned      assertions turned round: one that still passes                                    -> blind
    altered     expected literals replaced in the text: the test still passes                     -> blind
    none fits   no assertion of a known shape, and not to be run apart                            -> unprobed, and said

A test that is settled needs no further question: what decided it never shared a process with the artifact.
"""

import asyncio
import random
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from agentos.drivers import check_run, check_spoil, check_trees
from agentos.drivers.check_run import Ran, Suite, Test
from agentos.drivers.check_trees import Trees
from agentos.ports.sandbox import Sandbox

# What a comparison that came out wrong raises, or an artifact that is no longer there. Where an object stayed afar, any
# other error that arises here can be the wire's doing: the C library wants a real `dict`.
_TELLING = ("AssertionError", "Failed", "Lost")

CALIBRATION_S = 30  # the base may hang, being red; its quick tests come first or do not matter

_FOOLED = "passes beside the artifact and fails apart from it"
_NEEDY = "cannot be run without the tests' files beside the code"

Key = tuple[str, str]  # file, name inside it: "tests/test_calc.py", "TestAdd.test_one"


class Probed(NamedTuple):
    """Every named test in exactly one of these."""

    apart: frozenset[str]
    probed: frozenset[str]
    unprobed: frozenset[str]
    blind: dict[str, str]  # why
    runs: tuple[Ran, ...]


class Subject(NamedTuple):
    """What is probed."""

    sandbox: Sandbox
    suite: Suite
    trees: Trees
    scratch: Path
    named: frozenset[str]  # test ids that passed and matter
    green_on_base: frozenset[str]
    base: Ran


async def probe(subject: Subject) -> Probed:
    """Ask every question that is needed; three runs more at most, five where tests fail apart."""
    sources = {path: check_trees.content(subject.trees.whole, path) or b"" for path in _test_sources(subject.trees)}
    runs: list[Ran] = []
    settled, blind = await _apart(subject, sources, runs)
    open_tests = set(subject.named - settled) - blind.keys()
    probed: set[str] = set()
    if open_tests and not blind:
        asked = frozenset(open_tests)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask(subject, sources, asked, runs)) for ask in (_turned, _altered)]
        for failed, fooled in (task.result() for task in tasks):
            probed |= failed
            blind |= fooled
    unprobed = open_tests - probed - set(blind)
    return Probed(frozenset(settled), frozenset(probed - set(blind)), frozenset(unprobed), blind, tuple(runs))


def _test_sources(trees: Trees) -> Iterable[str]:
    return sorted(p for p in trees.kept & trees.files if p.endswith(".py") and not p.endswith("conftest.py"))


async def _apart(subject: Subject, sources: dict[str, bytes], runs: list[Ran]) -> tuple[set[str], dict[str, str]]:
    trees = subject.trees
    if not check_trees.artifact_sources(trees.files, trees):
        return set(), {}
    ran = await _run_apart(subject, trees.whole, trees.files, "apart")
    runs.append(ran)
    found = {name: ran.tests[name] for name in subject.named if name in ran.tests}
    settled = {name for name, test in found.items() if test.outcome == "passed" and not test.is_opaque}
    return settled, await _calibrated(subject, sources, ran, runs)


def _is_caught(test: Test) -> bool:
    is_telling = not test.is_far or test.is_from_afar or test.error in _TELLING
    return test.outcome == "failed" and test.crossings > 0 and not test.is_loose and is_telling


async def _calibrated(subject: Subject, sources: dict[str, bytes], ran: Ran, runs: list[Ran]) -> dict[str, str]:
    """The closed tests that fail apart, without those of files in which honest tests of the base fail apart as well.

    A file that could be loaded apart on the base, and cannot be with the change, is a change that needs the tests at hand.
    """
    runner = subject.suite.runner
    closed = {path: check_spoil.closed(source) for path, source in sources.items()}
    tests = {name: ran.tests[name] for name in subject.named & ran.tests.keys()}
    suspects = {n for n, test in tests.items() if _is_caught(test) and _in(key_of(n, runner, sources), closed)}
    unloaded = subject.named - ran.tests.keys() if ran.broken or not ran.is_complete else frozenset[str]()
    files = {key_of(name, runner, sources)[0] for name in suspects | unloaded}
    witnesses = {name for name in subject.green_on_base if key_of(name, runner, sources)[0] in files}
    if not suspects and not unloaded:
        return {}
    if not witnesses and not unloaded:
        return dict.fromkeys(sorted(suspects), _FOOLED)
    brief = subject.suite._replace(timeout_s=min(subject.suite.timeout_s, CALIBRATION_S))
    subject = subject._replace(suite=brief)
    honest = await _run_apart(subject, subject.trees.base, subject.trees.base_files, "apart-base")
    runs.append(honest)
    # No record, or a lost artifact, is the base's own hang or crash at some red test: it says nothing of the green ones.
    told = {name: honest.tests[name] for name in witnesses & honest.tests.keys()}
    bad = {name for name, test in told.items() if test.outcome != "passed" and test.error != "Lost"}
    unfit = {key_of(name, runner, sources)[0] for name in bad}
    loaded = {key_of(name, runner, sources)[0] for name in honest.tests}
    caught = {name for name in suspects if key_of(name, runner, sources)[0] not in unfit}
    needy = {name for name in unloaded if key_of(name, runner, sources)[0] in loaded - unfit}
    return dict.fromkeys(sorted(caught), _FOOLED) | dict.fromkeys(sorted(needy), _NEEDY)


async def _run_apart(subject: Subject, tree: Path, files: frozenset[str], name: str) -> Ran:
    trees = subject.trees
    artifact_sources = check_trees.artifact_sources(files, trees)
    tests = await check_trees.copy(tree, subject.scratch / f"{name}-tests", leave_out=artifact_sources)
    theirs = (trees.kept | trees.helpers) & files
    # What other code has read on the base is its input, though it lies among the tests. Never a source, of course.
    inputs = frozenset(path for path in subject.base.other_reads if not check_trees.is_source(path))
    hidden = (theirs - inputs) | (subject.base.test_reads & files)
    artifact = await check_trees.copy(tree, subject.scratch / f"{name}-artifact", leave_out=hidden)
    return await check_run.apart(subject.sandbox, subject.suite, tests, artifact, sources=artifact_sources)


Answer = tuple[set[str], dict[str, str]]


async def _turned(subject: Subject, sources: dict[str, bytes], asked: frozenset[str], runs: list[Ran]) -> Answer:
    copies = {path: made for path, source in sources.items() if (made := check_spoil.instrument(source))}
    ran = await _run_spoiled(subject, {path: made.source for path, made in copies.items()}, "turned", runs)
    if ran is None:
        return set(), {}
    certain = {path: made.certain for path, made in copies.items()}
    failed: set[str] = set()
    blind = _canary_failed(ran, asked)
    for name in asked & ran.tests.keys():
        test = ran.tests[name]
        is_certain = _in(key_of(name, subject.suite.runner, sources), certain)
        if test.blind or (test.outcome == "passed" and (test.failed or is_certain)):
            blind[name] = "passes with its assertions turned round"
        elif test.failed or (is_certain and test.outcome == "failed"):
            failed.add(name)
    return failed, blind


async def _altered(subject: Subject, sources: dict[str, bytes], asked: frozenset[str], runs: list[Ran]) -> Answer:
    chance = random.Random()
    copies = {path: made for path, source in sources.items() if (made := check_spoil.alter(source, chance))}
    ran = await _run_spoiled(subject, {path: made.source for path, made in copies.items()}, "altered", runs)
    if ran is None:
        return set(), {}
    certain = {path: made.certain for path, made in copies.items()}
    wanted = {key: name for name in asked if _in(key := key_of(name, subject.suite.runner, sources), certain)}
    failed: set[str] = set()
    blind = _canary_failed(ran, asked)
    for name, test in ran.tests.items():  # ids of parametrised tests change with their values, so by key
        original = wanted.get(key_of(name, subject.suite.runner, sources))
        if original is None:
            continue
        if test.outcome == "passed":
            blind[original] = "passes with other expected values"
        else:
            failed.add(original)
    return failed, blind


def _canary_failed(ran: Ran, asked: frozenset[str]) -> dict[str, str]:
    if ran.canaries is None:
        return {}
    wrong, fine = (ran.tests.get(name) for name in ran.canaries)
    is_well = (wrong is None or wrong.outcome == "failed") and (fine is None or fine.outcome == "passed")
    return {} if is_well else {min(asked): "the runner reports a false assertion as passed"}


async def _run_spoiled(subject: Subject, copies: dict[str, str], name: str, runs: list[Ran]) -> Ran | None:
    if not copies:
        return None
    tree = await check_trees.copy(subject.trees.whole, subject.scratch / name, put=copies)
    ran = await check_run.together(subject.sandbox, subject.suite, tree, kept=subject.trees.kept)
    runs.append(ran)
    return ran


def _in(key: Key, names: dict[str, frozenset[str]]) -> bool:
    return key[1] in names.get(key[0], frozenset())


def key_of(test: str, runner: str, files: Iterable[str]) -> Key:
    """File and name of a test id. unittest's ids are dotted, so the file is the one whose path ends that way."""
    if runner == "pytest":
        file, _, name = test.partition("::")
        return file, name.split("[")[0].replace("::", ".")
    module, _, name = test.rpartition(".")
    module, _, owner = module.rpartition(".")
    path = f"{module.replace('.', '/')}.py"
    found = [file for file in files if file == path or file.endswith(f"/{path}")]
    return (min(found, key=len) if found else path), f"{owner}.{name}"
