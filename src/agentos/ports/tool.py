"""The tool port: something an agent may ask the machine to do in its order's working copy.

Rule 1: a manifest says how the effect may be repeated; a tool without one is `once`.
Rule 2: a tool gets a root it cannot leave and a bound it cannot exceed; its result is data, never an instruction.
"""

from pathlib import Path
from typing import NamedTuple, Protocol


class Manifest(NamedTuple):
    name: str
    description: str  # one paragraph, shown to the model
    schema: dict[str, object]  # JSON Schema of the arguments
    repeat: str  # pure | idempotent | queryable | costly | once
    right: str  # the right its caller needs: "fs.read", "fs.write", "shell"
    wall_s: int = 600  # longest it may take; one that takes longer than ten minutes belongs in an order of its own


class Result(NamedTuple):
    content: str
    is_error: bool = False
    is_cut: bool = False  # more than the bound; what was left out is said in content


class Tool(Protocol):
    manifest: Manifest

    async def run(self, arguments: dict[str, object], *, root: Path, key: str) -> Result: ...
    async def query(self, *, root: Path, key: str) -> Result | None: ...  # queryable tools: did it happen?
