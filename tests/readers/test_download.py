"""The downloader against a small server on this machine, which misbehaves on demand."""

from __future__ import annotations

import hashlib
import resource
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lib_unlearning.errors import UserError
from lib_unlearning.readers import download

CONTENT = bytes(range(256)) * 2000
KEPT = 100_000 // download.BLOCK * download.BLOCK  # of what the server sends before it drops the line
CHECKSUM = ("sha256", hashlib.sha256(CONTENT).hexdigest())


class Server(ThreadingHTTPServer):
    """Serves CONTENT; `drops` is how many answers it still breaks off half way."""

    drops = 0
    resumes = True
    ranges: list[str]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        if self.path != "/file":
            self.send_error(404)
            return
        asked = self.headers.get("Range")
        self.server.ranges.append(asked or "")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.server.resumes else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        if self.server.drops:
            self.server.drops -= 1
            self.wfile.write(CONTENT[start : start + 100_000])
        else:
            self.wfile.write(CONTENT[start:])

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    served = Server(("127.0.0.1", 0), Handler)
    served.ranges = []
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield served
    served.shutdown()
    served.server_close()


def fetch(server: Server, path: Path, name: str = "file", checksum: tuple[str, str] | None = CHECKSUM) -> None:
    download.fetch(f"http://127.0.0.1:{server.server_port}/{name}", path, checksum, quiet=True, pause=0.0)


def test_a_file_arrives_whole_and_is_not_fetched_twice(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    fetch(server, path)
    fetch(server, path)
    assert path.read_bytes() == CONTENT
    assert server.ranges == [""]
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("resumes", [True, False])
def test_a_broken_line_is_continued(server: Server, tmp_path: Path, resumes: bool) -> None:
    server.drops, server.resumes = 2, resumes
    fetch(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.ranges == ["", f"bytes={KEPT}-", f"bytes={2 * KEPT if resumes else KEPT}-"]


def test_what_was_received_serves_the_next_call(server: Server, tmp_path: Path) -> None:
    server.drops = 5
    with pytest.raises(UserError, match=r"5 attempts.*what was received is kept"):
        fetch(server, tmp_path / "file")
    assert not (tmp_path / "file").exists()
    fetch(server, tmp_path / "file")
    assert server.ranges[-1] == f"bytes={5 * KEPT}-"
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_wrong_checksum_leaves_nothing(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="differs from the published 0000"):
        fetch(server, tmp_path / "file", checksum=("md5", "0000"))
    assert not list(tmp_path.glob("*file*"))


def test_too_much_left_from_another_file_is_started_anew(server: Server, tmp_path: Path) -> None:
    (tmp_path / ".file.part").write_bytes(CONTENT + b"more")
    fetch(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_404_is_one_line(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"/none cannot be fetched \(HTTP 404 Not Found\)"):
        fetch(server, tmp_path / "file", "none")
    assert not list(tmp_path.glob("*file*"))


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be fetched"):
        download.fetch("http://127.0.0.1:9/file", tmp_path / "file", None, quiet=True, pause=0.0)


def test_a_full_disk_leaves_nothing(server: Server, tmp_path: Path) -> None:
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(UserError, match=r"cannot write .*file: File too large; free some space"):
            fetch(server, tmp_path / "file")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert not list(tmp_path.glob("*file*"))
