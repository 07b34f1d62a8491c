"""Code from outside that fills the registries: imported before anything is chosen, known by a digest of its source."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

from lib_unlearning.cache.files import digest
from lib_unlearning.errors import UserError, error_text
from lib_unlearning.packages import installed_by

# Name as given -> digest of the source files it brought, and these files.
LOADED: dict[str, str] = {}
_FILES: dict[str, set[Path]] = {}


def load_plugins(names: Sequence[str]) -> dict[str, str]:
    """Import files or modules; each name with the SHA-256 of its source, and of what it imports from its own folder.

    Raises:
        UserError: a plug-in is not there, or fails when it is imported.
    """
    for name in names:
        if name not in LOADED:
            known = set(sys.modules)
            module = _imported(name)
            _check_helpers(name, module)
            _FILES[name] = _own_files(module, set(sys.modules) - known)
            LOADED[name] = _digest_of(_FILES[name])
    return {name: LOADED[name] for name in names}


def sources() -> list[str]:
    """The loaded plug-ins as workers elsewhere can load them: modules by name, files by their whole path."""
    return [str(Path(name).expanduser().absolute()) if name.endswith(".py") else name for name in LOADED]


def _imported(name: str) -> ModuleType:
    path = Path(name).expanduser()
    is_file = path.suffix == ".py"
    if is_file and not path.is_file():
        raise UserError(f"--plugin {name}: there is no such file")
    try:
        if not is_file:
            sys.path.append(str(Path.cwd()))
            return importlib.import_module(name)
        # By this name its classes are found again when a cached model is opened, which belongs to this source.
        stem = path.stem.replace(".", "_")  # dots would make it a package's
        title = f"plugin_{stem}_{_digest_of(set(_helpers(path.resolve(), stem)))[:8]}"
        spec = importlib.util.spec_from_file_location(title, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[title] = module
        sys.path.append(str(path.resolve().parent))
        spec.loader.exec_module(module)
        return module
    except (UserError, KeyboardInterrupt):
        raise
    except BaseException as error:  # it may do anything, also end the program
        told = f"--plugin {name}: {type(error).__name__}: {error_text(error)}"
        missing = isinstance(error, ModuleNotFoundError) and installed_by(str(error.name or ""))
        raise UserError(f"{told}; run: {missing}" if missing else told) from error


def _digest_of(files: set[Path]) -> str:
    return digest([path.read_bytes().hex() for path in sorted(files)])


def _own_files(module: ModuleType, newcomers: set[str]) -> set[Path]:
    """The plug-in's file and those of the modules that come from its own folder, now or when it is at work."""
    if module.__file__ is None:
        raise UserError(f"--plugin {module.__name__}: this is a folder without a module of its own; name a file")
    own = Path(module.__file__).resolve()
    paths = set(_helpers(own, module.__name__))
    for name in newcomers:
        path = Path(str(getattr(sys.modules.get(name), "__file__", "") or ""))
        if path.is_absolute() and path.is_file() and path.resolve().is_relative_to(own.parent):
            paths.add(path.resolve())
    return paths


def _check_helpers(name: str, module: ModuleType) -> None:
    """Refuse a plug-in whose helper another module of the same name stands before, from another plug-in say."""
    if module.__file__ is None:
        return
    for path, title in _helpers(Path(module.__file__).resolve(), module.__name__).items():
        if title is None:
            continue
        found = sys.modules.get(title)
        place = getattr(found, "__file__", None) if found else getattr(importlib.util.find_spec(title), "origin", None)
        if place and Path(place).resolve() != path:
            raise UserError(f"--plugin {name}: its {path.name} is hidden by {place}; rename it")


def _helpers(own: Path, title: str) -> dict[Path, str | None]:
    """A plug-in's file and all of its folder that its imports name, also those within functions, and theirs.

    Each with the name that it is imported by; None for the plug-in and for what is found relative to a package. What
    `importlib` imports by a name that is put together, and files of data, are not seen.
    """
    # A module of a package names its neighbours from above the package.
    inside = title.count(".") + (own.name == "__init__.py")
    root = own.parents[inside]
    within = own.parent if not inside else root / title.partition(".")[0]
    found: dict[Path, str | None] = {own: None}
    todo = [own]
    while todo:
        for path, name in _imports_from(root, within, todo.pop()):
            if path not in found:
                found[path] = name
                todo.append(path)
    return found


def _imports_from(root: Path, within: Path, path: Path) -> Iterator[tuple[Path, str | None]]:
    try:
        nodes = list(ast.walk(ast.parse(path.read_bytes())))
    except (SyntaxError, ValueError):  # importing it will say so
        return
    absolute = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    relative = set()
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            names = {".".join(filter(None, (node.module, alias.name))) for alias in node.names} | {node.module or ""}
            relative |= names if node.level else set()
            absolute |= set() if node.level else names
    for start, named, imported in ((root, absolute, True), (path.parent, relative, False)):
        for name in filter(None, named):
            place = start.joinpath(*name.split("."))
            files = [place.with_suffix(".py"), *(part / "__init__.py" for part in (place, *place.parents))]
            for file in files:
                if file.is_file() and file.resolve().is_relative_to(within):
                    plain = imported and file == place.with_suffix(".py")
                    yield file.resolve(), name if plain else None


def source_of(made_by: object) -> str | None:
    """Digest of the plug-in that defines a function; None for the project's own."""
    while (inner := getattr(made_by, "func", None) or getattr(made_by, "__wrapped__", None)) is not None:
        made_by = inner  # partials and what decorators wrap
    path = Path(str(getattr(sys.modules.get(getattr(made_by, "__module__", "")), "__file__", "") or "")).resolve()
    return next((LOADED[name] for name, files in _FILES.items() if path in files), None)


def blamed(error: BaseException) -> str | None:
    """Where in a plug-in an error arose, here or in a worker process; None where no plug-in took part."""
    places = [(Path(part.filename).resolve(), part.lineno) for part in traceback.extract_tb(error.__traceback__)]
    remote = re.findall(r'File "([^"]+)", line (\d+)', str(error.__cause__ or ""))
    places += [(Path(path).resolve(), int(line)) for path, line in remote]
    for path, line in reversed(places):
        for name, files in _FILES.items():
            if path in files:
                return f"--plugin {name}: {path.name}, line {line}: {type(error).__name__}: {error_text(error)}"
    return None
