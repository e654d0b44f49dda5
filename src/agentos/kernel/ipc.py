"""Mail, channels, artifacts: what processes tell each other. Bounded, stamped, typed.

    send      ─> mailbox of one process, or straight to a receiver that waits
    publish   ─> a copy for each subscriber, all or none; the channel keeps the newest for those who come later
    attach    ─> an artifact: content by digest, with what it was made from

Rule 1: the kernel stamps the sender; there is no field for it in the call.
Rule 2: a full mailbox refuses the sender (Busy). No message is ever dropped in silence.
Rule 3: a channel, like an artifact, of an order goes with the order.
Rule 4: a message is taken once. Order is per mailbox: oldest first among those of the kind asked for.
"""

from agentos.abi.calls.ipc import Attach, Find, Open, Publish, Receive, Send, Subscribe
from agentos.abi.events.base import Event
from agentos.abi.events.call import TimerSet
from agentos.abi.events.ipc import ArtifactAttached, ChannelJoined, ChannelOpened, ChannelPublished, MailSent, MailTaken
from agentos.abi.ids import CallId, Digest, OrderId, Pid
from agentos.abi.limits import value
from agentos.abi.refusals import Busy, Closed, Exhausted, Invalid, NotFound
from agentos.abi.replies import Artifact, Done, Mail
from agentos.abi.rights import Right, canonical_fault
from agentos.kernel import capability
from agentos.kernel.decision import Entry, Ruling, answer, deciding, park, release
from agentos.kernel.state import Artifact as Row
from agentos.kernel.state import Channel, Letter, Parked, Process, State

STAMPED = ("signal:", "channel:")  # kinds that only the kernel gives to mail: a reader may trust them


def send(state: State, entry: Entry, call: Send) -> Ruling:
    sender, to = state.processes[entry.id.pid], state.processes.get(call.to)
    if to is None:
        return NotFound(thing=f"process {call.to}", fact="does not exist")
    if to.state == "zombie":
        return Closed(thing=f"process {call.to}", fact="has ended")
    if call.kind.startswith(STAMPED):
        return Invalid(thing=f"kind {call.kind!r}", fact="is the kernel's", remedy="use kill, or publish")
    is_kin = to.parent == sender.pid or sender.parent == to.pid
    held = None if is_kin else capability.find(state, sender, Right.SEND, f"/{call.to}")
    if not is_kin and held is None:
        return capability.forbidden(sender, Right.SEND, f"/{call.to}")
    sent = deliver(state, sender.pid, to, call.kind, call.body)
    return sent if isinstance(sent, Busy) else capability.counted(held, deciding(*sent, answer(entry, Done())))


def deliver(
    state: State,
    sender: Pid,
    to: Process,
    kind: str,
    body: Digest | None,
    *,
    offset: int = 0,
    served: list[CallId] | None = None,
) -> list[Event] | Busy:
    """A letter into a mailbox, and out of it again when somebody waits for it.

    `offset` numbers several in one decision; `served` remembers, over several to one process, who has got its own.
    """
    id = state.next_mail + offset
    sent = MailSent(mail=id, sender=sender, to=to.pid, kind=kind, body=body)
    waiting = _receiver(to, kind, served or [])
    if waiting is not None:
        if served is not None:
            served.append(waiting.id)
        mail = Mail(id=id, sender=sender, kind=kind, body=body)
        return [sent, MailTaken(mail=id, by=to.pid), *release(state, waiting.id, mail)]
    if len(to.mailbox) >= value("mailbox_max"):
        return Busy(
            thing=f"mailbox of {to.pid}",
            fact=f"holds {len(to.mailbox)} messages",
            remedy="send again when it has read some",
            limit="limits.mailbox_max",
        )
    return [sent]


def _receiver(to: Process, kind: str, served: list[CallId]) -> Parked | None:
    for waiting in to.parked.values():
        if waiting.kind == "receive" and waiting.target in ("", kind) and waiting.id not in served:
            return waiting
    return None


