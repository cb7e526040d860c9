"""A library that calls one of its private names otherwise, as a later release may."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cached_property
from types import CodeType, FunctionType
from typing import Any

import pytest

_OTHER = "{}_of_a_later_release"


def rename(name: str, patch: pytest.MonkeyPatch, library: str = "openai") -> None:
    """Give a name of a library another one wherever the library has or uses it: a method, an attribute or a global."""
    modules = [module for key, module in list(sys.modules.items()) if _is_of(library, key)]
    # By the true type: the SDK has proxies that import what they answer for.
    classes = {each for module in modules for each in vars(module).values() if issubclass(type(each), type)}
    for owner in [*modules, *(each for each in classes if _is_of(library, each.__module__))]:
        for function in _functions(owner):
            if _is_of(library, function.__module__) and name in _names(function.__code__):
                patch.setattr(function, "__code__", _renamed(function.__code__, name))
        if name in vars(owner):
            patch.setattr(owner, _OTHER.format(name), vars(owner)[name], raising=False)
            patch.delattr(owner, name)


def _is_of(library: str, module: str) -> bool:
    # Not the SDK's models, which are thousands, and hold no code.
    return module.partition(".")[0] == library and not module.startswith("openai.types")


def _functions(owner: Any) -> Iterator[FunctionType]:
    for value in list(vars(owner).values()):
        parts: list[Any] = [value]
        if type(value) in {staticmethod, classmethod}:
            parts = [value.__func__]
        elif type(value) is property:
            parts = [value.fget, value.fset]
        elif type(value) is cached_property:
            parts = [value.func]
        yield from (part for part in parts if type(part) is FunctionType)


def _names(code: CodeType) -> set[str]:
    inner = (_names(each) for each in code.co_consts if isinstance(each, CodeType))
    return set(code.co_names).union(*inner)


def _renamed(code: CodeType, name: str) -> CodeType:
    return code.replace(
        co_names=tuple(_OTHER.format(each) if each == name else each for each in code.co_names),
        co_consts=tuple(_renamed(each, name) if isinstance(each, CodeType) else each for each in code.co_consts),
    )
