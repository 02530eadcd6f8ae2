"""The plan of the house (docs/architecture.md) held by test: layers, doors, caps, names."""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("privacy", "features", "training", "serving", "mlproject")  # lowest first
FRAMEWORKS = {"feast", "mlflow", "optuna", "optuna_integration", "lightgbm", "bentoml", "ibis", "duckdb", "pyspark"}
DOORS = {
    "feast": {
        "features/definitions.py",
        "features/online_answer.py",
        "features/online_store.py",
        "features/provider.py",
        "features/registered.py",
    },
    "optuna": {"training/tuning.py"},
    "optuna_integration": {"training/tuning.py"},
    "mlflow": {"training/tracking.py", "training/registry.py"},
    "bentoml": {"serving/service.py"},
}
SOURCES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))
IDS = [path.relative_to(ROOT).as_posix() for path in SOURCES]
each_source = pytest.mark.parametrize("path", SOURCES, ids=IDS)


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@each_source
def test_imports_point_down_only(path: Path) -> None:
    own = LAYERS.index(path.relative_to(ROOT).parts[0])
    above = set(LAYERS[own + 1 :])
    assert not [name for name in imported(tree_of(path)) if name.split(".")[0] in above]


@each_source
def test_each_framework_has_one_door(path: Path) -> None:
    place = path.relative_to(ROOT).as_posix()
    names = {name.split(".")[0] for name in imported(tree_of(path))}
    if place.startswith("privacy/"):
        assert not names & FRAMEWORKS
    for framework, doors in DOORS.items():
        assert framework not in names or place in doors, f"{framework} is imported outside its door"


def test_no_import_cycles() -> None:
    modules = {module_name(path): path for path in SOURCES}
    graph = {
        name: {found for found in imported(tree_of(path)) if found in modules and found != name}
        for name, path in modules.items()
    }
    list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError naming the cycle


@each_source
def test_caps(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.count("\n") <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            assert (node.end_lineno or 0) - first.lineno + 1 <= 50, f"{node.name} is too long"
            arguments = node.args
            count = len(arguments.posonlyargs + arguments.args + arguments.kwonlyargs)
            is_command = any("click" in ast.dump(d) or "command" in ast.dump(d) for d in node.decorator_list)
            assert count - (arguments.args[:1] != [] and arguments.args[0].arg in {"self", "cls"}) <= 8 or is_command


@each_source
def test_no_print_and_no_broad_except_but_at_the_edge(path: Path) -> None:
    place = path.relative_to(ROOT).as_posix()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print"
        if isinstance(node, ast.ExceptHandler):
            caught = {name.id for name in ast.walk(node.type or ast.Name("Exception")) if isinstance(name, ast.Name)}
            # The command line's edge, and where a shop's own loader runs, which may raise anything.
            assert not caught & {"Exception", "BaseException"} or place in {"mlproject/cli.py", "features/sources.py"}


@each_source
def test_environment_is_read_in_settings_only(path: Path) -> None:
    # A Bento worker is a process of its own: what starts it hands over the home by its environment.
    allowed = {"mlproject/settings.py", "serving/launch.py", "serving/service.py"}
    reads = re.search(r"os\.(environ|getenv)", path.read_text("utf-8"))
    assert not reads or path.relative_to(ROOT).as_posix() in allowed


@each_source
def test_no_grab_bag_names_and_honest_exports(path: Path) -> None:
    assert path.stem not in {"utils", "helpers", "common", "misc", "manager"}
    for node in tree_of(path).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            names = ast.literal_eval(node.value)  # their order is ruff's RUF022
            assert len(set(names)) == len(names)
            assert not [name for name in names if name.startswith("_")]


def test_the_dangerous_door_is_opened_by_few() -> None:
    openers = {
        path.relative_to(ROOT).as_posix()
        for path in SOURCES
        if any("secret_key_access" in name for name in imported(tree_of(path)))
    }
    assert openers
    assert all(opener.startswith(("privacy/", "serving/auth.py")) for opener in openers), sorted(openers)
    # Most of them only hold handles; who may take the bytes out is counted in tests/privacy.
    assert len(openers) <= 12, f"key handles are known to {sorted(openers)}"


def test_help_imports_no_framework() -> None:
    script = "import sys, mlproject.cli; print(sorted(set(sys.modules) & %r))" % (FRAMEWORKS | {"pandas", "pyarrow"})
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert answer.stdout.strip() == "[]"


def test_nothing_of_a_machine_or_an_index_is_committed() -> None:
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=False, cwd=ROOT)
    files = [ROOT / name for name in listed.stdout.splitlines()] or [*SOURCES, ROOT / "requirements.lock"]
    assert not any(path.name == "uv.lock" for path in files)
    address = re.compile(r"https?://[^\s\"']+/simple\b|--(extra-)?index-url\b|^registry\s*=", re.MULTILINE)
    for path in files:
        if path.is_file() and path != Path(__file__) and path.suffix in {".py", ".md", ".toml", ".lock", ".yaml", ""}:
            text = path.read_text("utf-8", errors="replace")
            assert not address.search(text), path
            assert str(ROOT) + "/" not in text, path
