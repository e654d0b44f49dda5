"""The promises of the code that imports cannot show: purity, names, sizes, candour.

Rule 1: a rule is a function of one file that yields what is wrong with it; `RULES` says where each one holds.
Rule 2: every rule is shown a sample that breaks it and a sample that keeps it; one that cannot fail is not a rule.
"""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src/agentos"

FILE_LINES_MAX = 900  # beyond this nobody reads a file in one sitting
FUNCTION_LINES_MAX = 70  # one screen; above it there are two ideas
CORE_LINES_MAX = 9_000  # abi, kernel and machine together: a week's reading

# What a pure module may import besides agentos itself and msgspec: shapes and orders, nothing that acts.
PURE_IMPORTS = {
    "__future__",
    "bisect",
    "collections",
    "enum",
    "functools",
    "heapq",
    "itertools",
    "msgspec",
    "operator",
    "typing",
}
# The abi reads text that people wrote; the kernel is given what was read.
ABI_IMPORTS = PURE_IMPORTS | {"re"}
# Builtins that reach the world, or differ from one run of the interpreter to the next.
IMPURE_CALLS = {"__import__", "compile", "eval", "exec", "hash", "id", "input", "open", "print"}
# Consumers whose result does not depend on the order of what they are given.
ORDER_FREE = {"all", "any", "frozenset", "len", "max", "min", "set", "sorted", "sum"}
# Consumers that take the order over into their result.
ORDERED = {"deque", "dict", "enumerate", "iter", "list", "map", "next", "reversed", "tuple", "zip"}

# Each costs more to import than the rest of a command; they are imported inside the function that needs them.
HEAVY = {"aiohttp", "cryptography", "genai_prices", "pydantic", "rich", "xllamacpp", "yaml"}

EMPTY_NAMES = {"engine", "handler", "handlers", "helper", "helpers", "manager", "util", "utils", "wrapper"}

# In pieces, so that this file keeps its own rule.
HOSTS = ["py" + "pi.org", "python" + "hosted.org", "npm" + "js.org", "npm" + "js.com", "static.crates" + ".io"]
INDEX_OPTIONS = ["--index" + "-url", "--extra-index" + "-url", "--find" + "-links", "--registry" + "="]


class File(NamedTuple):
    path: str  # relative to the root
    text: str

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)


# --- purity -----------------------------------------------------------------------------------------------------------


def no_float(file: File) -> Iterator[str]:
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            yield f"{node.lineno}: float literal {node.value}; use an integer and name its unit"
        if isinstance(node, ast.Name) and node.id == "float":
            yield f"{node.lineno}: float; use an integer and name its unit"
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
            yield f"{node.lineno}: true division gives a float; use // and say which way it rounds"


def no_async(file: File) -> Iterator[str]:
    for node in ast.walk(file.tree):
        if isinstance(node, ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith | ast.Await):
            yield f"{node.lineno}: asynchronous; waiting is the machine's business"


def pure_imports(file: File) -> Iterator[str]:
    allowed = ABI_IMPORTS if file.path.startswith("src/agentos/abi/") else PURE_IMPORTS
    for node in ast.walk(file.tree):
        for name in imported(node):
            if name.split(".")[0] not in allowed | {"agentos"}:
                yield f"{node.lineno}: imports {name}; this pure package may import {', '.join(sorted(allowed))}"


def pure_calls(file: File) -> Iterator[str]:
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS:
            yield f"{node.lineno}: {node.func.id}() reads the world or differs from run to run"


def no_set_iteration(file: File) -> Iterator[str]:
    tree = file.tree
    sets = set_names(tree)
    order_free = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and callee(node) in ORDER_FREE
        for inner in node.args
    }
    for node in ast.walk(tree):
        for source in ordered_reads(node, order_free):
            if is_set(source, sets):
                yield f"{source.lineno}: the order of a set differs from run to run; use a dict, or sorted()"


def ordered_reads(node: ast.AST, order_free: set[int]) -> Iterator[ast.expr]:
    """Expressions that `node` reads one after the other, where the order goes on into what is made of them."""
    match node:
        case ast.For() | ast.AsyncFor():
            yield node.iter
        case ast.ListComp() | ast.DictComp() | ast.GeneratorExp():
            if id(node) not in order_free:
                yield from (generator.iter for generator in node.generators)
        case ast.Starred():
            yield node.value
        case ast.Call() if callee(node) in ORDERED | {"join", "extend", "fromkeys"}:
            yield from node.args
        case ast.Call(func=ast.Attribute(attr="pop"), args=[]):
            yield node.func.value


