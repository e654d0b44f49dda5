"""Test files, spoiled: copies in which every assertion we understand must fail. One that passes is blind, or fooled.

Two ways, since each sees what the other cannot:

    instrument   each assertion is turned round and counted while the test runs on. Sees: a patched runner, objects that
                 equal everything, forged outcomes. The file looks different, so code that reads it may behave
    alter        expected literals are replaced in the text, nothing else. Sees: code that reads the expected value from
                 the test's source while it runs, and returns whatever stands there

and one reading that changes nothing:

    closed       tests that touch nothing but arguments and results, for which a run apart from the artifact must agree

Rule 1: only what is understood is spoiled. A test without an assertion of a known shape is `unprobed`, and said so.
Rule 2: an honest artifact fails every spoiled assertion: a spoiled value differs from the true one in type and place.
"""

import ast
import random
import re
from collections.abc import Iterator
from typing import NamedTuple

SOURCE_BYTES_MAX = 2 << 20  # larger test files are generated, and not worth the parser's memory

_EQUAL = frozenset(
    f"assert{kind}"
    for kind in (
        "Equal", "Equals", "ListEqual", "TupleEqual", "DictEqual", "SetEqual", "SequenceEqual", "MultiLineEqual",
        "CountEqual",
    )
)  # fmt: skip
_OPPOSITES = (
    ("assertTrue", "assertFalse"),
    ("assertIn", "assertNotIn"),
    ("assertIs", "assertIsNot"),
    ("assertIsNone", "assertIsNotNone"),
    ("assertIsInstance", "assertNotIsInstance"),
    ("assertAlmostEqual", "assertNotAlmostEqual"),
    ("assertGreater", "assertLessEqual"),
    ("assertLess", "assertGreaterEqual"),
    ("assertRegex", "assertNotRegex"),
)
_SWAPPED = dict(_OPPOSITES) | {b: a for a, b in _OPPOSITES} | {"assertNotEqual": "assertEqual"}
_RAISES = frozenset(("raises", "assertRaises", "assertRaisesRegex", "warns", "assertWarns"))
_PROBE = "__probe__"

# A test that names one of these touches the world it shares with the artifact, and may fail apart without any fault.
_SHARED_WORLD = frozenset(
    (
        "environ", "getenv", "putenv", "chdir", "getcwd", "seed", "patch", "monkeypatch", "mock", "Mock", "MagicMock",
        "mocker", "setattr", "stdout", "stderr", "stdin", "redirect_stdout", "redirect_stderr", "capsys", "capfd",
        "caplog", "recwarn", "warns", "warnings", "logging", "assertLogs", "assertWarns", "subprocess", "Popen",
        "tempfile", "tmp_path", "tmpdir", "tmp_path_factory", "threading", "Thread", "asyncio", "multiprocessing",
        "signal", "socket", "sys", "gc", "weakref", "inspect", "id", "time", "now", "today", "locale", "contextvars",
        "isinstance", "assertIsInstance", "hasattr", "getattr", "vars", "callable", "runpy", "importlib", "reload", "exec", "eval", "pickle", "copy", "deepcopy", "open", "write_text", "mkdir",
    )
)  # fmt: skip


# A string that may name a file: what stands there is not the same for both sides.
_FILE_NAME = re.compile(r"[\w./-]*(/[\w.-]+|\w\.(json|txt|csv|ya?ml|toml|ini|xml|html|md|dat|bin|db|log))")


class Instrumented(NamedTuple):
    """A spoiled copy, and the tests in it that have an assertion which is always reached."""

    source: str
    certain: frozenset[str]  # "test_add", "TestCalc.test_add"


class Altered(NamedTuple):
    """A copy with other literals, and the tests that must therefore fail."""

    source: str
    certain: frozenset[str]


