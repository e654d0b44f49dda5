"""Every system call, one record each, grouped by subsystem. The record is the single source: the SDK's stubs, the
reference page, the permission matrix and the fuzzer are made from it.

Rule 1: `AnyCall` is what a process may send. `KernelCall` enters only from the machine and from the state itself.
"""

from agentos.abi.calls import device, ipc, kernel, lease, process, work
from agentos.abi.calls.base import Call

AnyCall = (
    process.Spawn
    | process.Exit
    | process.Await
    | process.Kill
    | process.Checkpoint
    | process.Note
    | process.Whoami
    | ipc.Send
    | ipc.Receive
    | ipc.Open
    | ipc.Subscribe
    | ipc.Publish
    | ipc.Attach
    | ipc.Find
    | lease.Acquire
    | lease.Renew
    | lease.Release
    | lease.Derive
    | lease.Revoke
    | lease.Sleep
    | device.Infer
    | device.Invoke
    | device.Ask
    | work.Submit
    | work.Look
    | work.Begin
    | work.Present
    | work.Attest
    | work.Decide
    | work.Escalate
    | work.Cancel
    | work.Raise
    | work.Apply
    | work.Undo
)
KernelCall = (
    kernel.Boot
    | kernel.Enroll
    | kernel.Settle
    | kernel.Beat
    | kernel.Fence
    | kernel.Finish
    | kernel.Diverge
    | kernel.Reap
    | kernel.Recover
    | kernel.Refill
    | kernel.Dispatch
    | kernel.Fire
    | kernel.Advance
)

__all__ = ["AnyCall", "Call", "KernelCall"]
