"""The agents that the benches run. Each is what its peer's counterpart does, and no less."""

from typing import Any

from agentos.abi.inference import Message, Request, Text
from agentos.sdk.system import System

CHATS = 3
STEPS = 5
FOREVER = "never sent"


async def chat(os: System, args: Any) -> Any:
    """Three governed model calls, each with the talk so far; its end is its result."""
    messages = [Message("user", (Text(f"do {args}"),))]
    for _ in range(CHATS):
        answer = await os.infer(Request(model="m", messages=tuple(messages), output_tokens_max=16))
        messages.append(Message("assistant", answer.content))
    return {"turns": len(messages) - 1}


async def five(os: System, args: Any) -> None:
    """Five steps that are recorded and do nothing."""
    for _ in range(STEPS):
        await os.whoami()


async def effects(os: System, args: Any) -> None:
    """Five steps with an effect each."""
    for number in range(STEPS):
        asked = Message("user", (Text(f"step {number} of {args}"),))
        await os.infer(Request(model="m", messages=(asked,), output_tokens_max=16))


async def work(os: System, args: Any) -> Any:
    """What an agent does: talks, and leaves what it made."""
    talked = await chat(os, args)
    await os.attach("/draft", f"what {args} made")
    return talked


async def park(os: System, args: Any) -> None:
    """Wait for a message that nobody sends."""
    await os.receive(FOREVER)


async def ready(os: System, args: Any) -> None:
    """End at once: a worker that ran this has started."""