def parse(source: bytes) -> ast.Module | None:
    """The syntax tree of a file of the base; None where this Python cannot read it."""
    if len(source) > SOURCE_BYTES_MAX:
        return None
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def tests_in(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Each test function with its name inside the file, by the conventions of pytest and unittest."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and is_test_name(node.name):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef) and is_test_name(inner.name):
                    yield f"{node.name}.{inner.name}", inner


def is_test_name(name: str) -> bool:
    return name.startswith("test") or name == "runTest"


# Turned round and counted.


def instrument(source: bytes) -> Instrumented | None:
    """The file with every known assertion spoiled; None if there is none, or the file cannot be read."""
    tree = parse(source)
    if tree is None:
        return None
    turner = _Turner()
    certain = {name for name, node in tests_in(tree) if any(map(_is_assertion, _always(node.body)))}
    turner.visit(tree)
    if not turner.count:
        return None
    for _, node in tests_in(tree):
        settle = _statement(f"{_PROBE}.settle()")
        node.body = [ast.Try(body=node.body, handlers=[], orelse=[], finalbody=[settle])]
    tree.body.insert(_after_head(tree), _statement(f"from check_inside import probe as {_PROBE}"))
    return Instrumented(ast.unparse(ast.fix_missing_locations(tree)), frozenset(certain))


def poison(source: bytes) -> Instrumented | None:
    """A script that checks with `assert`, with every assertion negated: run, it must end badly. None if it has none."""
    tree = parse(source)
    if tree is None or not any(isinstance(node, ast.Assert) for node in ast.walk(tree)):
        return None
    is_certain = any(isinstance(node, ast.Assert) for node in _always(tree.body))
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            node.test = ast.UnaryOp(ast.Not(), node.test)
    return Instrumented(ast.unparse(ast.fix_missing_locations(tree)), frozenset(("",) if is_certain else ()))


class _Turner(ast.NodeTransformer):
    """Replaces each assertion by one that an honest artifact fails, inside a statement that counts which way it went."""

    def __init__(self) -> None:
        self.count = 0

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        return self._counted(ast.Assert(test=_spoiled(node.test), msg=None))

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        turned = _turned_call(node.value)
        return self._counted(ast.Expr(value=turned)) if turned else self.generic_visit(node)

    def visit_With(self, node: ast.With) -> ast.AST:
        call = node.items[0].context_expr
        if len(node.items) == 1 and isinstance(call, ast.Call) and _name(call.func) in _RAISES and call.args:
            turned = _expecting_other(call)
            return self._counted(ast.With(items=[ast.withitem(turned, node.items[0].optional_vars)], body=node.body))
        return self.generic_visit(node)

    def _counted(self, statement: ast.stmt) -> ast.AST:
        self.count += 1
        failed = ast.ExceptHandler(type=ast.Name("BaseException", ast.Load()), name=None, body=[_call("failed")])
        return ast.Try(body=[statement], handlers=[failed], orelse=[_call("blind")], finalbody=[])


def _spoiled(test: ast.expr) -> ast.expr:
    """A condition that is false for an honest artifact whenever `test` is true."""
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq):
        return _probe_call("eq", [test.left, test.comparators[0]])
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        return ast.BoolOp(ast.And(), [_spoiled(value) for value in test.values])
    return ast.UnaryOp(ast.Not(), test)


def _turned_call(call: ast.expr) -> ast.Call | None:
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
        return None
    name = call.func.attr
    if name in _EQUAL and len(call.args) >= 2 and not any(isinstance(a, ast.Starred) for a in call.args[:2]):
        pair = ast.Starred(_probe_call("pair", call.args[:2]), ast.Load())
        return ast.Call(call.func, [pair, *call.args[2:]], call.keywords)
    if name in _SWAPPED:
        return ast.Call(ast.Attribute(call.func.value, _SWAPPED[name], ast.Load()), call.args, call.keywords)
    if name in _RAISES and len(call.args) >= 2 and name != "assertRaisesRegex":
        return _expecting_other(call)
    return None


def _expecting_other(call: ast.Call) -> ast.Call:
    other = ast.Attribute(ast.Name(_PROBE, ast.Load()), "Other", ast.Load())
    return ast.Call(call.func, [other, *call.args[1:]], call.keywords)


def _is_assertion(node: ast.stmt) -> bool:
    if isinstance(node, ast.With):
        call = node.items[0].context_expr
        return isinstance(call, ast.Call) and _name(call.func) in _RAISES
    return isinstance(node, ast.Assert) or (isinstance(node, ast.Expr) and _turned_call(node.value) is not None)


