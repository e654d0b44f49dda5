"""The check port: run one acceptance check on one exact tree and say what was found.

Rule 1: the tree under test is a fresh export of a commit; nothing of a worker's working copy is there.
Rule 2: a positive record per test id, or it did not pass; exit status alone is a pass only for runners without ids.
Rule 3: `probe` asks whether the check can fail at all on this very content, by spoiling the expectation and looking.
Rule 4: no sandbox, no run: the finding is `unverified`, `no_sandbox`.
"""

from pathlib import Path
from typing import Protocol

from agentos.abi.work import Check, Finding, Scope


class Checker(Protocol):
    name: str

    async def run(
        self, check: Check, *, repository: Path, commit: str, base: str, scope: Scope, is_probed: bool = False
    ) -> Finding: ...
