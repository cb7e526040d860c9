"""Give an imported module the code of another version of it, also where others have imported from it."""

from __future__ import annotations

import ast
import re
import sys
from types import FunctionType, ModuleType
from typing import Any

_DATA = (int, float, str, bytes, tuple, frozenset, re.Pattern, dict)


def swap(module: ModuleType, tree: ast.Module) -> None:
    """Let the functions, classes and constants of a module be those of a changed tree of its source.

    Functions and classes stay the same objects, since others hold them; a constant is replaced by its name in every
    module that holds it.
    """
    fresh = ModuleType(module.__name__)
    fresh.__dict__.update(__package__=module.__package__, __file__=module.__file__)
    exec(compile(ast.fix_missing_locations(tree), str(module.__file__), "exec"), vars(fresh))
    for name, new in vars(fresh).items():
        old = vars(module).get(name)
        if getattr(new, "__module__", None) == module.__name__ and isinstance(new, type):
            _swap_class(old, new, module)
        elif getattr(new, "__module__", None) == module.__name__ and callable(new):
            _swap_function(old, new)
        elif isinstance(new, _DATA) and not name.startswith("__"):
            _rebind(name, old, _with_old(new, module))


def _swap_function(old: Any, new: Any) -> None:
    if hasattr(old, "cache_clear"):
        old.cache_clear()
        old, new = old.__wrapped__, new.__wrapped__
    old.__code__, old.__defaults__, old.__kwdefaults__ = new.__code__, new.__defaults__, new.__kwdefaults__


def _swap_class(old: Any, new: Any, module: ModuleType) -> None:
    for name, value in vars(new).items():
        known = vars(old).get(name)
        if isinstance(value, FunctionType):
            setattr(old, name, _method(known, value))
        elif isinstance(value, (staticmethod, classmethod)):
            setattr(old, name, type(value)(_method(known.__func__, value.__func__)))
        elif isinstance(value, property):
            setattr(old, name, property(_method(known.fget, value.fget), _method(known.fset, value.fset)))
        elif isinstance(value, _DATA) and not name.startswith("__"):
            setattr(old, name, _with_old(value, module))


def _method(old: Any, new: Any) -> Any:
    """Return a function with the code of the new one, and with the globals and the class of the old one."""
    if new is None or old is None:
        return new
    closure = old.__closure__ if new.__code__.co_freevars else None
    made = FunctionType(new.__code__, old.__globals__, new.__name__, new.__defaults__, closure)
    made.__kwdefaults__ = new.__kwdefaults__
    return made


def _with_old(value: Any, module: ModuleType) -> Any:
    """Return a constant in which the module's own functions and classes are those that others know."""
    if isinstance(value, dict):
        return {key: _with_old(item, module) for key, item in value.items()}
    return getattr(module, value.__name__) if getattr(value, "__module__", "") == module.__name__ else value


def _rebind(name: str, old: Any, new: Any) -> None:
    if type(old) is type(new) and repr(old) == repr(new):
        return
    for holder in list(sys.modules.values()):
        if getattr(holder, "__dict__", {}).get(name) is old:
            setattr(holder, name, new)
