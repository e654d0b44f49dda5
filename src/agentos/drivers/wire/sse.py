"""Server-sent events out of bytes, with no I/O (WHATWG HTML 9.2, the parts that model servers use).

Rule 1: any cut of the same bytes into chunks gives the same events.
Rule 2: what is held back is bounded; a line or an event over the bound raises `Overlong`.
"""

from typing import NamedTuple


class Event(NamedTuple):
    name: str  # "" when the server named none
    content: str


class Overlong(Exception):
    """An event that does not end within the bound."""


class Splitter:
    """Holds the bytes of the event that is not whole yet."""

    def __init__(self, event_bytes_max: int) -> None:
        self._bytes_max = event_bytes_max
        self._rest = b""
        self._name = ""
        self._lines: list[str] = []
        self._held = 0

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that this chunk completes, in order."""
        events = []
        *lines, self._rest = (self._rest + chunk).replace(b"\r\n", b"\n").split(b"\n")
        for line in lines:
            if event := self._take(line.rstrip(b"\r")):
                events.append(event)
        if self._held + len(self._rest) > self._bytes_max:
            raise Overlong(f"longer than event_bytes_max = {self._bytes_max} bytes")
        return events

    def _take(self, line: bytes) -> Event | None:
        if not line:
            return self._flush()
        field, _, value = line.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            self._lines.append(value)
            self._held += len(line)
        elif field == "event":
            self._name = value
        return None  # comments (an empty field), ids and retry times mean nothing to us

    def _flush(self) -> Event | None:
        event = Event(self._name, "\n".join(self._lines)) if self._lines else None
        self._name, self._lines, self._held = "", [], 0
        return event
