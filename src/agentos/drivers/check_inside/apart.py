"""The tests alone: every module of the artifact is a proxy, so what is compared is compared here, where it is not loaded.

An object of the artifact's is a `Far`: each operation on it is a question over the wire. Plain values arrive as plain
values of exact built-in types, so an object that claims to equal everything stays a `Far`, and the comparison is noted
as the artifact's own word (`is_opaque`).
"""

# mypy: ignore-errors
# Untyped on purpose: it runs under Pythons of other ages, beside code of any shape, and mostly stands in for objects
# whose type it does not know.

import builtins
import importlib.abc
import importlib.machinery
import json
import os
import sys
import time
import types

sys.path.insert(0, "/agentos")
from check_inside import records, runners, wire

TREE = "/copy/"


class Far(wire.Far):
    """An object of the artifact's."""

    def __init__(self, peer, ref, about):
        object.__setattr__(self, "peer", peer)
        object.__setattr__(self, "ref", ref)
        object.__setattr__(self, "about", about)

    def __getattribute__(self, name):
        if name in ("__class__", "__dict__", "__init__"):
            return object.__getattribute__(self, name)
        about = object.__getattribute__(self, "about")
        if name in ("__name__", "__qualname__", "__module__", "__doc__") and about["kind"] != "object":
            key = name.strip("_").replace("qualname", "name")
            return about[key].rsplit(".", 1)[-1] if name == "__name__" else about[key]
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        peer = object.__getattribute__(self, "peer")
        value = peer.ask("getattr", self, name)
        if isinstance(value, (list, dict, set, bytearray)):
            peer.note.is_loose = True  # a copy: changing it changes nothing over there
        return value

    def __setattr__(self, name, value):
        peer_of(self).note.is_loose = True
        peer_of(self).ask("setattr", self, name, value)

    def __delattr__(self, name):
        peer_of(self).ask("delattr", self, name)

    def __call__(self, *arguments, **named):
        return peer_of(self).ask("call", self, list(arguments), named)

    def __instancecheck__(self, value):
        peer_of(self).note.is_opaque = True
        return isinstance(value, Far) and bool(peer_of(self).ask("operate", "isinstance", [value, self]))

    def __subclasscheck__(self, value):
        peer_of(self).note.is_opaque = True
        return isinstance(value, Far) and bool(peer_of(self).ask("operate", "issubclass", [value, self]))

    def __enter__(self):
        return peer_of(self).ask("operate", "enter", [self])

    def __exit__(self, kind, error, trace):
        return peer_of(self).ask("operate", "exit", [self, kind, error, None])

    def __hash__(self):
        peer_of(self).note.is_loose = True  # equal objects over there have unequal hashes here
        return hash((Far, object.__getattribute__(self, "ref")))

    def __dir__(self):
        return peer_of(self).ask("operate", "dir", [self])


def peer_of(far):
    return object.__getattribute__(far, "peer")


def _forward(operation, *, is_opaque=False, is_reversed=False):
    def method(self, *others):
        peer = peer_of(self)
        if is_opaque:
            peer.note.is_opaque = True
        arguments = [*others, self] if is_reversed else [self, *others]
        return peer.ask("operate", operation, arguments)

    return method


