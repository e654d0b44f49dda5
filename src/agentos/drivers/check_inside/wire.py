"""The wire between the tests and the artifact: plain typed data by value, everything else by reference. Symmetric calls.

    tests (apart.py)  --question-->  artifact (serve.py)        a question may be answered by questions of the other side,
                      <--answer----                             for a callback runs where it was written

Rule 1: what crosses is JSON with type tags. Nothing received is ever executed, unpickled or imported.
Rule 2: by value only exact built-in types: a subclass with an `__eq__` of its own arrives as a reference.
Rule 3: an answer carries what became of mutable arguments, so a function that sorts in place is seen to have sorted.
Rule 4: a peer that is gone, late, or talks nonsense is `Lost`, and stays lost.
"""

# mypy: ignore-errors
# Untyped on purpose: it runs under Pythons of other ages, beside code of any shape, and mostly stands in for objects
# whose type it does not know.

import base64
import builtins
import datetime
import decimal
import fractions
import json
import os
import pathlib
import select
import struct
import time
import uuid

MESSAGE_BYTES_MAX = 64 << 20  # one argument list; a test passes less than that, and a hostile peer could send more
DEPTH_MAX = 60  # nesting of containers; deeper, or circular, goes by reference


class Lost(Exception):
    """The other side is gone or late."""


class Note:
    """What the present test has sent across; says how far its outcome can be relied on."""

    def __init__(self):
        self.crossings = 0
        self.is_loose = False  # something crossed that may behave differently apart: a failure says little
        self.is_far = False  # an object of the artifact's own came across, and stayed there
        self.is_opaque = False  # the artifact itself answered a comparison: a pass says little


class Far:
    """A reference to an object of the other side. `peer` and `ref` are set by whoever decodes it."""


_BY_TAG = {
    "T": lambda text: datetime.datetime.fromisoformat(text),
    "D": lambda text: datetime.date.fromisoformat(text),
    "H": lambda text: datetime.time.fromisoformat(text),
    "C": lambda text: decimal.Decimal(text),
    "F": lambda text: fractions.Fraction(text),
    "B": lambda text: base64.b64decode(text),
    "A": lambda text: bytearray(base64.b64decode(text)),
    "P": lambda text: pathlib.Path(text),
    "I": lambda text: int(text, 16),
    "Y": lambda parts: datetime.timedelta(*parts),
    "U": lambda text: uuid.UUID(text),
}
_TO_TAG = {
    datetime.datetime: ("T", lambda v: v.isoformat()),
    datetime.date: ("D", lambda v: v.isoformat()),
    datetime.time: ("H", lambda v: v.isoformat()),
    decimal.Decimal: ("C", str),
    fractions.Fraction: ("F", str),
    bytes: ("B", lambda v: base64.b64encode(v).decode()),
    bytearray: ("A", lambda v: base64.b64encode(v).decode()),
    type(pathlib.Path()): ("P", str),
    datetime.timedelta: ("Y", lambda v: [v.days, v.seconds, v.microseconds]),
    uuid.UUID: ("U", str),
    int: ("I", hex),  # only those over 4000 digits, where decimal notation is refused
}
_SEQUENCES = {"l": list, "t": tuple, "s": set, "f": frozenset}
_MUTABLE = (list, dict, set, bytearray)


