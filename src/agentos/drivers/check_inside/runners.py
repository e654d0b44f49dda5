"""pytest and unittest, run so that each test leaves one record. The same code beside the artifact and apart from it."""

# mypy: ignore-errors
# Untyped on purpose: it runs under Pythons of other ages, beside code of any shape, and mostly stands in for objects
# whose type it does not know.

import os
import signal
import sys
import unittest


class Hung(Exception):
    """A test of the base ran over the watchdog's time."""


class Watchdog:
    """Interrupts a test that hangs, so that the others still get their turn. For the base, which has no reason to lie."""

    FIRST_S = 5.0  # an honest unit test takes less; after one hang the rest probably hang for the same reason
    NEXT_S = 1.0

    def __init__(self):
        self.limit_s = self.FIRST_S
        signal.signal(signal.SIGALRM, self._bark)

    def _bark(self, number, frame):
        self.limit_s = self.NEXT_S
        raise Hung("over the time of a test on the base")

    def start(self):
        signal.setitimer(signal.ITIMER_REAL, self.limit_s)

    def stop(self):
        signal.setitimer(signal.ITIMER_REAL, 0)


def canaries():
    """Two tests whose outcomes are known: the first must fail, the second must pass."""
    left, right = int.from_bytes(os.urandom(4), "big"), int.from_bytes(os.urandom(4), "big") + (1 << 33)

    def wrong(self=None):
        assert left == right

    def fine(self=None):
        assert right == left + (right - left)

    return [("test_" + os.urandom(5).hex(), body) for body in (wrong, fine)]


def _is_from_afar(error):
    """Whether the artifact raised it, in its own sandbox."""
    return vars(error).get("is_from_afar", False) is True if hasattr(error, "__dict__") else False


def run(runner, arguments, record, each, watchdog=None):
    """Run the suite; the runner's exit status. `each(test_id)` is called at a test's start, and says what to add at its end."""
    return _PYTEST_OR_UNITTEST[runner](list(arguments), record, each, watchdog)


def _run_pytest(arguments, record, each, watchdog):
    import pytest

    plugin = _Plugin(record, each, watchdog)
    fixed = ["-p", "no:cacheprovider", "--rootdir=/copy", "--continue-on-collection-errors", "--maxfail=0"]
    return int(pytest.main(arguments + fixed, plugins=[plugin]))


class _Plugin:
    """One record per test, after teardown; one per file that could not be collected; the list of what was collected."""

    def __init__(self, record, each, watchdog):
        self.record = record
        self.each = each
        self.outcomes = {}
        self.notes = {}
        self.extra = {}
        self.watchdog = watchdog

    def pytest_collectreport(self, report):
        if report.failed:
            self.record({"broken": report.nodeid, "why": str(report.longrepr)[-2000:]})
        elif report.skipped:
            self.record({"skipped_file": report.nodeid})

    def pytest_collection_finish(self, session):
        self.record({"collected": [item.nodeid for item in session.items]})
        self._add_canaries(session)

    def _add_canaries(self, session):
        import pytest

        parents = [item.getparent(pytest.Module) for item in session.items]
        parent = next((parent for parent in parents if parent is not None), None)
        if parent is None:
            return
        made = [pytest.Function.from_parent(parent, name=name, callobj=body) for name, body in canaries()]
        session.items[:] = [made[0], *session.items, made[1]]
        self.record({"canaries": [item.nodeid for item in made]})

    def pytest_runtest_setup(self, item):
        if self.watchdog:
            self.watchdog.start()

    def pytest_runtest_teardown(self, item):
        if self.watchdog:
            self.watchdog.stop()

    def pytest_runtest_logstart(self, nodeid, location):
        self.outcomes[nodeid] = []
        self.extra[nodeid] = self.each(nodeid)

    def pytest_runtest_makereport(self, item, call):
        if call.excinfo is not None:
            self.notes.setdefault(item.nodeid, (call.excinfo.type.__name__, _is_from_afar(call.excinfo.value)))

    def pytest_runtest_logreport(self, report):
        is_expected = hasattr(report, "wasxfail")
        self.outcomes.setdefault(report.nodeid, []).append((report.when, report.outcome, is_expected))

    def pytest_runtest_logfinish(self, nodeid, location):
        seen = self.outcomes.get(nodeid, [])
        has_call = any(when == "call" for when, _, _ in seen)
        if any(is_expected for _, _, is_expected in seen):
            outcome = "xfailed"
        elif any(what == "failed" for _, what, _ in seen):
            outcome = "failed"
        elif any(what == "skipped" for _, what, _ in seen):
            outcome = "skipped"
        else:
            outcome = "passed" if has_call else "failed"
        extra = self.extra.pop(nodeid, dict)()
        error, is_from_afar = self.notes.get(nodeid, ("", False))
        self.record({"test": nodeid, "outcome": outcome, "error": error, "is_from_afar": is_from_afar, **extra})


