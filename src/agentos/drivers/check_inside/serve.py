"""The artifact alone: imports its modules when asked and does to its objects what it is told. It judges nothing.

There is no test, no expected value and no runner in this sandbox. Whatever the artifact does to this process, it can
only change the answers it gives, and those are compared where it is not.
"""

# mypy: ignore-errors
# Untyped on purpose: it runs under Pythons of other ages, beside code of any shape, and mostly stands in for objects
# whose type it does not know.

import builtins
import importlib
import operator
import os
import sys
import types

sys.path.insert(0, "/agentos")
from check_inside import wire


class _Far(wire.Far):
    """Something of the tests': a callback, or an object it handed in. Calls and public attributes, nothing else."""

    def __init__(self, peer, ref):
        self.__dict__.update(peer=peer, ref=ref)

    def __call__(self, *arguments, **named):
        return self.peer.ask("call", self, list(arguments), named)

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return self.peer.ask("getattr", self, name)

    def __getitem__(self, key):
        return self.peer.ask("operate", "getitem", [self, key])

    def __len__(self):
        return self.peer.ask("operate", "len", [self])

    def __iter__(self):
        return iter(self.peer.ask("list", self))


class _Describe:
    def mirrored(self, value):
        return None

    def about(self, peer, value):
        kind = "object"
        if isinstance(value, type):
            kind = "exception" if issubclass(value, BaseException) else "class"
        elif callable(value) and hasattr(value, "__name__"):
            kind = "function"
        elif isinstance(value, types.ModuleType):
            kind = "module"
        found = {
            "kind": kind,
            "name": str(getattr(value, "__qualname__", "")),
            "module": str(getattr(value, "__module__", "")),
        }
        found["doc"] = str(getattr(value, "__doc__", "") or "")
        if kind == "exception":
            found["bases"] = [self.base(peer, base) for base in value.__bases__]
        return found

    def base(self, peer, kind):
        return kind.__name__ if kind.__module__ == "builtins" else peer.encode_reference(kind)

    def raised(self, peer, sent):
        """An exception of a callback: its built-in base, with its text."""
        kind = getattr(builtins, str(sent.get("base")), Exception)
        return kind(*peer.decode(sent["args"])) if kind is not BaseException else Exception(sent.get("text", ""))


def load(name, places):
    for place in reversed(places):
        if place in sys.path:
            sys.path.remove(place)
        sys.path.insert(0, place)
    module = importlib.import_module(name)
    names = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
    return [module, [str(name) for name in names]]


def call(function, arguments, named):
    return function(*arguments, **named)


_OPERATIONS = {name: getattr(operator, name) for name in dir(operator) if not name.startswith("_")}
_OPERATIONS.update(
    {
        name: getattr(builtins, name)
        for name in ("len", "iter", "next", "bool", "int", "float", "str", "repr", "abs", "round")
    },
    complex=complex,
    hash=hash,
    reversed=reversed,
    divmod=divmod,
    format=format,
    enter=lambda it: type(it).__enter__(it),
    exit=lambda it, *what: type(it).__exit__(it, *what),
    isinstance=isinstance,
    issubclass=issubclass,
    dir=dir,
)


def operate(name, arguments):
    return _OPERATIONS[name](*arguments)


SERVE = {"import": load, "getattr": getattr, "setattr": setattr, "delattr": delattr, "call": call, "operate": operate}


def main():
    os.chdir("/copy")
    sys.path[0:1] = ["/copy"]
    asked = os.open("/agentos-io/questions", os.O_RDONLY)
    answers = os.open("/agentos-io/answers", os.O_WRONLY)
    known = {}  # one object per reference, so that `is` and `in` mean what they mean beside the tests
    peer = wire.Peer(asked, answers, SERVE, lambda ref, about: known.setdefault(ref, _Far(peer, ref)), _Describe())
    peer.listen()
    os._exit(0)


if __name__ == "__main__":
    main()
