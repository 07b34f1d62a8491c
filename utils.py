"""What only a command line needs: one-line errors, logging, other programs, text that fits the terminal."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import errno
import importlib.util
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from lib_unlearning.errors import LOGGER, UserError
from lib_unlearning.packages import installed_by
from lib_unlearning.parallel import ENDING

_REFUSALS = {
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "the system has too many files open",
    errno.EAGAIN: "raise the limit of processes (ulimit -u), or lower --num_process",
    errno.ENOMEM: "lower --num_process",
    errno.ENAMETOOLONG: "name a shorter folder with --temp_data",
    errno.EACCES: "name another place, or ask for the right to use it",
    errno.EPERM: "name another place, or ask for the right to use it",
    errno.EROFS: "name a place that can be written",
    errno.ENOTDIR: "name a folder",
    errno.EDQUOT: "free some space, or name another folder with --temp_data",
    errno.EIO: "the disk does not answer as it should",
    errno.ESTALE: "the file system is gone",
    errno.ENOSYS: "the system lacks what worker processes need; --num_process 1 does without",
}

_UNHEEDED: set[signal.Signals] = set()  # signals that are ignored as a command has ended, and by no caller
_SOON = 0.01  # seconds


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, with the nearest known word where one is near."""

    def error(self, message: str) -> NoReturn:
        raise UserError(message + self._suggestion(message))

    def _print_message(self, message: str, file: Any = None) -> None:
        """Unlike argparse's own this says when the message cannot be written."""
        (file or sys.stderr).write(message)

    def _suggestion(self, message: str) -> str:
        choice = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
        if choice:
            return _nearest(choice[1], re.findall(r"[\w.-]+", choice[2]))
        unknown = re.search(r"unrecognized arguments: (-\S+)", message)
        if unknown:
            return _nearest(unknown[1].split("=")[0], list(self._option_string_actions))
        return ""


def _nearest(word: str, known: Sequence[str]) -> str:
    by_lower = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower(), list(by_lower), 1)
    return f"; did you mean {by_lower[found[0]]}?" if found else ""


def missing_package(error: ModuleNotFoundError) -> str:
    """What to tell the user whose installation lacks a package; raises the error again when it is none of ours."""
    command = installed_by(str(error.name or ""))
    if command is None:
        raise error
    return f"this needs the package {str(error.name).partition('.')[0]}, which is not installed; run: {command}"


def require(program: str, package: str) -> None:
    """End the program with one line when a package is missing that it cannot be imported without."""
    if importlib.util.find_spec(package) is None:
        sys.exit(_complain(program, missing_package(ModuleNotFoundError(name=package))))


def run_command(program: str, command: Callable[[], int | None]) -> int:
    """Run a command line; the exit code is its own, 2 after a user's mistake (told on one line), and 128 + the signal's
    number after Ctrl-C, SIGTERM or SIGHUP."""
    for name in ("stdout", "stderr"):  # closed by the caller
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    _heed_signals()
    try:
        code = _code_of(command)
        sys.stdout.flush()
        return code
    except UserError as error:
        return _complain(program, str(error))
    except ModuleNotFoundError as error:
        return _complain(program, missing_package(error))
    except KeyboardInterrupt as ended:
        number = ended.args[0] if ended.args else signal.SIGINT
        sys.unraisablehook = lambda dropped: None  # callbacks that were cut in two complain now, to nobody's use
        print(f"{program}: interrupted; what was finished is kept, run the command again to go on", file=sys.stderr)
        return 128 + int(number)
    except BrokenPipeError:  # whoever read the output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        from lib_unlearning.plugins import blamed  # needs what may be missing

        plugin = blamed(error)
        refused = None if plugin else _refusal(error)
        if plugin is None and refused is None:
            raise
        LOGGER.debug("as it happened:", exc_info=error)
        if refused:
            return _complain(program, refused)
        return _complain(program, f"{plugin} (--log_level debug shows where it was called)")
    finally:
        while True:
            with contextlib.suppress(KeyboardInterrupt):  # one that comes right now says nothing any more
                _heed_no_more()
                break


def _heed_no_more() -> None:
    """All is said and done: a signal that comes while Python closes would kill it without a line."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)
    for number in ENDING:
        if signal.getsignal(number) not in (signal.SIG_IGN, signal.SIG_DFL):
            signal.signal(number, signal.SIG_IGN)
            _UNHEEDED.add(number)


def _code_of(command: Callable[[], int | None]) -> int:
    """What a command ends with, by returning or, as `--help` does, by exiting."""
    try:
        return command() or 0
    except SystemExit as ended:
        if not isinstance(ended.code, int | None):
            raise
        return ended.code or 0


def _is_nowhere() -> bool:
    """Whether the working folder is gone."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def _refusal(error: Exception) -> str | None:
    """What the system refused, in a line; None for any other error."""
    if isinstance(error, FileNotFoundError) and _is_nowhere():
        return "the working folder is gone; change to one that is there"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"the output cannot be written ({error.strerror})"
    if isinstance(error, OSError) and error.errno in _REFUSALS:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}; {_REFUSALS[error.errno]}"
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return f"{error}; {_REFUSALS[errno.EAGAIN]}"
    if isinstance(error, MemoryError) or (isinstance(error, ImportError) and "map segment" in str(error)):
        return "memory ran out; lower --num_process, or raise the limit (ulimit -v)"
    return None


def _heed_signals() -> None:
    """Let Ctrl-C, SIGTERM and SIGHUP raise `KeyboardInterrupt`, until it has reached somebody."""
    for number in ENDING:
        if signal.getsignal(number) != signal.SIG_IGN or number in _UNHEEDED:  # nohup, or a script's background job
            signal.signal(number, _interrupt)
    if hasattr(signal, "setitimer"):
        sys.unraisablehook = _raised_again


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt(number)


def _raised_again(dropped: sys.UnraisableHookArgs) -> None:
    """A signal that came while a destructor, a fork or the garbage collector called Python: there it ends nothing."""
    if not issubclass(dropped.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(dropped)
        return
    number = dropped.exc_value.args[0] if dropped.exc_value and dropped.exc_value.args else signal.SIGINT
    signal.signal(signal.SIGALRM, lambda *_: _interrupt(number, None))
    signal.setitimer(signal.ITIMER_REAL, _SOON)


def _complain(program: str, text: str) -> int:
    print(f"{program}: error: {text}", file=sys.stderr)
    return 2


def run_program(command: Sequence[str], quiet: bool) -> None:
    """Run another program; raises `UserError` with its last words when it fails."""
    done = subprocess.run(command, stdout=subprocess.DEVNULL if quiet else None, stderr=subprocess.PIPE, check=False)
    if done.returncode:
        last = (done.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        raise UserError(f"{Path(command[0]).name} failed: {last}")


def set_up_logging(level: str) -> None:
    """Send the project's log to standard error at `level` ("debug", "info", "warning", "error")."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    LOGGER.handlers[:] = [handler]
    LOGGER.propagate = False  # Opacus gives the root a handler of its own: lines would be said twice
    LOGGER.setLevel(level.upper())
    # Warnings of libraries ("not converged after 300 rounds") are for those who debug, not for the result table.
    logging.captureWarnings(True)
    warnings_log = logging.getLogger("py.warnings")
    warnings_log.handlers[:] = [handler]
    warnings_log.setLevel(logging.DEBUG if level == "debug" else logging.ERROR)
