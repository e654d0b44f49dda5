"""What a call is answered with, when it is not refused. Replies are facts of the journal: the same for ever."""

import msgspec

from agentos.abi.budget import Amounts
from agentos.abi.ids import AccountId, CallId, CapabilityId, Digest, OrderId, Pid
from agentos.abi.inference import Usage
from agentos.abi.refusals import Refusal
from agentos.abi.work import Change, Contract, Finding, Reason, Verdict


class Reply(msgspec.Struct, frozen=True, tag_field="reply", omit_defaults=True, kw_only=True):
    pass


class Done(Reply, frozen=True, tag="done"):
    """It is so; there is nothing more to say."""


class Spawned(Reply, frozen=True, tag="spawned"):
    pid: Pid


class Ended(Reply, frozen=True, tag="ended"):
    """How a process ended."""

    pid: Pid
    status: int
    reason: str = ""
    result: Digest | None = None


class Self(Reply, frozen=True, tag="self"):
    """Who the caller is."""

    pid: Pid
    role: str
    account: AccountId
    name: str = ""
    order: OrderId | None = None
    args: Digest | None = None
    capabilities: tuple[tuple[CapabilityId, str, str], ...] = ()  # id, right, selector


class Mail(Reply, frozen=True, tag="mail"):
    """A message. `sender` is stamped by the kernel."""

    id: int
    sender: Pid
    kind: str
    body: Digest | None = None


class Held(Reply, frozen=True, tag="held"):
    """A lease. Carry the token with every write it guards."""

    token: int
    deadline_at_ns: int


class Artifact(Reply, frozen=True, tag="artifact"):
    name: str
    content: Digest
    author: Pid


class Capable(Reply, frozen=True, tag="capable"):
    capability: CapabilityId


class Generated(Reply, frozen=True, tag="generated"):
    """A model's answer."""

    answer: Digest  # an inference Answer as a blob
    usage: Usage
    spent: Amounts
    backend: str = ""


class Result(Reply, frozen=True, tag="result"):
    """A tool's result."""

    content: Digest
    is_error: bool = False


class Chosen(Reply, frozen=True, tag="chosen"):
    """A person's answer."""

    choice: str
    text: str = ""


class Ordered(Reply, frozen=True, tag="ordered"):
    order: OrderId


class Begun(Reply, frozen=True, tag="begun"):
    """An attempt has its working copy."""

    order: OrderId
    attempt: int


class Judged(Reply, frozen=True, tag="judged"):
    """What verification said of what was presented."""

    verdict: Verdict
    reason: Reason
    content: Digest | None = None  # the tree judged
    detail: str = ""  # for the worker: what failed, bounded


class Applied(Reply, frozen=True, tag="applied"):
    """The checkout was changed."""

    order: OrderId
    receipt: str
    paths: tuple[str, ...] = ()


class Standing(Reply, frozen=True, tag="standing"):
    """How an order stands."""

    order: OrderId
    state: str
    title: str
    text: Digest
    contract: Contract
    attempt: int = 0
    presentations: int = 0
    verdict: Verdict | None = None
    reason: Reason | None = None
    content: Digest | None = None
    commit: str = ""
    proofs: tuple[Finding, ...] = ()
    findings: tuple[Finding, ...] = ()
    change: Change | None = None


AnyReply = (
    Done
    | Spawned
    | Ended
    | Self
    | Mail
    | Held
    | Artifact
    | Capable
    | Generated
    | Result
    | Chosen
    | Ordered
    | Begun
    | Judged
    | Standing
    | Applied
)


class Response(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What travels back to a caller: the call it answers, and a reply or a refusal."""

    id: CallId
    reply: AnyReply | None = None
    refusal: Refusal | None = None