class Peer:
    """One end. `serve` maps operation names to functions; `make_far` turns a received reference into an object."""

    def __init__(self, read_fd, write_fd, serve, make_far, describe):
        self.read_fd, self.write_fd = read_fd, write_fd
        self.serve, self.make_far, self.describe = serve, make_far, describe
        self.kept, self.numbers = {}, {}
        self.note = Note()
        self.is_lost = False
        self.deadline = None

    def ask(self, operation, *arguments):
        """The other side's answer; raises what it raised."""
        self.note.crossings += 1
        sent = [self.encode(argument) for argument in arguments]
        self._send({"q": operation, "a": sent})
        while True:
            message = self._receive()
            if "q" in message:
                self._answer(message)
                continue
            for at, changed in message.get("m", []):
                _update(arguments[at], self.decode(changed))
            if "e" in message:
                raise self.raised(message["e"])
            return self.decode(message["r"])

    def listen(self):
        """Answer questions until the other side is gone."""
        while True:
            try:
                self._answer(self._receive())
            except Lost:
                return

    def _answer(self, message):
        arguments = [self.decode(argument) for argument in message["a"]]
        reply = {}
        try:
            reply["r"] = self.encode(self.serve[message["q"]](*arguments))
        except Lost:
            raise
        except BaseException as error:  # noqa: BLE001 (whatever it raised is the answer)
            reply["e"] = self.describe_error(error)
        changed = []
        for at, argument in enumerate(arguments):
            if isinstance(argument, _MUTABLE):
                now = self.encode(argument)
                if now != message["a"][at]:
                    changed.append([at, now])
        reply["m"] = changed
        self._send(reply)

    def encode(self, value, depth=0):
        kind = type(value)
        if value is None or kind in (bool, str, float):
            return value
        if kind is int and abs(value) < 1 << 4000:
            return value
        if kind in _TO_TAG:
            tag, write = _TO_TAG[kind]
            return {tag: write(value)}
        if depth < DEPTH_MAX:
            for tag, sequence in _SEQUENCES.items():
                if kind is sequence:
                    items = sorted(value, key=repr) if tag in "sf" else value
                    return {tag: [self.encode(item, depth + 1) for item in items]}
            if kind is dict:
                return {"d": [[self.encode(k, depth + 1), self.encode(v, depth + 1)] for k, v in value.items()]}
            if kind is complex:
                return {"c": [value.real, value.imag]}
            if kind is range:
                return {"r": [value.start, value.stop, value.step]}
            if kind is slice:
                return {"S": [self.encode(part, depth + 1) for part in (value.start, value.stop, value.step)]}
        return self.encode_reference(value)

    def encode_reference(self, value):
        """Yours goes back as yours; mine gets a number, under which it is kept for the life of the run."""
        if isinstance(value, Far) and object.__getattribute__(value, "peer") is self:
            return {"yours": object.__getattribute__(value, "ref")}
        mirrored = self.describe.mirrored(value)
        if mirrored is not None:
            return {"yours": mirrored}
        number = self.numbers.get(id(value))
        if number is None:
            number = len(self.kept)
            self.kept[number], self.numbers[id(value)] = value, number
        return {"mine": number, "about": self.describe.about(self, value)}

    def decode(self, sent):
        if not isinstance(sent, dict):
            if isinstance(sent, list):
                raise Lost("not a message")
            return sent
        (tag, body), *_ = sent.items()
        if tag in _SEQUENCES:
            return _SEQUENCES[tag]([self.decode(item) for item in body])
        if tag == "d":
            return {self.decode(k): self.decode(v) for k, v in body}
        if tag in _BY_TAG:
            return _BY_TAG[tag](body)
        if tag == "c":
            return complex(*body)
        if tag == "r":
            return range(*body)
        if tag == "S":
            return slice(*[self.decode(part) for part in body])
        if tag == "yours":
            return self.kept[body]
        if tag == "mine":
            return self.make_far(body, sent.get("about", {}))
        raise Lost("not a message")

    def describe_error(self, error):
        for kind in type(error).__mro__:
            if kind.__module__ == "builtins" and isinstance(getattr(builtins, kind.__name__, None), type):
                base = kind.__name__
                break
        out = {"base": base, "args": self.encode(list(error.args)), "text": _text(error)}
        if type(error).__module__ != "builtins":
            out["type"] = self.encode_reference(type(error))
            out["fields"] = self.encode({k: v for k, v in vars(error).items() if not k.startswith("_")})
        return out

    def raised(self, sent):
        error = self.describe.raised(self, sent)
        error.is_from_afar = True
        return error

    def _send(self, message):
        body = json.dumps(message).encode()
        if len(body) > MESSAGE_BYTES_MAX:
            raise Lost("message too large")
        self._write(struct.pack(">I", len(body)) + body)

    def _write(self, raw):
        view = memoryview(raw)
        while view:
            if self.is_lost:
                raise Lost("the other side is gone")
            self._wait(False)
            try:
                view = view[os.write(self.write_fd, view[:65536]) :]
            except BlockingIOError:
                continue
            except OSError:
                self._lose("the other side is gone")

    def _receive(self):
        (size,) = struct.unpack(">I", self._read(4))
        if size > MESSAGE_BYTES_MAX:
            self._lose("message too large")
        try:
            message = json.loads(self._read(size))
        except (ValueError, RecursionError):
            self._lose("not a message")
        if not isinstance(message, dict):
            self._lose("not a message")
        return message

    def _read(self, count):
        out = bytearray()
        while len(out) < count:
            if self.is_lost:
                raise Lost("the other side is gone")
            self._wait(True)
            part = os.read(self.read_fd, min(count - len(out), 1 << 20))
            if not part:
                self._lose("the other side is gone")
            out += part
        return bytes(out)

    def _wait(self, is_reading):
        left = None if self.deadline is None else max(0.0, self.deadline - time.monotonic())
        descriptors = ([self.read_fd], [], []) if is_reading else ([], [self.write_fd], [])
        if not any(select.select(*descriptors, left)):
            self._lose("the other side is late")

    def _lose(self, why):
        self.is_lost = True
        raise Lost(why)


def _text(error):
    try:
        return str(error)
    except Exception:  # noqa: BLE001 (its `__str__` is foreign code)
        return ""


def _update(mine, now):
    """Make my mutable argument equal to what the other side made of it, keeping the identity of what is inside."""
    if type(mine) is not type(now):
        return
    if isinstance(mine, list):
        if len(mine) == len(now):
            for at, value in enumerate(now):
                if type(mine[at]) is type(value) and isinstance(value, _MUTABLE):
                    _update(mine[at], value)
                else:
                    mine[at] = value
        else:
            mine[:] = now
    elif isinstance(mine, dict):
        for key in [key for key in mine if key not in now]:
            del mine[key]
        for key, value in now.items():
            if key in mine and type(mine[key]) is type(value) and isinstance(value, _MUTABLE):
                _update(mine[key], value)
            else:
                mine[key] = value
    elif isinstance(mine, set):
        mine.clear()
        mine.update(now)
    else:
        mine[:] = now