def is_set(node: ast.expr, sets: set[str]) -> bool:
    match node:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Call(func=ast.Name(id="set" | "frozenset")):
            return True
        case ast.Call(func=ast.Attribute(attr="union" | "intersection" | "difference" | "symmetric_difference")):
            return True
        case ast.BinOp(op=ast.BitOr() | ast.BitAnd() | ast.Sub() | ast.BitXor()):
            return is_set(node.left, sets) or is_set(node.right, sets)
        case ast.Name():
            return node.id in sets
        case ast.Attribute():
            return node.attr in sets
    return False


def set_names(tree: ast.Module) -> set[str]:
    """Names that the file annotates as sets, or binds to one."""
    names = set()
    for node in ast.walk(tree):
        match node:
            case ast.AnnAssign() if ast.unparse(node.annotation).startswith(("set", "frozenset", "Set", "AbstractSet")):
                names.add(last(node.target))
            case ast.arg() if node.annotation and ast.unparse(node.annotation).startswith(("set", "frozenset", "Set")):
                names.add(node.arg)
            case ast.Assign() if is_set(node.value, set()):
                names.update(last(target) for target in node.targets)
    return names - {""}


# --- candour ----------------------------------------------------------------------------------------------------------


def states_its_law(file: File) -> Iterator[str]:
    if not file.path.endswith("/__init__.py") and "Rule 1:" not in (ast.get_docstring(file.tree) or ""):
        yield "1: the module's docstring states no law; begin it with what this is, then 'Rule 1: ...'"


def no_swallowing(file: File) -> Iterator[str]:
    for node in ast.walk(file.tree):
        if isinstance(node, ast.ExceptHandler) and is_broad(node.type) and all(map(is_silent, node.body)):
            yield f"{node.lineno}: swallows every exception; catch the one you expect, or let it kill"
        if isinstance(node, ast.Call) and callee(node) == "suppress" and any(map(is_broad, node.args)):
            yield f"{node.lineno}: suppresses every exception; name the one you expect"


def is_broad(node: ast.expr | None) -> bool:
    names = node.elts if isinstance(node, ast.Tuple) else [node]
    return any(name is None or last(name) in {"Exception", "BaseException"} for name in names)


def is_silent(node: ast.stmt) -> bool:
    return isinstance(node, ast.Pass | ast.Continue) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    )


def no_bare_task(file: File) -> Iterator[str]:
    """A task belongs to a group that waits for it; one started on the loop is lost when it fails."""
    for node in ast.walk(file.tree):
        if not isinstance(node, ast.Call) or callee(node) not in {"create_task", "ensure_future"}:
            continue
        owner = node.func.value if isinstance(node.func, ast.Attribute) else None
        owner_name = callee(owner) if isinstance(owner, ast.Call) else last(owner)
        if owner is None or callee(node) == "ensure_future" or owner_name == "asyncio" or owner_name.endswith("loop"):
            yield f"{node.lineno}: a task without a group; start it in an asyncio.TaskGroup"


# --- names and sizes --------------------------------------------------------------------------------------------------


def telling_names(file: File) -> Iterator[str]:
    names = [(1, Path(file.path).stem)]
    names += [(node.lineno, node.name) for node in ast.walk(file.tree) if isinstance(node, DEFINITIONS)]
    for line, name in names:
        words = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}
        if words & EMPTY_NAMES or name == "Context" or re.match(r"do_[a-z]", name):
            yield f"{line}: the name {name} does not say what it is"


DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def short_file(file: File) -> Iterator[str]:
    if (lines := file.text.count("\n")) > FILE_LINES_MAX:
        yield f"{lines}: lines, at most {FILE_LINES_MAX}"


def short_functions(file: File) -> Iterator[str]:
    for node in ast.walk(file.tree):
        if isinstance(node, DEFINITIONS[1:]) and (lines := node.end_lineno - node.lineno + 1) > FUNCTION_LINES_MAX:
            yield f"{node.lineno}: {node.name} has {lines} lines, at most {FUNCTION_LINES_MAX}"


def light_imports(file: File) -> Iterator[str]:
    for node in file.tree.body:
        for name in imported(node):
            if name.split(".")[0] in HEAVY:
                yield f"{node.lineno}: imports {name} when loaded; import it in the function that needs it"


def of_the_product_alone(file: File) -> Iterator[str]:
    # A checkout right under the root has a path such as "/src/", which is a word of any text.
    words = [*HOSTS, *INDEX_OPTIONS, *([f"{ROOT}/"] if len(ROOT.parts) > 2 else [])]
    for number, line in enumerate(file.text.splitlines(), 1):
        for word in words:
            if word in line:
                yield f"{number}: {word!r} is the affair of one machine, not of the product"


# --- small readings of the tree ---------------------------------------------------------------------------------------


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""] if node.level == 0 else []
    return []


