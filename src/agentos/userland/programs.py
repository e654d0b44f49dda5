"""The programs that ship, by the name they are spawned under, and how an agent's file becomes one.

Rule 1: a name here is what a journal holds; it is never given to another program.
Rule 2: an agent's file grants nothing: `resolve` says what to run and with what prompt, the spawner says with what rights.
"""

from typing import Any

import msgspec

from agentos.userland import files
from agentos.userland.documents.agent import Agent
from agentos.userland.task import Task

_HERE = "python:agentos.userland"

BUILTIN: dict[str, str] = {
    "conductor": f"{_HERE}.conductor:main",
    "workflow": f"{_HERE}.workflows.run:main",
    "file-writer": f"{_HERE}.worker_coder:main",
    "tool-loop": f"{_HERE}.worker_tools:main",
    "answer": f"{_HERE}.answer:main",
    "verdict": f"{_HERE}.answer:verdict",
    "planner": f"{_HERE}.planner:main",
    "evaluator": f"{_HERE}.evaluator:main",
    "reviewer": f"{_HERE}.reviewer:main",
    "attester": f"{_HERE}.reviewer:attest",
    "presenter": f"{_HERE}.presenter:main",
    "gatekeeper": f"{_HERE}.gatekeeper:main",
}

TOOLS: dict[str, tuple[str, ...]] = {  # what a program asks for where its agent names no tools
    "file-writer": files.TOOLS,
    "planner": ("list_files",),
    "reviewer": ("read_file",),
}


def resolve(agent: Agent, given: Task | None = None) -> tuple[str, Any]:
    """What to spawn for an agent, and its arguments."""
    args = given if given is not None else Task(agent=agent)
    match agent.program.kind:
        case "builtin":
            return agent.program.name, args
        case "python":
            return f"python:{agent.program.name}", args
    return f"command:{msgspec.json.encode(agent.program.argv).decode()}", args


def is_ours(program: str) -> bool:
    """Whether the program ships, and may live in its parent's trust domain."""
    return program in BUILTIN
