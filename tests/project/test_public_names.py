"""Public names: documented, typed, and used in a recipe."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import pkgutil
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
import requirements

import tensorloop_stream

PACKAGE = Path(tensorloop_stream.__file__).parent
RECIPES = Path(__file__).parents[2] / "recipes"
OPTIONAL = sorted(each.name for each in pkgutil.iter_modules(tensorloop_stream.__path__) if each.name[0] != "_")
MODULES = ["tensorloop_stream", *(f"tensorloop_stream.{name}" for name in OPTIONAL)]
# The modules that need an extra.
NEEDS = {"tensorloop_stream.prompts_dask": ("dask", "dask"), "tensorloop_stream.resumable": ("redis", "redis")}
NOT_FOR_RECIPES = {
    "AsyncChatStream.reasoning": "Callbacks.on_reasoning has it",
    "AsyncResponseStream.reasoning": "Callbacks.on_reasoning has it",
    "AsyncResponseStream.unusable_tool_calls": "a cut answer runs no call",
    "ResponseAccumulator.reasoning": "Callbacks.on_reasoning has it",
    "ResponseAccumulator.unusable_tool_calls": "a cut answer runs no call",
    "ResponseCallbacks": "Callbacks, with other types",
    "ResponseStream.reasoning": "Callbacks.on_reasoning has it",
    "ResponseStream.unusable_tool_calls": "a cut answer runs no call",
    "StreamError.partial_response": "the text of an error is what recipes show",
    "AsyncResponseStream": "the recipes are synchronous; as AsyncChatStream",
    "AsyncResponseStream.aclose": "the same as close, for contextlib.aclosing",
    "aforward_response": "ForwardApp does it",
    "forward_response": "as forward_chat, which the recipes use",
    "ResponseAccumulator": "a stream has one; for events that come in another way",
    "ResponseAccumulator.add": "a stream does it",
    "ResponseAccumulator.finished": "a stream raises if it is not",
    "AsyncStreamHttpxClient": "for a client that is the SDK's own; AsyncTensorloop has one",
    "StreamHttpxClient": "for a client that is the SDK's own; Tensorloop has one",
    "AsyncChatStream.aclose": "the same as close, for contextlib.aclosing",
    "Disconnect": "made by the replay",
    "Disconnect.events": "for tests of programs that leave early",
    "FollowedChat": "made by ResumableStreams",
    "FollowedChat.aclose": "a with block does it",
    "ChatAccumulator": "a stream has one; for chunks that come in another way",
    "ChatAccumulator.add": "a stream does it",
    "ChatAccumulator.finished": "a stream raises if it is not",
    "ChatAccumulator.reasoning": "Callbacks.on_reasoning has it",
    "LearningLimit.observe": "ask_all calls it",
    "LearningLimit.requests": "shown by waits_for",
    "Limit": "the type of what RollingLimit and SharedLimit are",
    "ReceivedRequest": "made by the replay",
    "ReplayServer.connections": "for tests of connection pools",
    "ReplayServer.requests": "for tests of what a program asks",
    "ReplayServer.served": "what the command prints",
    "ResumableStreams.aclose": "a with block does it",
    "RollingLimit.requests": "shown by waits_for",
    "SSEDecoder.finish": "a stream without [DONE] has not ended, whatever is left of it",
    "ServerSentEvent": "made by SSEDecoder",
    "ServerSentEvent.retry": "for clients that connect again by themselves",
    "StreamTiming": "made by the streams",
    "AsyncChatStream.unusable_tool_calls": "the same as on_unusable_tool_call gets",
    "ChatAccumulator.unusable_tool_calls": "the same as on_unusable_tool_call gets",
    "ChatStream.reasoning": "Callbacks.on_reasoning has it",
    "ChatStream.unusable_tool_calls": "the same as on_unusable_tool_call gets",
    "UnusableToolCall": "made by the streams",
    "UnusableToolCall.tool_call": "printed as a whole",
    "ask": "ask_all is what many prompts need",
}


class Name(NamedTuple):
    """A public name: its path, its docstring, and whether it is typed."""

    path: str
    doc: str | None
    is_typed: bool


def names(module: str) -> list[Name]:
    """Return the public names of a module."""
    return list(spelled(module))


def spelled(module: str) -> Iterator[Name]:
    """Yield the names without an underscore: those of a module, and the members of its classes."""
    if module in NEEDS:
        requirements.module(*NEEDS[module])
    offers = importlib.import_module(module)
    classes = {name: value for name in offers.__all__ if inspect.isclass(value := getattr(offers, name))}
    for name in offers.__all__:
        if name in classes:
            yield Name(name, classes[name].__doc__, is_typed=True)
            yield from members(classes[name], set(classes.values()))
        elif inspect.isfunction(value := getattr(offers, name)):
            yield Name(name, value.__doc__, is_signed(definition(value)))
        else:
            yield Name(name, constant_doc(name), is_typed=True)


def members(kind: type, public: set[type]) -> Iterator[Name]:
    """Yield the public members of a class, without those of the SDK or of another public class."""
    found: dict[str, Name] = {}
    of_others: set[str] = set()
    for base in reversed(kind.__mro__):
        if not base.__module__.startswith("tensorloop_stream"):
            of_others |= inspect.get_annotations(base).keys()
            continue
        if base in public - {kind}:
            continue
        body = definition(base).body
        for node, following in pairwise([*body, ast.Pass()]):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                if node.name == "__init__":
                    for name in assigned(node) - of_others:
                        found.setdefault(name, Name(name, None, is_typed=False))
                else:
                    found[node.name] = Name(node.name, ast.get_docstring(node), is_signed(node))
            elif isinstance(node, ast.AnnAssign):
                name = ast.unparse(node.target)
                found[name] = Name(name, text_of(following), is_typed=True)
    for name, each in found.items():
        if not name.startswith("_"):
            yield each._replace(path=f"{kind.__name__}.{name}")


def assigned(function: ast.AST) -> set[str]:
    """Return the attributes of `self` that a function assigns."""
    attributes = (node for node in ast.walk(function) if isinstance(node, ast.Attribute))
    return {each.attr for each in attributes if isinstance(each.ctx, ast.Store) and ast.unparse(each.value) == "self"}


def definition(value: type | object) -> ast.ClassDef | ast.FunctionDef:
    tree = ast.parse(textwrap.dedent(inspect.getsource(value)))  # type: ignore[arg-type] # a class or a function
    assert isinstance(tree.body[0], ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    return tree.body[0]  # type: ignore[return-value] # an async function looks the same


def is_signed(function: ast.AST) -> bool:
    """Tell whether each parameter and the result has a type."""
    assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
    given = function.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    untyped = {each.arg for each in every if each is not None and each.annotation is None}
    return function.returns is not None and untyped <= {"self", "cls"}


def text_of(node: ast.AST) -> str | None:
    """Return the text of a string that stands alone, which documents the assignment before it."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return node.value.value
    return None