def callee(node: ast.Call) -> str:
    return last(node.func)


def last(node: ast.AST | None) -> str:
    """The rightmost name of a dotted expression; "" for anything else."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


# --- the table --------------------------------------------------------------------------------------------------------


class Rule(NamedTuple):
    check: Callable[[File], Iterator[str]]
    where: tuple[str, ...]  # path prefixes it holds for
    broken: tuple[str, ...]  # samples it must object to, each of them
    kept: tuple[str, ...]  # samples it must let pass


KERNEL = ("src/agentos/kernel/",)
PURE = ("src/agentos/abi/", *KERNEL)
CODE = ("src/",)
PYTHON = ("src/", "tests/", "scripts/", "bench/", "examples/")
START = (
    "src/agentos/__init__.py",
    *PURE,
    "src/agentos/ports/",
    "src/agentos/sdk/",
    "src/agentos/views/",
    "src/agentos/ui/__init__.py",
    "src/agentos/ui/cli/__init__.py",
    "src/agentos/ui/cli/main.py",
)
LAWFUL = (*KERNEL, "src/agentos/machine/", "src/agentos/ports/")

RULES = [
    Rule(no_float, PURE, ("a = 0.5", "a = float(b)", "a = b / c", "a /= 2", "a: float"), ("a = b // 2",)),
    Rule(no_async, KERNEL, ("async def a(): pass", "async def a(): await b"), ("def a(): pass",)),
    Rule(
        pure_imports,
        PURE,
        ("import os", "from json import loads", "def a():\n    import time", "import collections, re"),
        ("from collections.abc import Mapping", "import msgspec", "from agentos.abi import ids", "from . import x"),
    ),
    Rule(pure_calls, KERNEL, ("print(1)", "hash('a')", "open('a')", "a = id(b)"), ("id: str", "a.open(b)")),
    Rule(
        no_set_iteration,
        KERNEL,
        (
            "for a in {1, 2}: pass",
            "for a in set(b): pass",
            "a = [b for b in {1, 2}]",
            "a = {b: 1 for b in frozenset(c)}",
            "a = list({1, 2})",
            "a = tuple(set(b) - c)",
            "a: set[int] = b\nfor c in a: pass",
            "def f(a: frozenset[int]): return [*a]",
            "class A:\n    a: set[int]\ndef f(b):\n    for c in b.a: pass",
            "a = set()\nb = a.pop()",
            "a = ','.join({'b'})",
        ),
        (
            "for a in sorted({1, 2}): pass",
            "a = any(b for b in {1, 2})",
            "a = {b for b in {1, 2}}",
            "a = 1 in {1, 2}",
            "for a in {1: 2}: pass",
            "a: dict[int, int] = {}\nfor b in a: pass",
        ),
    ),
    Rule(states_its_law, LAWFUL, ("", '"""A module."""'), ('"""A module.\n\nRule 1: it has one.\n"""',)),
    Rule(
        no_swallowing,
        PYTHON,
        (
            "try: a()\nexcept Exception: pass",
            "try: a()\nexcept: pass",
            "for b in c:\n    try: a()\n    except (ValueError, Exception): continue",
            "try: a()\nexcept BaseException: ...",
            "import contextlib\nwith contextlib.suppress(Exception): a()",
        ),
        ("try: a()\nexcept KeyError: pass", "try: a()\nexcept Exception: raise b", "with suppress(OSError): a()"),
    ),
    Rule(
        no_bare_task,
        CODE,
        (
            "asyncio.create_task(a())",
            "loop.create_task(a())",
            "self._loop.create_task(a())",
            "asyncio.get_running_loop().create_task(a())",
            "create_task(a())",
            "asyncio.ensure_future(a())",
        ),
        ("group.create_task(a())", "self._tasks.create_task(a())"),
    ),
    Rule(
        telling_names,
        CODE,
        (
            "class LeaseManager: pass",
            "def parse_util(): pass",
            "class HTTPWrapper: pass",
            "class Context: pass",
            "def do_thing(): pass",
        ),
        ("class Lease: pass", "def do_GET(self): pass", "class MailContext: pass", "def utility(): pass"),
    ),
    Rule(short_file, CODE, ("a = 1\n" * (FILE_LINES_MAX + 1),), ("a = 1\n" * FILE_LINES_MAX,)),
    Rule(
        short_functions,
        CODE,
        ("def a():\n" + "    b()\n" * FUNCTION_LINES_MAX, "async def a():\n" + "    b()\n" * FUNCTION_LINES_MAX),
        ("def a():\n" + "    b()\n" * (FUNCTION_LINES_MAX - 1),),
    ),
    Rule(
        light_imports, START, ("import rich", "from aiohttp import web"), ("def a():\n    import rich", "import click")
    ),
    Rule(
        of_the_product_alone,
        ("",),
        (f"# see https://{HOSTS[0]}/x", f"pip install {INDEX_OPTIONS[0]} x", f"PATH = '{ROOT}/x'"),
        ("# an index is configured by whoever installs",),
    ),
]
NAMES = [rule.check.__name__ for rule in RULES]


def tracked() -> list[str]:
    """Files under version control, and those that would be at the next commit."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    return sorted(name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file())


