"""Tools of a stranger's package, found by entry point: each asks the tool server, in one of the ways to repeat."""

import os
from pathlib import Path

import aiohttp

from agentos.ports.tool import Manifest, Result


class _Keyed:
    def __init__(self, repeat: str) -> None:
        schema: dict[str, object] = {"type": "object", "properties": {"item": {"type": "string"}}, "required": ["item"]}
        self.manifest = Manifest(f"do_{repeat}", f"Does an item; {repeat}.", schema, repeat, "tool", wall_s=1)

    async def run(self, arguments: dict[str, object], *, root: Path, key: str) -> Result:
        body = {"key": key, "item": arguments["item"], "kind": self.manifest.repeat}
        async with (
            aiohttp.ClientSession(os.environ["TOOL_SERVER"]) as session,
            session.post("/do", json=body) as answer,
        ):
            return Result(await answer.text())

    async def query(self, *, root: Path, key: str) -> Result | None:
        async with (
            aiohttp.ClientSession(os.environ["TOOL_SERVER"]) as session,
            session.get("/did", params={"key": key}) as answer,
        ):
            return Result("done before") if (await answer.json())["did"] else None


class Idempotent(_Keyed):
    def __init__(self) -> None:
        super().__init__("idempotent")


class Queryable(_Keyed):
    def __init__(self) -> None:
        super().__init__("queryable")


class Once(_Keyed):
    def __init__(self) -> None:
        super().__init__("once")


class Flood(_Keyed):
    """Says as much as it is asked for, binary and all."""

    def __init__(self) -> None:
        super().__init__("pure")

    async def run(self, arguments: dict[str, object], *, root: Path, key: str) -> Result:
        return Result("\x00\x1b[31m\ufffd" * (int(str(arguments["item"])) // 9))


ENTRY_POINTS = """
[agentos.tool]
tool_idempotent = tests.e2e.keyed_tools:Idempotent
tool_queryable = tests.e2e.keyed_tools:Queryable
tool_once = tests.e2e.keyed_tools:Once
tool_flood = tests.e2e.keyed_tools:Flood
"""


def install(folder: Path) -> None:
    """Make the package known to any Python that has `folder` on its path."""
    made = folder / "keyed_tools-1.0.dist-info"
    made.mkdir(parents=True)
    (made / "METADATA").write_text("Metadata-Version: 2.1\nName: keyed-tools\nVersion: 1.0\n")
    (made / "entry_points.txt").write_text(ENTRY_POINTS)
