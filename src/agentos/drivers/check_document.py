"""The part of the checker that judges a `Document`: nothing is run, so nothing needs a sandbox.

Rule 1: what is judged is the text of the exact tree, or its absence; `sdk.document` says what it lacks.
Rule 2: the probe is built in: an empty text is put to every expectation first, and one that it meets proves nothing.
"""

from agentos.abi.ids import Digest
from agentos.abi.work import Document, Finding, Reason, Verdict
from agentos.sdk.document import complaints

ISOLATION = "none needed"  # no code of the change is run; the receipt says so rather than nothing
COMPLAINTS_MAX = 10  # told at once; a writer who lacks more starts anew anyway


def find(check: Document, text: str | None, tree: Digest) -> Finding:
    """What the check found on that tree; `text` is None where the file is not there or is no text."""
    if not complaints(check, ""):
        return _found(check, tree, Reason.CHECK_CANNOT_FAIL, "an empty text would pass")
    if text is None:
        return _found(check, tree, Reason.CHECK_FAILED, f"file {check.path} is not there; write it")
    lacks = complaints(check, text)
    if not lacks:
        return _found(check, tree, Reason.OK, f"file {check.path} holds all that is asked for")
    more = f"; and {len(lacks) - COMPLAINTS_MAX} more" if len(lacks) > COMPLAINTS_MAX else ""
    return _found(check, tree, Reason.CHECK_FAILED, f"file {check.path}: {'; '.join(lacks[:COMPLAINTS_MAX])}{more}")


def _found(check: Document, tree: Digest, reason: Reason, detail: str) -> Finding:
    verdict = Verdict.PASSED if reason is Reason.OK else Verdict.FAILED
    return Finding(check=check.name, tree=tree, verdict=verdict, reason=reason, detail=detail, isolation=ISOLATION)
