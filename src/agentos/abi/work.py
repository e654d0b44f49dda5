"""Work as data: the order, its two contracts, the checks, and what a check found.

    order > execution contract > acceptance contract > plan > execution > evidence > verification > review > gate > closed

Rule 1: an order's scope, checks and budget come from a principal with the right to author orders, never from text.
Rule 2: a check is a question the kernel asks itself, of exactly the content presented; nobody's word is an answer.
Rule 3: every verdict carries a reason code out of `REASONS`.
"""

from enum import StrEnum

import msgspec

from agentos.abi.budget import ORDER_DEFAULT, Amounts
from agentos.abi.ids import Digest

WORDS_MAX = 100_000  # of a document; the longest text any context holds


class Verdict(StrEnum):
    """What verification says. Unverified is not a mild pass: nothing closes on it."""

    PASSED = "passed"
    FAILED = "failed"
    UNVERIFIED = "unverified"


class Reason(StrEnum):
    """Why a verdict is what it is. One code, one cause, one thing to do next."""

    OK = "ok"  # every check passed, and was seen to be able to fail
    NO_CHANGE = "no_change"  # nothing was changed
    OUT_OF_SCOPE = "out_of_scope"  # a path outside the order's scope was changed
    PROTECTED_CHANGED = "protected_changed"  # a protected path (the tests) was changed
    SYMLINK = "symlink"  # the change plants a link, device or submodule
    SYNTAX_ERROR = "syntax_error"  # a changed source file does not parse
    CHECK_FAILED = "check_failed"  # a check ran and said no
    TESTS_MISSING = "tests_missing"  # a test that must have run left no positive record
    CHECK_GREEN_ON_BASE = "check_green_on_base"  # the check passes without the change: it proves nothing about it
    CHECK_CANNOT_FAIL = "check_cannot_fail"  # the check passed where it was made to fail: it is blind or fooled
    CHECK_BROKEN = "check_broken"  # the check could not be run at all
    TIMED_OUT = "timed_out"  # the check ran into its time limit
    NO_SANDBOX = "no_sandbox"  # this machine cannot isolate the check; nothing was run
    NO_CHECKS = "no_checks"  # nothing was asked, so nothing is known
    WRONG_CONTENT = "wrong_content"  # what was presented is not what was checked
    NOT_APPROVED = "not_approved"  # a person said no
    REVIEW_REJECTED = "review_rejected"  # a reviewer said no
    METRIC_MISSED = "metric_missed"  # a measured figure is beyond its threshold
    SCHEMA_MISMATCH = "schema_mismatch"  # a file does not match its schema
    CLAIMED_ONLY = "claimed_only"  # the worker said it is done; no evidence says so


class _Check(msgspec.Struct, frozen=True, tag=str.lower, tag_field="check", kw_only=True, omit_defaults=True):
    name: str  # unique within the order; what the receipt calls it


class Command(_Check, frozen=True):
    """A command's exit status, and where the runner is known, a named set of test ids with positive records."""

    argv: tuple[str, ...]
    must_fail_on_base: bool = True  # red first: shown to fail on the base before the work starts
    timeout_s: int = 300
    tests: tuple[str, ...] = ()  # ids that must pass; empty means all red on base and all green before


class Unchanged(_Check, frozen=True):
    """Paths that must be byte for byte as they are on the base."""

    paths: tuple[str, ...]  # gitignore-style patterns


class FileSchema(_Check, frozen=True):
    """A file exists and, if a schema is given, parses and matches it."""

    path: str
    schema: dict[str, object] | None = None


class Document(_Check, frozen=True):
    """A text exists and holds what it must, judged by counting and searching; `sdk.document` says how."""

    path: str
    headings: tuple[str, ...] = ()  # Markdown headings that must be there, in this order
    contains: tuple[str, ...] = ()  # facts that must be said; " | " parts ways to say one
    excludes: tuple[str, ...] = ()  # what must not be said
    starts: str = ""  # how the first line begins
    words_min: int = 0
    words_max: int = WORDS_MAX
    fields: dict[str, str] = {}  # of the JSON object it holds: name to one of document.KINDS


class Metric(_Check, frozen=True):
    """A command prints a number on its last line; the number must be within the bound."""

    argv: tuple[str, ...]
    at_most: int | None = None
    at_least: int | None = None
    timeout_s: int = 300


class Review(_Check, frozen=True):
    """A reviewer, other than the author, passes it."""

    role: str = "reviewer"
    is_other_family: bool = False  # the reviewer's model family must differ from the worker's


class Approval(_Check, frozen=True):
    """A person accepts exactly this content."""

    who: str = ""  # principal; empty means any who may approve


Check = Command | Unchanged | FileSchema | Document | Metric | Review | Approval


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one run of one check found, on one exact tree. Collected by the kernel; evidence."""

    check: str  # the check's name
    tree: Digest  # the exact content it ran on (git tree id, zero-padded on the left to 64 digits)
    verdict: Verdict
    reason: Reason
    detail: str = ""  # one line for a person
    passed: tuple[str, ...] = ()  # test ids with a positive record
    failed: tuple[str, ...] = ()  # test ids with a negative record
    exit_status: int | None = None
    log: Digest | None = None  # the output, bounded, as a blob
    duration_ns: int = 0
    isolation: str = ""  # the sandbox level it ran under, as probe() names it
    metric: int | None = None


class Change(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a working copy holds beyond its base, as one sealed commit: base plus in-scope files and nothing else."""

    base: str  # commit id
    commit: str  # commit id of the sealed content; equals base when nothing changed
    tree: Digest  # its tree
    paths: tuple[str, ...] = ()  # changed in scope, sorted
    out_of_scope: tuple[str, ...] = ()  # changed outside the scope; left out of the commit
    protected: tuple[str, ...] = ()  # protected paths that were changed; the base's version is in the commit
    links: tuple[str, ...] = ()  # symlinks, submodules and other non-files that were added; left out
    syntax_errors: tuple[str, ...] = ()  # "path:line: message"
    lines_added: int = 0
    lines_removed: int = 0


class Scope(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which paths of the repository the work may touch. Gitignore-style patterns; forbidden wins."""

    allowed: tuple[str, ...] = ("**",)
    forbidden: tuple[str, ...] = ()
    protected: tuple[str, ...] = ()  # taken from the base whatever the worker did: the tests


class Contract(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Execution and acceptance contract in one record: what the order may touch, use and cost, and what closes it."""

    repository: str = ""  # host path of the repository; "" for an order that is about no repository
    base: str = ""  # commit id the work starts from
    branch: str = ""  # ref that gets the result: "refs/heads/agentos/WO-{n}"; "" leaves it as a sealed commit
    scope: Scope = Scope()
    accept: tuple[Check, ...] = ()
    budget: Amounts = ORDER_DEFAULT
    wall_ns_max: int = 3_600_000_000_000  # an hour; longer jobs say so
    attempts_max: int = 3
    agent: str = "worker"  # which agent file does it
    model_classes: tuple[str, ...] = ("coder",)
    tools: tuple[str, ...] = ()
    is_external: bool = False  # the change already exists (verify): nobody works, the kernel only judges
    candidate: str = ""  # external orders: the commit to judge
    is_gate_other_family: bool = False
    conductor: str = "conductor"  # the program that runs the order
    weight: int = 1  # share of the devices, against other orders