def _always(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that every run through `body` reaches: not those in branches and loops, nor behind a return."""
    for node in body:
        yield node
        if isinstance(node, ast.With):
            yield from _always(node.body)
        if isinstance(node, ast.Return | ast.Raise) or any(isinstance(n, ast.Return) for n in ast.walk(node)):
            return


# Other literals in the same text.


def alter(source: bytes, chance: random.Random) -> Altered | None:
    """The file with expected literals replaced, and nothing else touched; None if there are none."""
    tree = parse(source)
    if tree is None:
        return None
    constants = _Constants(tree)
    certain = {name for name, node in tests_in(tree) if constants.gather(node)}
    if not constants.found:
        return None
    return Altered(_replaced(source, constants.found, chance), frozenset(certain))


class _Constants:
    """Finds the literals that stand for expected values: in the comparison, or in the table that feeds it."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self.found: dict[tuple[int, int], ast.Constant] = {}
        self.tables = {
            node.targets[0].id: node.value
            for node in tree.body
            if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)
        }

    def gather(self, test: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
        """Note this test's expected literals; whether one of them is always compared."""
        always = set(map(id, _always(test.body)))
        is_certain = False
        for node in ast.walk(test):
            sides = _equal_sides(node)
            if sides is None:
                continue
            if any(self._note(side) for side in sides):
                is_certain |= id(node) in always
            else:
                names = [side.id for side in sides if isinstance(side, ast.Name)]
                found = [self._from_tables(test, name) or self._from_variable(test, name) for name in names]
                is_certain |= any(found) and id(node) in always
        return is_certain

    def _note(self, value: ast.expr) -> bool:
        """Note one constant inside a literal; False if this is no literal."""
        if isinstance(value, ast.Call) and _name(value.func) == "approx" and value.args:
            value = value.args[0]
        try:
            ast.literal_eval(value)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return False
        for node in ast.walk(value):
            is_key = isinstance(value, ast.Dict) and node in value.keys
            if isinstance(node, ast.Constant) and type(node.value) in (int, float, str, bytes, bool) and not is_key:
                self.found[(node.lineno, node.col_offset)] = node
                return True
        return False

    def _from_tables(self, test: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> bool:
        """Note the literals a parametrised name stands for; True if that is every one of them."""
        for decorator in test.decorator_list:
            if isinstance(decorator, ast.Call) and _name(decorator.func) == "parametrize" and len(decorator.args) >= 2:
                names = _parameter_names(decorator.args[0])
                if name in names:
                    return self._column(decorator.args[1], names.index(name), len(names))
        return False

    def _from_variable(self, test: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> bool:
        """Note the literal a variable was given once, if it serves for nothing but being compared with."""
        scopes = [test, self.tree] if name in self.tables else [test]
        given = [n for n in ast.walk(test) if isinstance(n, ast.Assign) and _is_target(n, name)]
        value = given[0].value if len(given) == 1 else self.tables.get(name) if not given else None
        if value is None:
            return False
        compared = {id(side) for node in ast.walk(scopes[-1]) for side in _equal_sides(node) or ()}
        uses = [n for n in ast.walk(scopes[-1]) if isinstance(n, ast.Name) and n.id == name]
        is_expected_only = all(id(n) in compared for n in uses if isinstance(n.ctx, ast.Load))
        is_given_once = sum(isinstance(n.ctx, ast.Store) for n in uses) == 1
        return is_expected_only and is_given_once and self._note(value)

    def _column(self, table: ast.expr, at: int, width: int) -> bool:
        table = self.tables.get(table.id, table) if isinstance(table, ast.Name) else table
        if not isinstance(table, ast.List | ast.Tuple) or not table.elts:
            return False
        done = []
        for row in table.elts:
            cells = _cells(row, width)
            done.append(len(cells) == width and self._note(cells[at]))
        return all(done)


def _is_target(node: ast.Assign, name: str) -> bool:
    return len(node.targets) == 1 and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name


def _cells(row: ast.expr, width: int) -> list[ast.expr]:
    if isinstance(row, ast.Call):  # pytest.param(...)
        return row.args
    if width > 1:
        return row.elts if isinstance(row, ast.List | ast.Tuple) else []
    return [row]


def _equal_sides(node: ast.AST) -> tuple[ast.expr, ast.expr] | None:
    if isinstance(node, ast.Assert) and isinstance(node.test, ast.Compare) and len(node.test.ops) == 1:
        return (node.test.comparators[0], node.test.left) if isinstance(node.test.ops[0], ast.Eq) else None
    call = node.value if isinstance(node, ast.Expr) else None
    if isinstance(call, ast.Call) and _name(call.func) in _EQUAL and len(call.args) >= 2:
        return call.args[1], call.args[0]
    return None


def _parameter_names(node: ast.expr) -> list[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [name.strip() for name in node.value.split(",")]
    if isinstance(node, ast.List | ast.Tuple):
        return [str(item.value) for item in node.elts if isinstance(item, ast.Constant)]
    return []


def _replaced(source: bytes, found: dict[tuple[int, int], ast.Constant], chance: random.Random) -> str:
    lines = source.split(b"\n")
    for (_, start), node in sorted(found.items(), reverse=True):
        assert node.end_lineno is not None and node.end_col_offset is not None, "parsed from source"
        first, last = node.lineno - 1, node.end_lineno - 1
        tail = lines[last][node.end_col_offset :]
        lines[first : last + 1] = [lines[first][:start] + repr(_other(node.value, chance)).encode() + tail]
    return b"\n".join(lines).decode(errors="surrogateescape")


def _other(value: object, chance: random.Random) -> object:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + chance.randrange(1, 90) + abs(value)  # a large float swallows a small number
    mark = "".join(chance.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(5))
    return value + mark.encode() if isinstance(value, bytes) else f"{value}{mark}"


# Tests that touch nothing but arguments and results.


def closed(source: bytes) -> frozenset[str]:
    """Tests whose outcome may depend on plain values alone, as far as their source says."""
    tree = parse(source)
    if tree is None:
        return frozenset()
    fixtures = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}
    shared = [n for n in tree.body if not isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
    if any(_touches_world(node) for node in shared if not isinstance(node, ast.Import | ast.ImportFrom)):
        return frozenset()
    classes = {id(f): node for node in tree.body if isinstance(node, ast.ClassDef) for f in node.body}
    return frozenset(name for name, test in tests_in(tree) if _is_closed(test, fixtures, classes.get(id(test))))


def _is_closed(
    test: ast.FunctionDef | ast.AsyncFunctionDef,
    fixtures: dict[str, ast.FunctionDef | ast.AsyncFunctionDef],
    owner: ast.ClassDef | None,
) -> bool:
    if isinstance(test, ast.AsyncFunctionDef) or _touches_world(test) or _names_file(test):
        return False
    if owner is not None and any(
        _touches_world(node)
        for node in owner.body
        if not (isinstance(node, ast.FunctionDef) and is_test_name(node.name))
    ):
        return False
    given = {
        name for d in test.decorator_list if isinstance(d, ast.Call) and d.args for name in _parameter_names(d.args[0])
    }
    for argument in test.args.args:
        if argument.arg in given or argument.arg == "self":
            continue
        if argument.arg not in fixtures or not _is_closed(fixtures[argument.arg], fixtures, None):
            return False
    called = {_name(n.func) for n in ast.walk(test) if isinstance(n, ast.Call)} & set(fixtures)
    return not any(_touches_world(fixtures[name]) for name in called)


def _touches_world(tree: ast.AST) -> bool:
    for node in ast.walk(tree):
        name = _name(node) if isinstance(node, ast.Name | ast.Attribute) else ""
        if name in _SHARED_WORLD or (isinstance(node, ast.arg) and node.arg in _SHARED_WORLD):
            return True
        if isinstance(node, ast.Global | ast.Nonlocal | ast.Await | ast.Yield):
            return True
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store | ast.Del)
            and _name(node.value) != "self"
        ):
            return True
        if isinstance(node, ast.Compare) and any(
            _is_identity(op, right) for op, right in zip(node.ops, node.comparators, strict=True)
        ):
            return True
        if isinstance(node, ast.Call) and _name(node.func) in ("assertIs", "assertIsNot", "type", "issubclass"):
            return True
    return False


def _names_file(tree: ast.AST) -> bool:
    strings = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return any(_FILE_NAME.fullmatch(text) for text in strings)


def _is_identity(operator: ast.cmpop, right: ast.expr) -> bool:
    return isinstance(operator, ast.Is | ast.IsNot) and not isinstance(right, ast.Constant)


# Small verbs over syntax trees.


def _name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _probe_call(name: str, arguments: list[ast.expr]) -> ast.Call:
    return ast.Call(ast.Attribute(ast.Name(_PROBE, ast.Load()), name, ast.Load()), arguments, [])


def _call(name: str) -> ast.stmt:
    return ast.Expr(_probe_call(name, []))


def _statement(text: str) -> ast.stmt:
    return ast.parse(text).body[0]


def _after_head(tree: ast.Module) -> int:
    """Where the first ordinary statement may stand: behind the docstring and the future imports."""
    at = 0
    for at, node in enumerate(tree.body):
        is_docstring = at == 0 and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if not is_docstring and not (isinstance(node, ast.ImportFrom) and node.module == "__future__"):
            return at
    return at
