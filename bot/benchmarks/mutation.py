"""Mutants of Python source: each is one small change that a test should notice. Pure.

Found on the syntax tree and made in the text. The bot's arithmetic is method calls on a decimal
context (`EXACT.add`) and rounding by name (`ROUND_FLOOR`): both are mutated like operators.
Left alone: annotations, decorators, imports, messages, log lines, and constants of a module, whose
values are tuning.
"""

import ast
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass

_COMPARE = {
    ast.Lt: ("<", "<=", ">="),
    ast.LtE: ("<=", "<", ">"),
    ast.Gt: (">", ">=", "<="),
    ast.GtE: (">=", ">", "<"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: (r"is\s+not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: (r"not\s+in", "in"),
}
_ARITHMETIC = {
    ast.Add: (r"\+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: (r"\*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"),
}
_NAMES = {
    "max": "min",
    "min": "max",
    "any": "all",
    "all": "any",
    "ROUND_FLOOR": "ROUND_CEILING",
    "ROUND_CEILING": "ROUND_FLOOR",
    "ROUND_HALF_UP": "ROUND_HALF_DOWN",
    "ROUND_HALF_EVEN": "ROUND_FLOOR",
}
_METHODS = {"add": "subtract", "subtract": "add", "multiply": "divide", "divide": "multiply"}
# Calls that hand their first argument on, changed: a mutant hands it on as it is.
_FILTERS = {"abs", "reversed", "sorted", "floor_to_lot", "round_to_tick"}


@dataclass(frozen=True)
class Mutant:
    """One change of one file.

    Attributes:
        path: file, from the root of the tree.
        line: number of the first changed line.
        kind: what sort of change.
        before: the changed lines as they are, without indentation.
        after: the same lines with the change.
        source: the whole file with the change.
    """

    path: str
    line: int
    kind: str
    before: str
    after: str
    source: str


def mutants_of(path: str, source: str) -> list[Mutant]:
    """All mutants of a file, in the order of its lines."""
    text = source.encode()
    lines = text.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))

    def offset(line: int, column: int) -> int:
        return starts[line - 1] + column

    finder = _Finder(text, offset)
    finder.visit(ast.parse(source))
    found = []
    for start, end, new, kind in sorted(set(finder.found)):
        changed = text[:start] + new.encode() + text[end:]
        first = text.rfind(b"\n", 0, start) + 1
        last = text.find(b"\n", end)
        found.append(
            Mutant(
                path,
                text.count(b"\n", 0, start) + 1,
                kind,
                _joined(text[first:last]),
                _joined(changed[first : last + len(changed) - len(text)]),
                changed.decode(),
            )
        )
    return found


def replaced(path: str, source: str, before: str, after: str) -> Mutant | None:
    """The mutant that has `after` in the one place of `before`; None where there is not one place.

    White space counts as equal, so that the text may be wrapped elsewhere.
    """
    pattern = r"\s+".join(re.escape(word) for word in before.split())
    places = list(re.finditer(pattern, source))
    if len(places) != 1:
        return None
    (place,) = places
    changed = source[: place.start()] + after + source[place.end() :]
    line = source.count("\n", 0, place.start()) + 1
    return Mutant(path, line, "listed", _joined(before.encode()), after, changed)


def draw(found: list[Mutant], seed: int, count: int) -> list[Mutant]:
    """Mutants drawn by a seed, none twice; a change of one line leaves the draws of others alone.

    Args:
        found: all mutants.
        seed: equal seeds draw equal mutants.
        count: how many; fewer where there are fewer.
    """

    def place(mutant: Mutant) -> str:
        text = f"{seed} {mutant.path} {mutant.before} {mutant.after}"
        return hashlib.sha256(text.encode()).hexdigest()

    return sorted(found, key=place)[:count]


def place_of(source: str, line: int) -> tuple[str, range]:
    """Where a line stands.

    Args:
        source: the file.
        line: number of one of its lines.

    Returns:
        The qualified name of the outermost function whose body has it, empty where none has; and
        the lines of its statement, without those of the statements inside.
    """
    names: list[str] = []
    function, lines = "", range(line, line + 1)
    inside = ast.parse(source).body
    while found := [s for s in inside if s.lineno <= line <= (s.end_lineno or 0)]:
        statement = found[0]
        inside = _statements(statement)
        first = min((s.lineno for s in inside), default=(statement.end_lineno or 0) + 1)
        lines = range(statement.lineno, max(statement.lineno + 1, first))
        if isinstance(statement, ast.FunctionDef | ast.ClassDef) and not function:
            names.append(statement.name)
            if isinstance(statement, ast.FunctionDef) and line >= first:
                function = ".".join(names)
    return function, lines


def _statements(node: ast.AST) -> list[ast.stmt]:
    """Statements of a statement, and not of those inside it."""
    found: list[ast.stmt] = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            found.append(child)
        elif isinstance(child, ast.ExceptHandler | ast.match_case):
            found += _statements(child)
    return found


def _joined(text: bytes) -> str:
    return " ".join(text.decode().split())


class _Finder(ast.NodeVisitor):
    """Collects changes as (start, end, new text, kind), in bytes of the source."""

    def __init__(self, text: bytes, offset: Callable[[int, int], int]) -> None:
        self.found: list[tuple[int, int, str, str]] = []
        self._text = text
        self._offset = offset

    def _span(self, node: ast.AST) -> tuple[int, int]:
        return (
            self._offset(node.lineno, node.col_offset),
            self._offset(node.end_lineno, node.end_col_offset),
        )

    def _source(self, node: ast.AST) -> str:
        start, end = self._span(node)
        return self._text[start:end].decode()

    def _put(self, node: ast.AST, new: str, kind: str) -> None:
        self.found.append((*self._span(node), new, kind))

    def _between(self, left: ast.AST, right: ast.AST, old: str, new: str, kind: str) -> None:
        """Change an operator, which has no place of its own in the tree."""
        start = self._span(left)[1]
        place = re.search(old, self._text[start : self._span(right)[0]].decode())
        if place is not None:
            self.found.append((start + place.start(), start + place.end(), new, kind))

    # What is left alone.

    def visit_Module(self, node: ast.Module) -> None:
        for statement in node.body:
            if isinstance(statement, ast.FunctionDef | ast.ClassDef):
                self.visit(statement)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        for part in [*node.args.defaults, *filter(None, node.args.kw_defaults), *node.body]:
            self.visit(part)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for statement in node.body:
            self.visit(statement)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Messages and names: what they say is no logic."""

    def visit_Raise(self, node: ast.Raise) -> None:
        self._put(node, "pass", "deletion")

    # Statements.

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Call) or self._source(node).startswith("log."):
            return
        self._put(node, "pass", "deletion")
        self.visit(node.value)

    def visit_Assign(self, node: ast.Assign) -> None:
        if isinstance(node.targets[0], ast.Attribute | ast.Subscript):
            self._put(node, "pass", "deletion")
        self.visit(node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._put(node, "pass", "deletion")
        if type(node.op) in _ARITHMETIC:
            old, new = _ARITHMETIC[type(node.op)]
            self._between(node.target, node.value, old, new, "arithmetic")
        self.visit(node.value)

    def visit_Delete(self, node: ast.Delete) -> None:
        self._put(node, "pass", "deletion")

    def visit_Continue(self, node: ast.Continue) -> None:
        self._put(node, "pass", "deletion")

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is None:
            self._put(node, "pass", "deletion")
            return
        self.visit(node.value)

    def visit_If(self, node: ast.If | ast.While | ast.IfExp) -> None:
        if not isinstance(node.test, ast.Compare | ast.BoolOp | ast.UnaryOp | ast.Constant):
            self._put(node.test, f"not ({self._source(node.test)})", "condition")
        self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        self.visit_If(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        for branch in (node.body, node.orelse):
            self._put(node, f"({self._source(branch)})", "condition")
        self.generic_visit(node)

    # Expressions.

    def visit_Compare(self, node: ast.Compare) -> None:
        for left, operator, right in zip(
            [node.left, *node.comparators[:-1]], node.ops, node.comparators, strict=True
        ):
            old, *others = _COMPARE[type(operator)]
            kinds = ("boundary" if len(others) > 1 else "comparison", "comparison")
            for new, kind in zip(others, kinds, strict=False):
                self._between(left, right, old, new, kind)
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        both = isinstance(node.op, ast.And)
        for left, right in zip(node.values[:-1], node.values[1:], strict=True):
            old, new = (r"\band\b", "or") if both else (r"\bor\b", "and")
            self._between(left, right, old, new, "condition")
        for value in node.values:
            self._put(value, str(both), "condition")
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not | ast.USub):
            self._put(node, f"({self._source(node.operand)})", "condition")
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        texts = any(_is_text(side) for side in (node.left, node.right))
        if type(node.op) in _ARITHMETIC and not texts:
            old, new = _ARITHMETIC[type(node.op)]
            self._between(node.left, node.right, old, new, "arithmetic")
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name in _FILTERS and node.args:
            self._put(node, self._source(node.args[0]), "call")
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if node.id in _NAMES:
            self._put(node, _NAMES[node.id], "arithmetic")

    def visit_Attribute(self, node: ast.Attribute) -> None:
        owner = node.value.id if isinstance(node.value, ast.Name) else ""
        if owner == "EXACT" and node.attr in _METHODS:
            self._put(node, f"EXACT.{_METHODS[node.attr]}", "arithmetic")
        elif owner == "Side":
            self._put(node, f"Side.{'SELL' if node.attr == 'BUY' else 'BUY'}", "condition")
        self.visit(node.value)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self._put(node, str(not node.value), "constant")
        elif isinstance(node.value, int):
            self._put(node, str(node.value + 1), "constant")


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or isinstance(getattr(node, "value", None), str)
