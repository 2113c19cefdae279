"""The mutants of `python/dsct`, as Cosmic Ray finds them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import cosmic_ray.plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code

from tests.mutants.mutant import Mutant, Place

FOLDER = "python/dsct"

#: Identity instead of equality, and back: the same for the numbers and words that a program compares.
IDENTITIES = ("Eq_Is", "NotEq_IsNot", "Is_Eq", "IsNot_NotEq")


def mutants(root: Path) -> Iterator[Mutant]:
    """All mutants of all files below `root`, but for those that nothing can notice."""
    for path in sorted((root / FOLDER).rglob("*.py")):
        yield from of_source(path.read_text(encoding="utf-8"), path.relative_to(root).as_posix())


def of_source(source: str, file: str) -> Iterator[Mutant]:
    """The mutants of one file."""
    unseen = list(unnoticeable(source))
    nodes = list(ast_nodes(get_ast(source)))
    for name in cosmic_ray.plugins.operator_names():
        operator = cosmic_ray.plugins.get_operator(name)
        if operator.arguments() or name.endswith(IDENTITIES):
            continue
        places = ((Place(*start), Place(*end)) for node in nodes for start, end in operator().mutation_positions(node))
        for number, (start, end) in enumerate(places):
            if not any(first <= start and end <= last for first, last in unseen):
                yield Mutant(file, start, end, name.removeprefix("core/"), number)


def mutated(mutant: Mutant, source: str) -> str:
    """The file with the change."""
    operator = cosmic_ray.plugins.get_operator(f"core/{mutant.change}")
    return str(mutate_code(source, operator(), mutant.number))


def unnoticeable(source: str) -> Iterator[tuple[Place, Place]]:
    """Places of which a running program shows nothing.

    Annotations, which are text under ``from __future__ import annotations`` (but not the calls in them, which the
    command line evaluates); blocks for type checkers; caches.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.arg, ast.AnnAssign)) and node.annotation:
            yield from _unevaluated(node.annotation, source)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if node.returns:
                yield _span(node.returns, source)
            for decorator in node.decorator_list:
                if "cache" in ast.unparse(decorator):
                    first, last = _span(decorator, source)
                    yield Place(first.line, first.column - 1), last
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield _span(node, source)


def _unevaluated(annotation: ast.expr, source: str) -> Iterator[tuple[Place, Place]]:
    if not any(isinstance(node, ast.Call) for node in ast.walk(annotation)):
        yield _span(annotation, source)
    elif isinstance(annotation, ast.Subscript) and isinstance(annotation.slice, ast.Tuple):
        yield _span(annotation.slice.elts[0], source)


def _span(node: ast.expr | ast.stmt, source: str) -> tuple[Place, Place]:
    """Where the node is; `ast` counts columns in bytes."""
    lines = source.splitlines()

    def place(line: int, column: int) -> Place:
        return Place(line, len(lines[line - 1].encode()[:column].decode()))

    last = place(node.end_lineno or node.lineno, node.end_col_offset or 0)
    return place(node.lineno, node.col_offset), last
