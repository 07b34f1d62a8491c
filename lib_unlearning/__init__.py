"""Library of the project; `main.py` is the research command line around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lib_unlearning.audit.deletion_audit import DeletionAudit, DeletionLeakError

__version__ = "0.2.0"
__all__ = ["DeletionAudit", "DeletionLeakError", "__version__"]


def __getattr__(name: str) -> Any:
    """Import the audit when it is asked for: the command line starts without it."""
    if name in ("DeletionAudit", "DeletionLeakError"):
        from lib_unlearning.audit import deletion_audit

        return getattr(deletion_audit, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
