"""Finds, by reading the program, every kind of entry that it records.

An entry is recorded by ``record(kind, …)`` or by a dictionary with a ``kind``. A function that
passes one of its own parameters on as the kind records as well, and so do those who call it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import casemate

KIND = re.compile(r"refused|[a-z_]+\.[a-z_]+")
NOT_ENTRIES = {"casemate.receipt"}
# What stands for a name within a kind that is put together, such as f"model.{after}".
STATES = {
    "model.": ("approved", "withdrawn"),
    "downgrade.": ("approved", "rejected"),
    "use_case.": ("approved", "suspended", "retired"),
}


class _Module:
    def __init__(self, path: Path) -> None:
        self.tree = ast.parse(path.read_text(encoding="utf-8"))
        self.constants = {
            target.id: node.value
            for node in self.tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node


@cache
def recorded_kinds() -> dict[str, str]:
    """Each kind, and a file that records it. Fails where it cannot tell what a kind is."""
    root = Path(casemate.__file__).parent
    modules = {path: _Module(path) for path in sorted(root.rglob("*.py"))}
    constants = {name: node for one in modules.values() for name, node in one.constants.items()}
    recorders = {("record", 0), ("record_async", 0)}
    found: dict[str, str] = {}
    while True:
        known = len(recorders)
        for path, module in modules.items():
            for function in module.functions():
                parameters = [one.arg for one in function.args.posonlyargs + function.args.args]
                own = [one for one in parameters if one not in ("self", "cls")]
                for node in _kinds_in(function, frozenset(recorders)):
                    if isinstance(node, ast.Name) and node.id in own:
                        recorders.add((function.name, own.index(node.id)))
                    else:
                        where = f"{path.relative_to(root)}:{node.lineno}"
                        found |= dict.fromkeys(_values(node, constants, where), where)
        if len(recorders) == known:
            return found


def _kinds_in(function: ast.AST, recorders: frozenset[tuple[str, int]]) -> Iterator[ast.expr]:
    for node in ast.walk(function):
        if isinstance(node, ast.Call):
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            for recorder, place in recorders:
                if name == recorder and len(node.args) > place:
                    yield from _kind(node.args[place])
                for position, given in enumerate(node.args):  # to_thread(acts.record, "kind", …)
                    later = position + 1 + place
                    if getattr(given, "attr", "") == recorder and len(node.args) > later:
                        yield from _kind(node.args[later])
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "kind":
                    yield from _kind(value)


def _kind(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.IfExp):
        yield from _kind(node.body)
        yield from _kind(node.orelse)
    elif isinstance(node, ast.Constant | ast.Name | ast.JoinedStr):
        yield node


def _values(node: ast.expr, constants: dict[str, ast.expr], where: str) -> set[str]:
    if isinstance(node, ast.Name):
        node = constants.get(node.id, node)
    if isinstance(node, ast.Constant):
        value = node.value
        fits = isinstance(value, str) and KIND.fullmatch(value) and value not in NOT_ENTRIES
        return {value} if fits else set()
    if isinstance(node, ast.JoinedStr):
        first = node.values[0]
        prefix = first.value if isinstance(first, ast.Constant) else ""
        assert prefix in STATES, f"{where}: what kinds can this be? Name them in STATES."
        return {prefix + state for state in STATES[prefix]}
    return set()