def receive(state: State, entry: Entry, call: Receive) -> Ruling:
    process = state.processes[entry.id.pid]
    for letter in process.mailbox:
        if call.kind in ("", letter.kind):
            mail = Mail(id=letter.id, sender=letter.sender, kind=letter.kind, body=letter.body)
            return deciding(MailTaken(mail=letter.id, by=process.pid), answer(entry, mail))
    events: list[Event] = [park(entry, "receive", call.kind)]
    if call.timeout_ns:
        due = entry.now_ns + min(call.timeout_ns, value("timer_span_ns_max"))
        events.append(
            TimerSet(timer=state.next_timer, at_ns=due, pid=process.pid, kind="receive", target=str(entry.id))
        )
    return deciding(*events)


def open(state: State, entry: Entry, call: Open) -> Ruling:
    process = state.processes[entry.id.pid]
    wrong = canonical_fault(call.channel)
    if wrong is not None:
        return Invalid(thing=f"channel {call.channel!r}", fact=wrong)
    held = capability.find(state, process, Right.PUBLISH, call.channel)
    if held is None:
        return capability.forbidden(process, Right.PUBLISH, call.channel)
    there = state.channels.get(call.channel)
    if there is not None and there.schema != call.schema:
        return Busy(thing=f"channel {call.channel}", fact="is open with another schema", remedy="use its schema")
    if there is not None:
        return capability.counted(held, deciding(answer(entry, Done())))
    order = OrderId(call.channel.split("/")[1])
    if order in state.closed:
        return Closed(thing=f"order {order}", fact=f"is {state.closed[order].state}, and so are its channels")
    if len(state.channels) >= value("channels_max"):
        return Exhausted(thing="open channels", fact=f"are {len(state.channels)}", limit="limits.channels_max")
    opened = ChannelOpened(channel=call.channel, schema=call.schema, by=process.pid)
    return capability.counted(held, deciding(opened, answer(entry, Done())))


def subscribe(state: State, entry: Entry, call: Subscribe) -> Ruling:
    process = state.processes[entry.id.pid]
    channel = state.channels.get(call.channel)
    held = capability.find(state, process, Right.SUBSCRIBE, call.channel)
    if held is None:
        return capability.forbidden(process, Right.SUBSCRIBE, call.channel)
    if channel is None:
        return NotFound(thing=f"channel {call.channel}", fact="is not open", remedy="open it first")
    if len(process.channels) >= value("subscriptions_max") and call.channel not in process.channels:
        return Exhausted(thing="subscriptions", fact="are used up", limit="limits.subscriptions_max")
    events: list[Event] = (
        [] if process.pid in channel.subscribers else [ChannelJoined(channel=call.channel, pid=process.pid)]
    )
    if call.is_from_start:
        room = value("mailbox_max") - len(process.mailbox)
        kept = channel.backlog[-room:] if room else []
        served: list[CallId] = []
        kind = f"channel:{call.channel}"
        for offset, letter in enumerate(kept):
            sent = deliver(state, letter.sender, process, kind, letter.body, offset=offset, served=served)
            assert not isinstance(sent, Busy), "only what fits is taken from the backlog"
            events += sent
    return capability.counted(held, deciding(*events, answer(entry, Done())))


def publish(state: State, entry: Entry, call: Publish) -> Ruling:
    process = state.processes[entry.id.pid]
    channel = state.channels.get(call.channel)
    held = capability.find(state, process, Right.PUBLISH, call.channel)
    if held is None:
        return capability.forbidden(process, Right.PUBLISH, call.channel)
    if channel is None:
        return NotFound(thing=f"channel {call.channel}", fact="is not open", remedy="open it first")
    if call.fault:
        return Invalid(
            thing=f"message to {call.channel}",
            fact=f"does not match its schema: {call.fault}",
            remedy="send what it asks for",
        )
    events: list[Event] = [ChannelPublished(channel=call.channel, sender=process.pid, body=call.body)]
    for offset, pid in enumerate(channel.subscribers):
        sent = deliver(state, process.pid, state.processes[pid], f"channel:{call.channel}", call.body, offset=offset)
        if isinstance(sent, Busy):
            return sent
        events += sent
    return capability.counted(held, deciding(*events, answer(entry, Done())))