def matching(rule: Rule) -> Iterator[File]:
    for name in tracked():
        is_python = name.endswith(".py")
        if name.startswith(rule.where) and (is_python or rule.check is of_the_product_alone):
            text = (ROOT / name).read_bytes().decode("utf-8", "replace")
            yield File(name, text)


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_the_tree_keeps_the_rule(rule: Rule) -> None:
    complaints = [f"{file.path}:{complaint}" for file in matching(rule) for complaint in rule.check(file)]
    assert not complaints, "\n".join(complaints)


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_the_rule_objects_to_each_planted_sample(rule: Rule) -> None:
    for sample in rule.broken:
        assert list(rule.check(File("src/agentos/kernel/sample.py", sample))), sample


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_the_rule_lets_honest_samples_pass(rule: Rule) -> None:
    for sample in rule.kept:
        assert not list(rule.check(File("src/agentos/kernel/sample.py", sample))), sample


def test_a_module_file_with_an_empty_name_is_objected_to() -> None:
    assert list(telling_names(File("src/agentos/machine/utils.py", "")))


# --- the whole rather than a file -------------------------------------------------------------------------------------


def test_the_core_can_be_read_in_a_week() -> None:
    paths = [path for part in ("abi", "kernel", "machine") for path in (SRC / part).rglob("*.py")]
    lines = sum(path.read_text().count("\n") for path in paths)
    assert 0 < lines <= CORE_LINES_MAX


def test_importing_agentos_imports_nothing_else() -> None:
    code = "import sys; before = set(sys.modules); import agentos; print(*sorted(set(sys.modules) - before))"
    command = [sys.executable, "-c", code]
    shown = subprocess.run(command, cwd=ROOT / "src", capture_output=True, text=True, timeout=60, check=True)
    assert shown.stdout.split() == ["agentos"]


def test_pure_packages_load_nothing_but_msgspec() -> None:
    """What the rules above see file by file, seen from outside: no third package comes in by a back door."""
    code = "import sys, agentos.abi.work, agentos.abi.inference, agentos.kernel.work; print(*sorted(sys.modules))"
    command = [sys.executable, "-c", code]
    shown = subprocess.run(command, cwd=ROOT / "src", capture_output=True, text=True, timeout=60, check=True)
    loaded = {name.split(".")[0] for name in shown.stdout.split()}
    assert "msgspec" in loaded
    assert not loaded & (HEAVY | {"aiohttp", "apsw", "asyncio", "click", "sqlite3", "socket"})


LOCKS = {"runtime": (), "build": ("build",), "dev": ("dev", "build"), "local": ("local",)}


def pins(lock: str) -> dict[str, str]:
    text = (ROOT / f"requirements/{lock}.txt").read_text()
    return {canonicalize_name(name): pin for name, pin in re.findall(r"^([\w.-]+)==([\w.]+)", text, re.MULTILINE)}


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_satisfies_what_the_project_declares(lock: str) -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project, groups = settings["project"], settings["dependency-groups"]
    wanted = [] if lock == "build" else list(project["dependencies"])
    for name in LOCKS[lock]:
        wanted += [
            entry
            for entry in groups.get(name, project["optional-dependencies"].get(name, []))
            if isinstance(entry, str)
        ]
    pinned = pins(lock)
    assert wanted
    for requirement in map(Requirement, wanted):
        pin = pinned.get(canonicalize_name(requirement.name))
        assert pin and requirement.specifier.contains(pin), f"{requirement} is locked at {pin}; run 'make lock'"


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_a_hash_and_agrees_with_the_other_locks(lock: str) -> None:
    text = (ROOT / f"requirements/{lock}.txt").read_text()
    entries = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]
    assert entries
    assert all("--hash=sha256:" in entry for entry in entries)
    runtime = pins("runtime")
    assert {name: pin for name, pin in pins(lock).items() if runtime.get(name, pin) != pin} == {}


def test_every_dependency_is_bounded() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for text in settings["project"]["dependencies"]:
        operators = {specifier.operator for specifier in Requirement(text).specifier}
        assert operators == {">=", "<"}, f"{text} needs a lower and an upper bound"
