"""The shell tool: a command line on the working copy, in the sandbox.

Inside, the working copy is /copy, writable, and its .git read-only: what host git trusts, no command may write. There
is no network. What a command starts dies with it, so a server started here lives as long as the command line.

Rule 1: without a sandbox nothing is run; the answer says what is missing.
Rule 2: a status other than 0 is an answer and no error of the tool: `grep` finds nothing, a test fails.
"""

import os
import stat
from pathlib import Path

from agentos.drivers import tool_text
from agentos.ports.sandbox import Bind, Command, Exit, Limits, Sandbox, Unavailable
from agentos.ports.tool import Manifest, Result

INSIDE = "/copy"
# Most test suites of one package; a longer one is for the checks, which have their own bound.
TIMEOUT_S = 120
TIMEOUT_S_MAX = 600
# Each of stdout and stderr; both together, with what is said about them, are one result.
OUTPUT_BYTES_MAX = tool_text.RESULT_CHARS_MAX // 2
# A command line; a script is written to a file first. Linux takes 128 KiB for one argument.
COMMAND_BYTES_MAX = 64 << 10
# The sandbox's own bounds; wall time and output are set for each command line.
LIMITS = Limits()


class Shell:
    """`binds` brings tools that lie outside the system folders, `env` what they need."""

    manifest = Manifest(
        name="shell",
        description=(
            "Run a command line with /bin/sh in the working copy, which is /copy. There is no network; .git is "
            "read-only; /tmp and HOME are private and empty each time. The beginning and the end of long output are kept."
        ),
        schema={
            "type": "object",
            "properties": {
                "command": {"type": "string", "minLength": 1},
                "timeout_s": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": TIMEOUT_S_MAX,
                    "description": f"Seconds; default {TIMEOUT_S}.",
                },
            },
            "required": ["command"],
            "additionalProperties": False,
        },
        repeat="once",
        right="shell",
    )

    def __init__(
        self,
        sandbox: Sandbox,
        *,
        binds: tuple[Bind, ...] = (),
        env: tuple[tuple[str, str], ...] = (),
        limits: Limits = LIMITS,
    ) -> None:
        self._sandbox = sandbox
        self._binds = binds
        self._env = env
        self._limits = limits

    async def run(self, arguments: dict[str, object], *, root: Path, key: str) -> Result:
        line, timeout_s = arguments.get("command"), arguments.get("timeout_s", TIMEOUT_S)
        fault = _fault(line, timeout_s)
        if fault:
            return Result(fault, is_error=True)
        assert isinstance(line, str) and isinstance(timeout_s, int), "checked by _fault"
        try:
            ended = await self._sandbox.run(self._command(root, line, timeout_s))
        except (Unavailable, ValueError) as refusal:
            return Result(str(refusal), is_error=True)
        return _result(ended, timeout_s)

    async def query(self, *, root: Path, key: str) -> Result | None:
        return None  # nobody can tell what a command line did; that is what `once` says

    def _command(self, root: Path, line: str, timeout_s: int) -> Command:
        return Command(
            argv=("/bin/sh", "-c", line),
            binds=(*self._binds, Bind(root, INSIDE, is_writable=True), *_git_bind(root)),
            cwd=INSIDE,
            # `git status` would refresh the index if it could, and complain that it cannot.
            env=(("GIT_OPTIONAL_LOCKS", "0"), *self._env),
            limits=self._limits._replace(
                wall_ns=timeout_s * 1_000_000_000,
                output_bytes_max=min(OUTPUT_BYTES_MAX, self._limits.output_bytes_max),
            ),
        )


def _fault(line: object, timeout_s: object) -> str:
    """What is wrong with the arguments, or ""."""
    if not isinstance(line, str) or not line.strip():
        return "argument 'command' must be a command line; it is missing, empty or not a string"
    if "\0" in line or any("\ud800" <= char <= "\udfff" for char in line):
        return "argument 'command' holds a NUL byte or half of a surrogate pair; a command line is text"
    if len(line.encode()) > COMMAND_BYTES_MAX:
        return f"argument 'command' is over {COMMAND_BYTES_MAX} bytes; write a script with write_file and run that"
    if not isinstance(timeout_s, int) or isinstance(timeout_s, bool) or not 1 <= timeout_s <= TIMEOUT_S_MAX:
        return f"argument 'timeout_s' must be a whole number from 1 to {TIMEOUT_S_MAX}"
    return ""


def _git_bind(root: Path) -> tuple[Bind, ...]:
    """Read-only over itself. A link is left alone: to bind it would show what it points to."""
    try:
        mode = os.lstat(root / ".git").st_mode
    except FileNotFoundError:
        return ()
    is_plain = stat.S_ISDIR(mode) or stat.S_ISREG(mode)
    return (Bind(root / ".git", f"{INSIDE}/.git"),) if is_plain else ()


def _result(ended: Exit, timeout_s: int) -> Result:
    out, err = (tool_text.show(stream, OUTPUT_BYTES_MAX) for stream in (ended.stdout, ended.stderr))
    lines = [_ending(ended, timeout_s), out.text.rstrip("\n")]
    if err.text.strip():
        lines += ["[stderr]", err.text.rstrip("\n")]
    is_cut = ended.is_cut or out.is_cut or err.is_cut
    if is_cut:
        lines.append(
            f"[output was over {OUTPUT_BYTES_MAX} bytes: its middle was left out; send it to a file to see all]"
        )
    if out.is_escaped or err.is_escaped:
        lines.append("[bytes that are not UTF-8 text, and control characters, are shown as \\xNN]")
    return Result("\n".join(lines), is_error=ended.reason in ("timed_out", "exhausted"), is_cut=is_cut)


def _ending(ended: Exit, timeout_s: int) -> str:
    took = f"{ended.wall_ns / 1e9:.1f} s"
    if ended.reason == "timed_out":
        return f"[killed after {timeout_s} s, with all it had started; raise timeout_s or do less at once]"
    if ended.reason == "exhausted":
        return f"[killed after {took}: limit {ended.limit} was reached]"
    if ended.reason == "signalled":
        return f"[ended by signal {ended.status - 128} after {took}]"
    return f"[exit status {ended.status}, {took}]"