_ASKED = ("len", "iter", "next", "int", "float", "complex", "str", "repr", "abs", "round", "index", "reversed")
_BINARY = ("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "pow", "lshift", "rshift", "and_", "or_", "xor")
for _name in (*_ASKED, "neg", "pos", "invert", "getitem", "setitem", "delitem", "format"):
    setattr(Far, f"__{_name}__", _forward(_name))
for _name in _BINARY:
    setattr(Far, f"__{_name.rstrip('_')}__", _forward(_name))
    setattr(Far, f"__r{_name.rstrip('_')}__", _forward(_name, is_reversed=True))
for _name in ("eq", "ne", "lt", "le", "gt", "ge", "bool", "contains"):
    setattr(Far, f"__{_name}__", _forward(_name, is_opaque=True))


# Each leads from an object of the test's to its globals, and there to the expected values or to code that runs here.
_WAYS_IN = (types.ModuleType, types.FrameType, types.CodeType, types.TracebackType)


class _Describe:
    """How the tests' side makes references, and exceptions of the artifact's own classes."""

    def __init__(self):
        self.classes = {}  # ref of an exception class over there: its mirror here
        self.refs = {}

    def mirrored(self, value):
        return self.refs.get(id(value)) if isinstance(value, type) else None

    def about(self, peer, value):
        if isinstance(value, _WAYS_IN):
            raise TypeError("this is not for the artifact")
        peer.note.is_loose = True
        return {}

    def mirror(self, peer, ref, about):
        if ref not in self.classes:
            bases = tuple(self._base(peer, sent) for sent in about.get("bases", [])) or (Exception,)
            made = type(about.get("name", "Error").rsplit(".", 1)[-1], _lead(bases), {"__str__": _told})
            self.classes[ref], self.refs[id(made)] = made, ref
        return self.classes[ref]

    def _base(self, peer, sent):
        return _builtin(sent) if isinstance(sent, str) else peer.decode(sent)

    def raised(self, peer, sent):
        arguments = peer.decode(sent.get("args", {"l": []}))
        if "type" not in sent:
            kind = _builtin(sent.get("base"))
            try:
                return kind(*arguments)
            except TypeError:
                return kind(sent.get("text", ""))
        kind = peer.decode(sent["type"])
        error = kind.__new__(kind)
        error.args = tuple(arguments)
        error.__dict__.update(peer.decode(sent["fields"]), _told=sent.get("text", ""))
        return error


def _told(self):
    return str(self.__dict__.get("_told", "")) or Exception.__str__(self)


def _lead(bases):
    """Only exception classes can be bases of one here; a mix-in of the artifact's is left out."""
    kept = tuple(base for base in bases if isinstance(base, type) and issubclass(base, BaseException))
    return kept or (Exception,)


def _builtin(name):
    kind = getattr(builtins, str(name), None)
    if isinstance(kind, type) and issubclass(kind, (Exception, SystemExit)):
        return kind
    return RuntimeError


def _make_far(peer, ref, about):
    kind = about.get("kind", "object")
    if kind == "exception":
        return peer.describe.mirror(peer, ref, about)
    if kind == "object":
        peer.note.is_far = True
    full = {"kind": kind, **{key: str(about.get(key, "")) for key in ("name", "module", "doc")}}
    return peer.far.setdefault(ref, Far(peer, ref, full))


class _Module(types.ModuleType):
    """A module of the artifact's; its names are asked for when they are used."""

    def __getattr__(self, name):
        if name.startswith("__"):
            if "__note__" in self.__dict__:
                self.__dict__["__note__"]().is_loose = True  # `__version__` and the like are not asked for over there
            raise AttributeError(name)
        return getattr(self.__dict__["__far__"](), name)


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Answers for every module whose source belongs to the artifact. It is not on this side's disk."""

    def __init__(self, peer, sources):
        self.peer = peer
        self.sources = set(sources)

    def find_spec(self, name, path, target=None):
        places = list(path if path is not None else sys.path)
        if path is None:
            places += ["/copy", "/copy/src"]
        for place in places:
            root = os.path.normpath(os.path.join("/copy", place)) + "/"
            if root.startswith(TREE):
                spec = self._spec(name, root[len(TREE) :] + name.rsplit(".", 1)[-1])
                if spec is not None:
                    return spec
        return None

    def _spec(self, name, stem):
        is_package = f"{stem}/__init__.py" in self.sources
        is_bare = not os.path.isdir(TREE + stem) and any(s.startswith(f"{stem}/") for s in self.sources)
        if not is_package and not is_bare and f"{stem}.py" not in self.sources:
            return None
        spec = importlib.machinery.ModuleSpec(name, self, is_package=is_package or is_bare)
        if is_package or is_bare:
            spec.submodule_search_locations.append(TREE + stem)
        return spec

    def create_module(self, spec):
        return _Module(spec.name)

    def exec_module(self, module):
        name = module.__name__
        places = [p for p in sys.path if os.path.normpath(os.path.join("/copy", p) + "/").startswith(TREE.rstrip("/"))]
        places = [os.path.normpath(os.path.join("/copy", p)) for p in places]
        loaded = []

        def far():
            if not loaded:
                loaded.extend(self.peer.ask("import", name, places + ["/copy/src"]))
            return loaded[0]

        module.__dict__["__far__"] = far
        module.__dict__["__note__"] = lambda: self.peer.note
        far()  # an artifact that cannot be imported fails here, as it would beside the tests
        module.__all__ = [name for name in loaded[1] if not name.startswith("__")]


def serve_call(function, arguments, named):
    return function(*arguments, **named)


def serve_getattr(value, name):
    if name.startswith("_"):
        raise AttributeError(name)  # a callback's globals would lead to the expected values
    return getattr(value, name)


def serve_operate(name, arguments):
    allowed = {"getitem": lambda it, key: it[key], "len": len}
    return allowed[name](*arguments)


SERVE = {"call": serve_call, "getattr": serve_getattr, "operate": serve_operate, "list": list}


def main():
    asked = json.load(sys.stdin)
    record = records.Recorder().write
    questions = os.open("/agentos-io/questions", os.O_WRONLY)
    answers = os.open("/agentos-io/answers", os.O_RDONLY)
    peer = wire.Peer(answers, questions, SERVE, None, _Describe())
    peer.far = {}
    peer.make_far = lambda ref, about: _make_far(peer, ref, about)
    peer.deadline = time.monotonic() + asked["wall_s"]
    sys.path[0] = "/copy"
    os.chdir("/copy")
    sys.meta_path.insert(0, Finder(peer, asked["sources"]))
    collecting = peer.note

    def each(test):
        note = peer.note = wire.Note()

        def extra():
            is_opaque = note.is_opaque or collecting.is_opaque
            return {
                "crossings": note.crossings,
                "is_loose": note.is_loose,
                "is_far": note.is_far,
                "is_opaque": is_opaque,
            }

        return extra

    status = runners.run(asked["runner"], asked["arguments"], record, each)
    record({"end": status, "is_lost": peer.is_lost})
    os._exit(0)


if __name__ == "__main__":
    main()