def constant_doc(name: str) -> str | None:
    for path in PACKAGE.rglob("*.py"):
        for node, following in pairwise([*ast.parse(path.read_text("utf-8")).body, ast.Pass()]):
            if isinstance(node, ast.Assign | ast.AnnAssign) and ast.unparse(node).startswith((f"{name} =", f"{name}:")):
                return text_of(following)
    return None


def words(code: str) -> Iterator[str]:
    """Yield the names that a program imports, reads as attributes, or gives as keywords."""
    for node in ast.walk(compile(code, "recipe", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)):
        if isinstance(node, ast.alias):
            yield node.name
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.arg


def recipe_words() -> set[str]:
    codes = [path.read_text("utf-8") for path in RECIPES.glob("*.py")]
    for path in RECIPES.glob("*.ipynb"):
        cells = json.loads(path.read_text("utf-8"))["cells"]
        codes += ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return {word for code in codes if "tensorloop_stream" in code for word in words(code)}


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_documented(module: str) -> None:
    """Names, methods, properties and attributes have a docstring."""
    assert [name.path for name in names(module) if not (name.doc or "").strip().partition("\n")[0]] == []


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_typed(module: str) -> None:
    """Another type checker may infer another type than mypy does."""
    assert [name.path for name in names(module) if not name.is_typed] == []


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_used_in_a_recipe(module: str) -> None:
    """A name that no recipe needs should not be public; a member counts wherever a recipe reads its name."""
    used = recipe_words()
    unused = {name.path for name in names(module) if name.path.rpartition(".")[2] not in used}

    assert unused - set(NOT_FOR_RECIPES) == set(), "use these in a recipe, or give the reason in NOT_FOR_RECIPES"


def test_no_exception_is_out_of_date() -> None:
    """The lists of exceptions contain no removed name, and none that a recipe uses."""
    every = {name.path for module in MODULES for name in spelled(module)}
    used = {path for path in every if path.rpartition(".")[2] in recipe_words()}

    assert every - used >= set(NOT_FOR_RECIPES)