def _run_unittest(arguments, record, each, watchdog):
    class Runner(unittest.TextTestRunner):
        def _makeResult(self):
            return _Result(self.stream, self.descriptions, self.verbosity, record=record, each=each, watchdog=watchdog)

    for root in ("/copy/src", "/copy"):
        if root not in sys.path:
            sys.path.insert(0, root)

    class Program(unittest.TestProgram):
        def runTests(self):
            record({"collected": [test.id() for test in _flat(self.test)]})
            (wrong, bad), (fine, good) = canaries()
            case = type("Case" + os.urandom(4).hex(), (unittest.TestCase,), {wrong: bad, fine: good})
            record({"canaries": [case(wrong).id(), case(fine).id()]})
            self.test = unittest.TestSuite([case(wrong), self.test, case(fine)])
            super().runTests()

    program = Program(module=None, argv=["unittest", *arguments], testRunner=Runner, exit=False)
    return 0 if program.result.wasSuccessful() else 1


def _flat(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from _flat(test)
        else:
            yield test


class _Result(unittest.TextTestResult):
    def __init__(self, *arguments, record, each, watchdog, **named):
        super().__init__(*arguments, **named)
        self.record = record
        self.each = each
        self.watchdog = watchdog
        self.current = {}

    def startTest(self, test):
        super().startTest(test)
        self.current[test] = ["passed", "", False]
        self.extra = self.each(test.id())
        if self.watchdog:
            self.watchdog.start()

    def _note(self, test, outcome, error=None):
        if test not in self.current:  # a class or module set-up that failed: its tests never start
            self.record({"broken": test.id(), "why": self._exc_info_to_string(error, test) if error else outcome})
            return
        if self.current[test][0] in ("passed", outcome):
            is_from_afar = bool(error) and _is_from_afar(error[1])
            self.current[test] = [outcome, error[0].__name__ if error else "", is_from_afar]

    def addError(self, test, err):
        super().addError(test, err)
        self._note(test, "failed", err)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._note(test, "failed", err)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._note(test, "failed", err)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._note(test, "skipped")

    def addExpectedFailure(self, test, err):
        super().addExpectedFailure(test, err)
        self._note(test, "xfailed")

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self._note(test, "failed")

    def stopTest(self, test):
        if self.watchdog:
            self.watchdog.stop()
        super().stopTest(test)
        outcome, error, is_from_afar = self.current.pop(test)
        if type(test).__name__ == "_FailedTest":  # unittest's stand-in for a module that could not be imported
            self.record({"broken": test.id(), "why": str(getattr(test, "_exception", ""))[-2000:]})
        else:
            self.record(
                {"test": test.id(), "outcome": outcome, "error": error, "is_from_afar": is_from_afar, **self.extra()}
            )


_PYTEST_OR_UNITTEST = {"pytest": _run_pytest, "unittest": _run_unittest}
