"""The tests' own order: folders that mirror the packages, and modules that stand alone."""

import ast
from pathlib import Path

TESTS = Path(__file__).parents[1]
TEST_MODULES = sorted(TESTS.rglob("test_*.py"))


def imported(path: Path) -> set[str]:
    """Return the modules, and the names of modules, that a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_no_test_imports_another_test() -> None:
    tests = {path.relative_to(TESTS.parent).with_suffix("").as_posix().replace("/", ".") for path in TEST_MODULES}

    borrowing = {path.name: found for path in TESTS.rglob("*.py") if (found := imported(path) & tests)}

    assert len(tests) > 100
    assert borrowing == {}


def test_each_folder_of_tests_is_a_folder_of_the_package() -> None:
    folders = {path.parent.relative_to(TESTS) for path in TEST_MODULES}
    mirrored = {folder for folder in folders if folder.parts[0] in {"service", "workers", "models_store"}}

    assert len(mirrored) > 10
    assert {str(folder) for folder in mirrored if not (TESTS.parent / folder).is_dir()} == set()