def attach(state: State, entry: Entry, call: Attach) -> Ruling:
    wrong = canonical_fault(call.name)
    if wrong is not None:
        return Invalid(thing=f"artifact name {call.name!r}", fact=wrong)
    process = state.processes[entry.id.pid]
    shelf = state.artifacts.get(process.order or "", {})
    if call.name not in shelf and len(shelf) >= value("artifacts_max"):
        return Exhausted(thing="artifacts", fact=f"are {len(shelf)} already", limit="limits.artifacts_max")
    for source in call.sources:
        if not _is_known(state, process.order, source):
            return NotFound(
                thing=f"source {source[:12]}", fact="is no artifact of this workspace", remedy="attach it first"
            )
    attached = ArtifactAttached(
        name=call.name,
        content=call.content,
        author=process.pid,
        order=process.order,
        media_type=call.media_type,
        body_bytes=call.body_bytes,
        sources=call.sources,
    )
    return deciding(attached, answer(entry, Artifact(name=call.name, content=call.content, author=process.pid)))


def find(state: State, entry: Entry, call: Find) -> Ruling:
    row = state.artifacts.get(state.processes[entry.id.pid].order or "", {}).get(call.name)
    if row is None:
        return NotFound(thing=f"artifact {call.name}", fact="does not exist in this order")
    return deciding(answer(entry, Artifact(name=row.name, content=row.content, author=row.author)))


def _is_known(state: State, order: OrderId | None, content: Digest) -> bool:
    """Whether some artifact of the order, or of the workspace, has this content. O(artifacts of the order)."""
    shelves = (state.artifacts.get(order or "", {}), state.artifacts.get("", {}))
    return any(row.content == content for shelf in shelves for row in shelf.values())


def apply_sent(state: State, event: MailSent, at_ns: int) -> None:
    assert event.mail == state.next_mail, "mail is numbered as it is sent"
    state.next_mail += 1
    state.processes[event.to].mailbox.append(Letter(event.mail, event.sender, event.kind, event.body))


def apply_taken(state: State, event: MailTaken, at_ns: int) -> None:
    mailbox = state.processes[event.by].mailbox
    place = next(i for i, letter in enumerate(mailbox) if letter.id == event.mail)
    del mailbox[place]


def apply_opened(state: State, event: ChannelOpened, at_ns: int) -> None:
    assert event.channel not in state.channels
    state.channels[event.channel] = Channel(event.schema)


def apply_joined(state: State, event: ChannelJoined, at_ns: int) -> None:
    state.channels[event.channel].subscribers.append(event.pid)
    state.processes[event.pid].channels.append(event.channel)


def apply_published(state: State, event: ChannelPublished, at_ns: int) -> None:
    backlog = state.channels[event.channel].backlog
    backlog.append(Letter(0, event.sender, "", event.body))
    del backlog[: -value("backlog_max")]


def apply_attached(state: State, event: ArtifactAttached, at_ns: int) -> None:
    state.artifacts.setdefault(event.order or "", {})[event.name] = Row(
        event.name, event.content, event.author, event.order, event.media_type, event.body_bytes, event.sources
    )


def close(state: State, order: OrderId) -> None:
    """Part of closing an order: its channels are gone, and its artifacts are in the record. O(channels)."""
    for name in [name for name in state.channels if name.startswith(f"/{order}/")]:
        for pid in state.channels.pop(name).subscribers:
            state.processes[pid].channels.remove(name)
    state.artifacts.pop(order, None)


def leave(state: State, process: Process) -> None:
    """Part of reaping: it is nobody's subscriber any more."""
    for name in process.channels:
        state.channels[name].subscribers.remove(process.pid)
