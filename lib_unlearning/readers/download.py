"""Fetching raw files with pooch: checked, named only when whole, and continued where a line broke."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from lib_unlearning.cache.files import digest_file
from lib_unlearning.errors import LOGGER, UserError, error_text

_ATTEMPTS = 5
BLOCK = 2**14  # bytes; of a line that breaks, whole blocks are kept
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
    import pooch

    pooch.get_logger().setLevel("ERROR")
    LOGGER.info("fetching %s", url)
    known = ":".join(checksum) if checksum else None
    part = path.with_name(f".{path.name}.part")
    try:
        pooch.retrieve(url, known, path.name, path.parent, downloader=_Resuming(part, quiet, pause))
    except ValueError as error:  # pooch's word for another digest
        published = checksum[1] if checksum else "one"
        raise UserError(f"{url}: its digest differs from the published {published}; run again, or by hand") from error
    except OSError as error:
        part.unlink(missing_ok=True)
        raise UserError(f"cannot write {path}: {error_text(error)}; free some space") from error


class _Resuming:
    """A downloader for pooch that goes on from what is there, and tries again when the line breaks."""

    def __init__(self, part: Path, quiet: bool, pause: float) -> None:
        self.part, self.quiet, self.pause = part, quiet, pause

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:
        """Fill pooch's temporary file, which it then checks."""
        import requests

        for attempt in range(_ATTEMPTS):
            try:
                self._receive(url)
                os.replace(self.part, output_file)
                return
            except requests.HTTPError as error:
                if error.response.status_code < 500 and error.response.status_code not in (408, 429):
                    self.part.unlink(missing_ok=True)
                    told = f"HTTP {error.response.status_code} {error.response.reason}"
                    raise UserError(f"{url} cannot be fetched ({told})") from error
            except requests.RequestException as error:
                LOGGER.info("the line broke (%s)", error_text(error))
            time.sleep(self.pause * 2**attempt if attempt < _ATTEMPTS - 1 else 0)
        raise UserError(f"{url} cannot be fetched ({_ATTEMPTS} attempts); run again later, what was received is kept")

    def _receive(self, url: str) -> None:
        """Continue the partial file to its end."""
        import requests
        from tqdm import tqdm

        have = self.part.stat().st_size if self.part.exists() else 0
        headers = {"Range": f"bytes={have}-"} if have else {}
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
            if answer.status_code == 416:  # nothing left to send, or not the file it was: start anew
                self.part.unlink()
                self._receive(url)
                return
            answer.raise_for_status()
            goes_on = answer.status_code == 206
            total = int(answer.headers.get("Content-Length", 0)) + (have if goes_on else 0)
            name, hidden = self.part.name[1:-5], True if self.quiet else None
            with (
                open(self.part, "ab" if goes_on else "wb") as file,
                tqdm(total=total or None, unit="B", unit_scale=True, desc=name, disable=hidden) as bar,
            ):
                for block in answer.iter_content(BLOCK):
                    file.write(block)
                    bar.update(len(block))


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
