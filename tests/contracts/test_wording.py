"""Plain English, as far as a program can hold it: module docstrings, names of things, lengths of modules."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    path.relative_to(ROOT)
    for package in ("service", "workers", "models_store", "benchmarks")
    for path in (ROOT / package).rglob("*.py")
)
QUESTIONS = re.compile(r"(What|Which|How|Who|Whom|Whose|Where|When|Why|Do|Does|Is|Are)\b")
OPAQUE = frozenset(
    [
        "telling",
        "tether",
        "patrol",
        "doubts",
        "judging",
        "reworking",
        "shrinking",
        "cutting",
        "examining",
        "patient",
        "desk",
        "told",
    ]
)
LONGEST_MODULE = 350


def tree_of(module: Path) -> ast.Module:
    return ast.parse((ROOT / module).read_text(encoding="utf-8"))


def names_in(module: Path) -> set[str]:
    """Return the names that the module defines: its own, and those of functions, classes, arguments and variables."""
    found = {module.stem}
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


@pytest.mark.parametrize("module", [each for each in MODULES if "migrations" not in each.parts], ids=str)
def test_a_module_docstring_begins_with_a_capital_and_no_question(module: Path) -> None:
    first = (ast.get_docstring(tree_of(module)) or "Nothing.").partition("\n")[0]

    assert first[0].isupper() or first[0] in "`/", first
    assert not QUESTIONS.match(first), first


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_no_name_is_an_opaque_word(module: Path) -> None:
    opaque = {name for name in names_in(module) if OPAQUE & set(re.findall(r"[a-z]+", name.lower()))}

    assert not opaque


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_no_module_is_longer_than_one_idea(module: Path) -> None:
    assert len((ROOT / module).read_text(encoding="utf-8").splitlines()) <= LONGEST_MODULE
