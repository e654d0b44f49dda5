"""The programs that ship, by the name they are spawned under, and how an agent's file becomes one.

Rule 1: a name here is what a journal holds; it is never given to another program.
Rule 2: an agent's file grants nothing: `resolve` says what to run and with what prompt, the spawner says with what rights.
"""

from typing import Any

import msgspec

from agentos.userland.agents import files
from agentos.userland.agents.task import Task
from agentos.userland.documents.agent import Agent

_AGENTS = "python:agentos.userland.agents"

BUILTIN: dict[str, str] = {
    "conductor": f"{_AGENTS}.conductor:main",
    "workflow": "python:agentos.userland.workflows.run:main",
    "file-writer": f"{_AGENTS}.worker_coder:main",
    "tool-loop": f"{_AGENTS}.worker_tools:main",
    "answer": f"{_AGENTS}.answer:main",
    "verdict": f"{_AGENTS}.answer:verdict",
    "planner": f"{_AGENTS}.planner:main",
    "evaluator": f"{_AGENTS}.evaluator:main",
    "reviewer": f"{_AGENTS}.reviewer:main",
    "attester": f"{_AGENTS}.reviewer:attest",
    "presenter": f"{_AGENTS}.presenter:main",
    "gatekeeper": f"{_AGENTS}.gatekeeper:main",
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
