"""The text of the operators in a picture, read from the code that was run."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable
from textwrap import dedent
from typing import Any


def call_text(build: Callable[..., Any]) -> str:
    """What a function puts its source through: the operators in the `.pipe(...)` that it returns, each on a line.

    Without a `.pipe` it is the expression that is returned. Left out are the keyword `scheduler`, since all have it,
    and what is only there to watch: the clock's own operators. Empty where the source cannot be read, as that of a
    function typed at a prompt.
    """
    try:
        source = dedent(inspect.getsource(build))
        tree = ast.parse(source)
    except (OSError, TypeError, SyntaxError):
        return ""
    returned = _returned(tree)
    if returned is None:
        return ""
    if isinstance(returned, ast.Call) and isinstance(returned.func, ast.Attribute) and returned.func.attr == "pipe":
        return "\n".join(_text(source, step) for step in returned.args if not _watches(step))
    return _text(source, returned)


def _returned(tree: ast.AST) -> ast.expr | None:
    """The last value that the outermost function returns, or a lambda's body."""
    found: ast.expr | None = None
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            for statement in node.body:
                if isinstance(statement, ast.Return):
                    found = statement.value
            return found
        if isinstance(node, ast.Lambda):
            return node.body
    return found


def _watches(step: ast.expr) -> bool:
    return isinstance(step, ast.Call) and isinstance(step.func, ast.Attribute) and step.func.attr.startswith("watch")


def _text(source: str, node: ast.expr) -> str:
    if not isinstance(node, ast.Call):
        return _one_line(ast.get_source_segment(source, node))
    arguments = [
        _one_line(ast.get_source_segment(source, argument))
        for argument in [*node.args, *node.keywords]
        if not (isinstance(argument, ast.keyword) and argument.arg == "scheduler")
    ]
    return f"{_one_line(ast.get_source_segment(source, node.func))}({', '.join(arguments)})"


def _one_line(text: str | None) -> str:
    joined = " ".join((text or "").split())
    return re.sub(r",? ([)\]}])", r"\1", re.sub(r"([(\[{]) ", r"\1", joined))
