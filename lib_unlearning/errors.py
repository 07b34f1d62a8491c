"""The project's log, and mistakes that a user can mend."""

from __future__ import annotations

import errno
import logging
import zipfile
import zlib

LOGGER = logging.getLogger("unlearning")


# What libraries raise for files that are damaged, are something else, or were made to break them.
UNREADABLE = (
    *(OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)


class UserError(Exception):
    """A mistake the user can mend: reported on one line, exit code 2, without a traceback."""


_REFUSED = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)


def pass_refusal(error: BaseException) -> None:
    """Raise an error again that says what the system refused, and nothing of a file's contents."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _REFUSED):
        raise error


def error_text(error: BaseException) -> str:
    """The first line of an error's message."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (text.strip().splitlines() or [type(error).__name__])[0]
