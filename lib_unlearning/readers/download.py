"""Fetching raw files: resumed after a broken line, checked, and named only when whole."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO

from lib_unlearning.cache.files import digest_file
from lib_unlearning.errors import LOGGER, UserError, error_text

_ATTEMPTS = 5
_BLOCK = 2**16
_TIMEOUT = 30  # seconds without a byte


def fetch(url: str, path: Path, checksum: tuple[str, str] | None, quiet: bool, pause: float = 1.0) -> None:
    """Download a file, unless it is there already.

    What a broken line left is kept under a temporary name and continued, in this call or the next one.

    Args:
        checksum: algorithm and hex digest, or None where nobody publishes one.
        pause: seconds before the second attempt; doubled for each further one.

    Raises:
        UserError: the server has no such file, the line stays broken, the checksum differs, the disk is full.
    """
    if path.exists():
        return
    part = path.with_name(f".{path.name}.part")
    LOGGER.info("fetching %s", url)
    for attempt in range(_ATTEMPTS):
        try:
            if _receive(url, part, quiet):
                break
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in (408, 429):
                part.unlink(missing_ok=True)
                raise UserError(f"{url} cannot be fetched (HTTP {error.code} {error.reason})") from error
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            LOGGER.info("the line broke (%s)", error_text(error))
        except OSError as error:
            part.unlink(missing_ok=True)
            raise UserError(f"cannot write {path}: {error_text(error)}; free some space") from error
        time.sleep(pause * 2**attempt if attempt < _ATTEMPTS - 1 else 0)
    else:
        raise UserError(f"{url} cannot be fetched ({_ATTEMPTS} attempts); run again later, what was received is kept")
    _verify(part, url, checksum)
    os.replace(part, path)


def _receive(url: str, part: Path, quiet: bool) -> bool:
    """Continue a partial file; True when it is whole."""
    from tqdm import tqdm

    part.parent.mkdir(parents=True, exist_ok=True)
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with _open(request, part) as answer:
        if have and answer.status != 206:  # the server starts anew
            have = 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else None
        hidden = True if quiet else None
        with (
            open(part, "ab" if have else "wb") as file,
            tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=part.name[1:-5], disable=hidden) as bar,
        ):
            received = have + _copy(answer, file, bar)
    return total is None or received == total


def _open(request: urllib.request.Request, part: Path) -> http.client.HTTPResponse:
    try:
        answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=_TIMEOUT)
        return answer
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing left to send, or not the file it was: start anew
            part.unlink(missing_ok=True)
            return _open(urllib.request.Request(request.full_url), part)
        raise


def _copy(answer: http.client.HTTPResponse, file: IO[bytes], bar: object) -> int:
    received = 0
    while block := answer.read(_BLOCK):
        file.write(block)
        received += len(block)
        bar.update(len(block))  # type: ignore[attr-defined]
    return received


def _verify(part: Path, url: str, checksum: tuple[str, str] | None) -> None:
    if checksum is None:
        return
    algorithm, expected = checksum
    found = digest_file(part, algorithm)
    if found != expected:
        part.unlink()
        raise UserError(f"{url}: {algorithm} {found} differs from the published {expected}; run again or fetch by hand")


def fetch_wheel(requirement: str, sha256: str, path: Path) -> None:
    """Let pip fetch one wheel, without installing it, and check its digest.

    Raises:
        UserError: pip fails, or the file is another one.
    """
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".wheel-") as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet"]
        done = subprocess.run([*command, "--dest", folder, requirement], capture_output=True, text=True, check=False)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            reason = (done.stderr.strip().splitlines() or ["no wheel"])[-1]
            raise UserError(f"pip cannot fetch {requirement} ({reason}); look at the network and run again")
        found = digest_file(wheels[0])
        if found != sha256:
            raise UserError(f"{requirement}: sha256 {found} differs from the published {sha256}; do not use this file")
        os.replace(wheels[0], path)
