"""Code from outside that fills the registries: imported before anything is chosen, known by a digest of its source."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from lib_unlearning.cache.files import digest
from lib_unlearning.errors import UserError, error_text

# Name as given -> digest of the source files it brought.
LOADED: dict[str, str] = {}


def load_plugins(names: Sequence[str]) -> dict[str, str]:
    """Import files or modules; each name with the SHA-256 of its source, and of what it imports from its own folder.

    Raises:
        UserError: a plug-in is not there, or fails when it is imported.
    """
    for name in names:
        if name not in LOADED:
            known = set(sys.modules)
            module = _imported(name)
            LOADED[name] = _source_digest(module, set(sys.modules) - known)
    return {name: LOADED[name] for name in names}


def _imported(name: str) -> ModuleType:
    path = Path(name).expanduser()
    is_file = path.suffix == ".py"
    if is_file and not path.is_file():
        raise UserError(f"--plugin {name}: there is no such file")
    try:
        if not is_file:
            return importlib.import_module(name)
        # By this name its classes are found again when a cached model is opened.
        title = f"plugin_{path.stem}"
        spec = importlib.util.spec_from_file_location(title, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[title] = module
        sys.path.append(str(path.resolve().parent))
        spec.loader.exec_module(module)
        return module
    except UserError:
        raise
    except Exception as error:  # it may do anything
        raise UserError(f"--plugin {name}: {type(error).__name__}: {error_text(error)}") from error


def _source_digest(module: ModuleType, newcomers: set[str]) -> str:
    """Digest of the plug-in's file and of the modules that came with it from its own folder."""
    own = Path(str(module.__file__)).resolve()
    paths = {own}
    for name in newcomers:
        path = Path(str(getattr(sys.modules.get(name), "__file__", "") or ""))
        if path.is_absolute() and path.is_file() and path.resolve().is_relative_to(own.parent):
            paths.add(path.resolve())
    return digest([path.read_bytes().hex() for path in sorted(paths)])
