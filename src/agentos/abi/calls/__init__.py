"""Every system call, one record each, grouped by subsystem. The record is the single source: the SDK's stubs, the
reference page, the permission matrix and the fuzzer are made from it.

Rule 1: `AnyCall` is what a process may send. `KernelCall` enters only from the machine and from the state itself.
"""

from agentos.abi.calls.base import Call
from agentos.abi.calls.device import Ask, Infer, Invoke
from agentos.abi.calls.ipc import Attach, Find, Open, Publish, Receive, Send, Subscribe
from agentos.abi.calls.kernel import (
    Advance,
    Beat,
    Boot,
    Dispatch,
    Diverge,
    Enroll,
    Fence,
    Finish,
    Fire,
    Reap,
    Recover,
    Refill,
    Settle,
)
from agentos.abi.calls.lease import Acquire, Derive, Release, Renew, Revoke, Sleep
from agentos.abi.calls.process import Await, Checkpoint, Exit, Kill, Note, Spawn, Whoami
from agentos.abi.calls.work import Apply, Attest, Begin, Cancel, Decide, Escalate, Look, Present, Raise, Submit, Undo

AnyCall = (
    Spawn
    | Exit
    | Await
    | Kill
    | Checkpoint
    | Note
    | Whoami
    | Send
    | Receive
    | Open
    | Subscribe
    | Publish
    | Attach
    | Find
    | Acquire
    | Renew
    | Release
    | Derive
    | Revoke
    | Sleep
    | Infer
    | Invoke
    | Ask
    | Submit
    | Look
    | Begin
    | Present
    | Attest
    | Decide
    | Escalate
    | Cancel
    | Raise
    | Apply
    | Undo
)
KernelCall = (
    Boot | Enroll | Settle | Beat | Fence | Finish | Diverge | Reap | Recover | Refill | Dispatch | Fire | Advance
)

__all__ = ["AnyCall", "Call", "KernelCall"]
