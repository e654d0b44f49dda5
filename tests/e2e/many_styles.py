"""A package and its tests in many styles; beside test_checks.py, which has it accepted. The bug: VAT is taken off, not put on."""

FILES = {
    "shop/__init__.py": "from shop.cart import Cart, Item, VatError, total\n__version__ = '1'\n",
    "shop/cart.py": """import os, time
from dataclasses import dataclass, field
from enum import Enum
from decimal import Decimal
history = []
RATES = {"de": 19, "fr": 20}
class Kind(Enum):
    FOOD = "food"; TOY = "toy"
class ShopError(Exception):
    def __init__(self, code, text):
        super().__init__(text); self.code = code
class VatError(ShopError): pass
@dataclass(frozen=True)
class Item:
    name: str
    price: int
    kind: Kind = Kind.FOOD
@dataclass
class Cart:
    items: list = field(default_factory=list)
    def add(self, item):
        self.items.append(item); history.append(item.name); return self
    def __len__(self): return len(self.items)
    def __iter__(self): return iter(self.items)
    def __contains__(self, name): return any(i.name == name for i in self.items)
    @property
    def total(self): return sum(i.price for i in self.items)
    def __enter__(self): return self
    def __exit__(self, *a): self.items.clear()
def total(prices, country="de"):
    if country not in RATES: raise VatError(7, f"no rate for {country}")
    return [p * (100 - RATES[country]) // 100 for p in prices]
def squares(n):
    for i in range(n): yield i * i
def save(path, cart):
    with open(path, "w") as f: f.write(",".join(i.name for i in cart))
def home(): return os.environ.get("SHOP_HOME", "none")
def apply(f, xs): return [f(x) for x in xs]
def now(): return time.time()
def area(r): return 3.14159 * r * r
def greet(): print("hello")
async def later(x): return x + 1
def price(): return Decimal("1.10")
def groups(): return {"a": (1, {2, 3}), 4: [b"x", None, True]}
def nested(xs):
    for x in xs: x.append(0)
def kinds(): return [Kind.FOOD, Kind.TOY]
def make(): return Item("x", 1)
""",
    "tests/conftest.py": "import pytest\nfrom shop import Cart, Item\n@pytest.fixture\ndef cart():\n    return Cart().add(Item('apple', 3)).add(Item('pear', 4))\n",
    "tests/test_rich.py": """import asyncio, io, os
from contextlib import redirect_stdout
from decimal import Decimal
from unittest import mock
import pytest
import shop
from shop import *
from shop import cart as c
from shop.cart import Kind, ShopError, squares
def test_total(): assert total([100, 200]) == [119, 238]
def test_total_country(): assert shop.total([100], country="fr") == [120]
@pytest.mark.parametrize("prices,expected", [pytest.param([1000], [1190], id="big"), ([0], [0])])
def test_param(prices, expected): assert total(prices) == expected
def test_len(cart): assert len(cart) == 2
def test_sum(cart): assert cart.total == 7
def test_contains(cart): assert "pear" in cart and "plum" not in cart
def test_iter(cart): assert [i.name for i in cart] == ["apple", "pear"]
def test_error():
    with pytest.raises(VatError, match="no rate") as e: total([1], "xx")
    assert e.value.code == 7
    assert isinstance(e.value, ShopError)
def test_gen(): assert list(squares(4)) == [0, 1, 4, 9]
def test_gen_next():
    g = squares(2); assert next(g) == 0; assert next(g) == 1
    with pytest.raises(StopIteration): next(g)
def test_tmp(tmp_path, cart):
    c.save(tmp_path / "x", cart); assert (tmp_path / "x").read_text() == "apple,pear"
def test_env(monkeypatch):
    monkeypatch.setenv("SHOP_HOME", "/h"); assert c.home() == "/h"
def test_callback(): assert c.apply(lambda x: x * 2, [1, 2]) == [2, 4]
def test_callback_effect():
    seen = []; c.apply(seen.append, [1, 2]); assert seen == [1, 2]
def test_mock():
    with mock.patch("shop.cart.time.time", return_value=5): assert c.now() == 5
def test_approx(): assert c.area(2) == pytest.approx(12.566, rel=1e-3)
def test_capsys(capsys):
    c.greet(); assert capsys.readouterr().out == "hello\\n"
def test_async(): assert asyncio.run(c.later(1)) == 2
def test_decimal(): assert c.price() == Decimal("1.10")
def test_groups(): assert c.groups() == {"a": (1, {2, 3}), 4: [b"x", None, True]}
def test_nested():
    a = [1]; xs = [a, [2]]; c.nested(xs); assert a == [1, 0]; assert xs == [[1, 0], [2, 0]]
def test_enum(): assert c.kinds() == [Kind.FOOD, Kind.TOY]
def test_enum_value(): assert c.kinds()[1].value == "toy"; assert Kind("food") is Kind.FOOD
def test_dataclass_eq(): assert c.make() == Item("x", 1); assert c.make() != Item("y", 1)
def test_frozen():
    with pytest.raises(Exception): c.make().name = "z"
def test_history():
    c.history.clear(); Cart().add(Item("q", 1)); assert c.history == ["q"]
def test_with():
    with Cart().add(Item("q", 1)) as k: assert len(k) == 1
    assert len(k) == 0
def test_subclass():
    class Big(Cart):
        def add(self, item): return super().add(item).items and self
    assert len(Big().add(Item("a", 1))) == 1
def test_rates():
    shop.cart.RATES["xx"] = 10
    try: assert total([100], "xx") == [110]
    finally: del shop.cart.RATES["xx"]
def test_repr(): assert repr(c.make()) == "Item(name='x', price=1, kind=<Kind.FOOD: 'food'>)"
def test_isinstance(): assert isinstance(c.make(), Item); assert not isinstance(3, Item)
def test_loop():
    for n, want in [(1, [0]), (2, [0, 1])]: assert list(squares(n)) == want
def test_truth(): assert Cart().items == []; assert not Cart(); assert Cart().add(Item("a", 1))
def test_version(): assert shop.__version__ == "1"
def test_type(): assert type(c.make()) is Item
def test_sort_key(): assert sorted([Item("b", 2), Item("a", 9)], key=lambda i: i.name)[0].price == 9
def test_hash(): assert len({Item("a", 1), Item("a", 1)}) == 1
class TestGroup:
    def setup_method(self): self.cart = Cart()
    def test_empty(self): assert self.cart.total == 0
    def test_one(self): self.cart.add(Item("a", 5)); assert self.cart.total == 5
""",
}
MODULE = "shop/cart.py"
FIX = FILES[MODULE].replace("100 - RATES", "100 + RATES")
