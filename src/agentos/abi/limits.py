"""Every limit, with its name, value, unit, reason and the key that raises it.

Rule 1: nothing is unbounded. A bound that is not in this table is a defect.
Rule 2: the configuration key is `limits.NAME`; a refusal by a limit carries it.
"""

import msgspec


class Limit(msgspec.Struct, frozen=True):
    name: str
    value: int
    unit: str
    reason: str

    @property
    def key(self) -> str:
        return f"limits.{self.name}"


_ROWS = (
    Limit("processes_max", 65_536, "processes", "slots of the process table; 10,000 parked agents fit six times"),
    Limit("children_max", 1_024, "processes", "a fan-out above this is a fork bomb in every workload we know"),
    Limit("depth_max", 16, "generations", "delegation deeper than this has lost its author"),
    Limit("strands_max", 256, "strands", "concurrent calls of one process; more would starve its siblings"),
    Limit("mailbox_max", 256, "messages", "a receiver this far behind is told to senders as Busy"),
    Limit("inline_bytes_max", 8_192, "bytes", "larger content is a blob; rows stay small enough to batch"),
    Limit("content_bytes_max", 16_777_216, "bytes", "largest single content that crosses the boundary"),
    Limit("subscriptions_max", 64, "channels", "per process"),
    Limit("backlog_max", 1_024, "messages", "kept by a channel for late subscribers; the oldest drops"),
    Limit("capabilities_max", 1_024, "capabilities", "held by one process; a contract compiles to a few dozen"),
    Limit("channels_max", 1_024, "channels", "open at once in one workspace; those of an order go with it"),
    Limit("artifacts_max", 4_096, "artifacts", "names per order, the newest of each kept"),
    Limit("leases_max", 256, "leases", "per process"),
    Limit("lease_ttl_ns_max", 3_600_000_000_000, "ns", "a lease longer than an hour is ownership; renew instead"),
    Limit("timer_span_ns_max", 2_678_400_000_000_000, "ns", "31 days; longer waits belong to a schedule"),
    Limit("relaunches_max", 5, "launches", "of a program without one new call; it ends its worker each time it is run"),
    Limit("repeats_max", 5, "calls", "identical calls in a row after which an agent is in a loop"),
    Limit("attempts_max", 4, "attempts", "of one effect; a fifth try of the same has not been seen to help"),
    Limit("presentations_max", 8, "presentations", "of one order, after which a person looks"),
    Limit(
        "priority_max", 16, "steps", "up or down from 0; ageing takes 10 s a step, so nobody is kept waiting for long"
    ),
    Limit("weight_max", 1_000, "shares", "of one order against others; strides stay exact up to here"),
    Limit("orders_open_max", 1_024, "orders", "in one workspace"),
    Limit("inference_slots", 32, "requests", "in flight at once; more queue, fairly between orders"),
    Limit("tool_slots", 16, "calls", "in flight at once"),
    Limit("check_slots", 2, "checks", "each may take a core"),
    Limit("forge_slots", 4, "git commands", "each may take a disk"),
    Limit("ended_max", 256, "exit records", "kept per parent for late waiters"),
    Limit("name_bytes_max", 256, "bytes", "of any name a caller chooses"),
    Limit("note_bytes_max", 2_048, "bytes", "of one progress note"),
    Limit("questions_max", 64, "questions", "open at once per order, or per process without one"),
)

LIMITS: dict[str, Limit] = {row.name: row for row in _ROWS}


def value(name: str) -> int:
    """The built-in value of a limit, in its unit."""
    return LIMITS[name].value
