"""Compiled code remembers where an attribute lay (``gateway/compiled.h``), and yet sees what Python sees."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

ROOT = Path(__file__).parents[2]
MODULE = """
def read(thing):
    return thing.name

def call(thing, *args):
    if not args:
        return thing.name()
    return thing.name(args[0])

def write(thing, value):
    thing.name = value

def copied(thing):
    return thing.copy()

def copied_with(thing, what):
    return thing.copy(what)

def counted(thing, what):
    return thing.count(what)

def counted_alone(thing):
    return thing.count()

def got(thing, what):
    return thing.get(what)

def got_else(thing, what, other):
    return thing.get(what, other)

def got_alone(thing):
    return thing.get()
"""
PROJECT = """
[project]
name = "places"
version = "1"
[tool.setuptools]
packages = []
[tool.spendgate]
compiled = ["places"]
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    if shutil.which("cc") is None or importlib.util.find_spec("Cython") is None:
        pytest.skip("no C compiler, or no Cython")
    folder = tmp_path_factory.mktemp("places")
    (folder / "places.py").write_text(MODULE)
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "gateway").mkdir()
    shutil.copy(ROOT / "setup.py", folder)
    shutil.copy(ROOT / "gateway" / "compiled.h", folder / "gateway")
    command = [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", "made"]
    subprocess.run(
        command, cwd=folder, env={**os.environ, "SPENDGATE_COMPILE": "1"}, check=True, capture_output=True, timeout=120
    )
    source = (folder / "build" / "cython" / "places.c").read_text()
    assert "SITE_READ(" in source
    assert "SITE_CALL(" in source
    assert "SITE_WRITE(" in source
    (made,) = (folder / "made").glob("places*")
    spec = importlib.util.spec_from_file_location("places", made)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Slot:
    __slots__ = ("name",)

    def __init__(self, value: Any) -> None:
        self.name = value


class Open:
    """Its instances have a dict."""

    name: Any = "of the class"


class Method:
    __slots__ = ()

    def name(self, *more: Any) -> Any:
        return ("method", *more)


class Property:
    __slots__ = ("hidden",)

    def __init__(self, value: Any) -> None:
        self.hidden = value

    @property
    def name(self) -> Any:
        if self.hidden is None:
            raise KeyError("no value")
        return self.hidden


class Static:
    __slots__ = ()

    @staticmethod
    def name(*more: Any) -> Any:
        return ("static", *more)


class OfClass:
    __slots__ = ()

    @classmethod
    def name(cls, *more: Any) -> Any:
        return (cls.__name__, *more)


class Value:
    __slots__ = ()
    name: Any = "a value"


class Hooked:
    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        return told


class Nothing:
    __slots__ = ("name",)


def with_own(value: Any) -> Open:
    one = Open()
    one.name = value
    return one


def told(*more: Any) -> Any:
    return ("told", *more)


def changes() -> Iterator[Any]:
    """Things to look at, one after the other; classes change between."""
    things = [Slot(1), Slot("two"), Slot(told), Method(), Static(), OfClass(), Value(), Property(3), Property(None),
              Hooked(), Nothing(), Open(), with_own("own"), with_own(told)]  # fmt: skip
    for thing in things:
        yield from (thing, thing, thing)
    one, two, three = Value(), Method(), Open()
    yield from (one, one)
    Value.name = told
    yield from (one, one)
    Value.name = property(lambda self: told)
    yield from (one, one)
    yield from (two, two)
    Method.name = lambda self, *more: ("another", *more)  # type: ignore[method-assign, assignment]
    yield from (two, two)
    yield from (three, three)
    three.name = told
    yield three
    Open.name = property(lambda self: told)
    yield from (three, three)
    del Method.name
    yield two


def seen(look: Callable[..., Any], *args: Any) -> Any:
    """What it answers, or the exception."""
    try:
        return look(*args)
    except Exception as error:  # noqa: BLE001 - which one it is is what is compared
        return type(error), str(error)


def test_each_place_sees_what_python_sees(compiled: ModuleType) -> None:
    plain: dict[str, Any] = {}
    exec(MODULE, plain)
    for one in changes():
        for name, args in (("read", ()), ("call", ()), ("call", (7,))):
            assert seen(getattr(compiled, name), one, *args) == seen(plain[name], one, *args), (type(one), name, args)


class Settable(Property):
    __slots__ = ()

    @Property.name.setter
    def name(self, value: Any) -> None:
        self.hidden = (value,)


class Guarded:
    __slots__ = ("name",)

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, [value])


class Struct(msgspec.Struct):
    name: Any = 0


class Frozen(msgspec.Struct, frozen=True):
    name: Any = 0


def test_each_place_sets_what_python_sets(compiled: ModuleType) -> None:
    plain: dict[str, Any] = {}
    exec(MODULE, plain)
    makers: list[Callable[[], Any]] = [
        lambda: Slot(1), Nothing, Open, Method, Value, lambda: Property(1), lambda: Settable(1), Guarded, Struct,
        Frozen, lambda: 7, dict,
    ]  # fmt: skip
    for make in (*makers, *makers):
        for value in (1, [1], told, None):
            one, other = make(), make()
            for _ in range(3):
                assert seen(compiled.write, one, value) == seen(plain["write"], other, value), (make, value)
            assert seen(plain["read"], one) == seen(plain["read"], other), (make, value)
    late: Any = type("Late", (), {"__slots__": ("name",)})
    slot = late()
    compiled.write(slot, 2)
    late.name = property(lambda self: 3)
    with pytest.raises(AttributeError):
        compiled.write(slot, 4)


class Dict(dict[Any, Any]):
    def get(self, key: Any, *more: Any) -> Any:
        return ("own", key, *more)


def test_methods_that_are_written_in_c_are_called_as_python_calls_them(compiled: ModuleType) -> None:
    plain: dict[str, Any] = {}
    exec(MODULE, plain)
    things: list[Any] = [{1: 2}, [1, 1], (1,), {1}, "1", b"1", deque([1]), Dict({1: 2}), range(3), 7, array("i", [1])]
    looks: list[tuple[str, tuple[Any, ...]]] = [
        ("copied", ()), ("copied_with", (1,)), ("counted", (1,)), ("counted", ("1",)), ("counted_alone", ()),
        ("got", (1,)), ("got", ([],)), ("got_else", (3, "none")), ("got_else", (1, "none")), ("got_alone", ()),
    ]  # fmt: skip
    for thing in (*things, *things):
        for name, args in looks:
            for _ in range(3):
                assert seen(getattr(compiled, name), thing, *args) == seen(plain[name], thing, *args), (thing, name)


def test_a_place_that_sees_many_types_still_answers(compiled: ModuleType) -> None:
    for number in range(300):
        made = type(f"One{number}", (), {"__slots__": (), "name": lambda self, number=number: number})
        assert compiled.call(made()) == number
        assert compiled.read(made())() == number


def test_nothing_is_kept_or_lost(compiled: ModuleType) -> None:
    value = object()
    slot, prop = Slot(value), Property(value)
    before = sys.getrefcount(value)
    for _ in range(1000):
        compiled.read(slot)
        compiled.read(prop)
        compiled.write(slot, value)
    assert sys.getrefcount(value) == before
    compiled.write(slot, None)
    assert sys.getrefcount(value) == before - 1

    def counted(*more: Any) -> None:
        return None

    held = Slot(counted)
    before = sys.getrefcount(counted)
    for _ in range(1000):
        compiled.call(held)
        compiled.call(held, 1)
    assert sys.getrefcount(counted) == before
