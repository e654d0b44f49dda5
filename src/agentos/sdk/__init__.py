"""libc for agents: calls as awaitable functions, refusals as exceptions, content by value.

    from agentos.sdk import System

    async def main(os: System) -> str:
        child = await os.spawn("python:my.module:main", role="worker")
        return (await os.wait(child)).text

Rule 1: a program is deterministic between calls. No clock, chance, environment or thread: ask the system instead.
        After a crash it is run again, and its calls are answered from the record until it catches up.
Rule 2: everything here is a call or pure; there is no other way out of the program.
"""

from agentos.sdk.errors import Refused
from agentos.sdk.system import System

__all__ = ["Refused", "System"]
