"""The direction of imports: each module stands on a floor and imports from its own or lower ones, without circles."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
# From the ground up; a longer name wins over the package it is in.
FLOORS: list[set[str]] = [
    {
        "lib_unlearning",
        "lib_unlearning.errors",
        "lib_unlearning.seeds",
        "lib_unlearning.record_numbers",
        "lib_unlearning.options",
        "lib_unlearning.packages",
        "lib_unlearning.terminal",
    },
    {
        "lib_unlearning.parallel",
        "lib_unlearning.cache.files",
        "lib_unlearning.cache.key",
        "lib_unlearning.cache.arrays",
        "lib_unlearning.cache.spool",
        "lib_unlearning.cache.layout",
        "lib_unlearning.plugins",
        "lib_unlearning.yaml_file",
    },
    {
        "lib_unlearning.statistics",
        "lib_unlearning.wording",
        "lib_unlearning.link",
        "lib_unlearning.record_split",
        "lib_unlearning.dataset",
        "lib_unlearning.readers",
    },
    {"lib_unlearning.evaluation_cases", "lib_unlearning.training"},
    {
        "lib_unlearning.unlearning.base",
        "lib_unlearning.unlearning.sharded",
        "lib_unlearning.cache",
        "lib_unlearning.executors",
        "lib_unlearning.cluster",
    },
    {"lib_unlearning.posterior", "lib_unlearning.exposed_records"},
    {"lib_unlearning.unlearning"},
    {"lib_unlearning.construct_feature", "lib_unlearning.defense", "lib_unlearning.family"},
    {"lib_unlearning.attack", "lib_unlearning.attacks"},
    {"lib_unlearning.settings", "lib_unlearning.study", "lib_unlearning.study_models"},
    {"lib_unlearning.own_models", "lib_unlearning.run_files"},
    {
        "lib_unlearning.reconstruct",
        "lib_unlearning.audit",
        "lib_unlearning.report",
        "lib_unlearning.reporting",
        "lib_unlearning.estimate",
    },
    {"models"},
    {"utils", "config", "data_prepare"},
    {"parameter_parser"},
    {"scripts", "exp"},
    {"main"},
]
# The package offers its audit by name, and imports it when it is asked for; a sweep's lines are data.
EXCEPTIONS = {("lib_unlearning", "lib_unlearning.audit.deletion_audit"), ("lib_unlearning", "lib_unlearning.audit")}
EXCEPTIONS |= {("exp", "scripts.sweeps")}
HEAVY = {"torch", "torchvision", "opacus", "safetensors", "matplotlib"}


def modules() -> dict[str, Path]:
    """Dotted name -> file of everything but tests and benchmarks."""
    files = [*PROJECT.glob("*.py"), *PROJECT.glob("lib_unlearning/**/*.py"), *PROJECT.glob("scripts/*.py")]
    names = {path: path.relative_to(PROJECT).with_suffix("").as_posix().replace("/", ".") for path in files}
    return {name.removesuffix(".__init__"): path for path, name in names.items()}


def imports_of(path: Path, at_import: bool = False) -> set[str]:
    """Dotted names that a module imports; with `at_import`, only those that importing it imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = list(tree.body) if at_import else list(ast.walk(tree))
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{path}, line {node.lineno}: name the whole module"  # noqa: PT018
            known = modules()
            found |= {
                f"{node.module}.{alias.name}" if f"{node.module}.{alias.name}" in known else node.module
                for alias in node.names
            }
    return found - {"__future__"}


def floor_of(name: str) -> int:
    """Number of a module's floor."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        for number, names in enumerate(FLOORS):
            if ".".join(parts[:length]) in names and (length > 1 or length == len(parts) or parts[0] == "scripts"):
                return number
    raise AssertionError(f"{name} stands on no floor: add it to FLOORS")


@pytest.mark.parametrize("name", sorted(modules()))
def test_no_import_leads_up(name: str) -> None:
    own = floor_of(name)
    for other in imports_of(modules()[name]) & modules().keys():
        if (name, other) in EXCEPTIONS:
            continue
        assert floor_of(other) <= own, f"{name} imports {other} from a floor above"


def test_no_circles() -> None:
    known = modules()
    graph = {name: imports_of(path, at_import=True) & known.keys() for name, path in known.items()}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name not in done:
            for other in graph[name]:
                visit(other, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_the_library_imports_nothing_of_the_command_line() -> None:
    top = {path.stem for path in PROJECT.glob("*.py")} | {"scripts", "benchmarks", "tests"}
    for name, path in modules().items():
        if name.startswith("lib_unlearning"):
            assert not {part.split(".")[0] for part in imports_of(path)} & top, name


def test_heavy_packages_are_imported_where_they_are_used() -> None:
    """Only modules that are themselves imported late may name them at their top."""
    late = ("lib_unlearning.training.", "lib_unlearning.reporting.", "scripts.draw_concepts")
    for name, path in modules().items():
        heavy = {part.split(".")[0] for part in imports_of(path, at_import=True)} & HEAVY
        assert not heavy or name.startswith(late), (name, heavy)


def test_importing_the_library_needs_no_heavy_package() -> None:
    code = "import sys, exp, parameter_parser; print(sorted(set(sys.modules) & set(sys.argv[1:])))"
    done = subprocess.run(
        [sys.executable, "-c", code, *HEAVY, "pandas", "sklearn", "scipy", "jinja2", "yaml"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_the_top_level_holds_what_it_shall_and_nothing_else() -> None:
    """What a test or a try leaves there would be committed unseen."""
    files = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=False).stdout.split(
        "\n"
    )
    found = {name.partition("/")[0] for name in files if name}
    folders = {"lib_unlearning", "tests", "docs", "scripts", "benchmarks", "temp_data", ".ci", ".github"}
    about = {"LICENSE", "CITATION.cff", "Dockerfile", "Dockerfile.networks", ".gitignore", ".dockerignore"}
    strange = {name for name in found - folders - about if not name.endswith((".py", ".md", ".txt", ".toml"))}
    assert not strange
