"""A local server with the HTTP interface of the Hugging Face hub."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FILE = re.compile(r"^/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)$")


@dataclass
class Hub:
    """Models by name and revision, and failures to simulate."""

    repos: dict[str, dict[str, Path]] = field(default_factory=dict)
    """Folder of every revision of each model; `main` is one of them."""
    failing: set[str] = field(default_factory=set)
    """Files for which the server answers with an error."""
    cut: dict[str, int] = field(default_factory=dict)
    """Files whose first download stops after this many bytes."""
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    """Method, file and range of every request for a file."""
    url: str = ""

    def commit(self, repo: str, revision: str) -> str:
        """Return the 40 hex digits of a revision, given by name or as those digits."""
        commits = {self.digest(repo, name): name for name in self.repos[repo]}
        return revision if revision in commits else self.digest(repo, revision)

    def folder(self, repo: str, revision: str) -> Path | None:
        """Return the folder of a revision, given by name or commit."""
        revisions = self.repos.get(repo, {})
        by_commit = {self.digest(repo, name): folder for name, folder in revisions.items()}
        return revisions.get(revision) or by_commit.get(revision)

    @staticmethod
    def digest(repo: str, revision: str) -> str:
        return hashlib.sha1(f"{repo}@{revision}".encode()).hexdigest()  # noqa: S324


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        match = FILE.match(self.path)
        if match is None:  # lists and metadata, which a small model does not have
            known = any(f"/models/{repo}/" in self.path for repo in self.hub.repos)
            return self._refuse(404, "EntryNotFound" if known else "RepoNotFound", body)
        repo, revision, name = match["repo"], match["revision"], match["file"]
        self.hub.asked.append((self.command, name, self.headers.get("Range")))
        folder = self.hub.folder(repo, revision)
        if folder is None:
            known = repo in self.hub.repos
            return self._refuse(404, "RevisionNotFound" if known else "RepoNotFound", body)
        if name in self.hub.failing and body:
            return self._refuse(500, "Broken", body)
        if not (folder / name).is_file():
            return self._refuse(404, "EntryNotFound", body)
        return self._send(folder / name, self.hub.commit(repo, revision), body)

    def _send(self, path: Path, commit: str, body: bool) -> None:
        data = path.read_bytes()
        start = int((self.headers.get("Range") or "bytes=0-")[6:].split("-")[0])
        self.send_response(206 if start else 200)
        self.send_header("X-Repo-Commit", commit)
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("Content-Length", str(len(data) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if not body:
            return
        stop = self.hub.cut.pop(path.name, len(data))
        self.wfile.write(data[start:stop])
        self.close_connection = stop < len(data)

    def _refuse(self, status: int, code: str, body: bool) -> None:
        answer = json.dumps({"error": code}).encode()
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if body:
            self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Print nothing; the requests are recorded in the hub."""


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve a hub on a free local port inside the `with`."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
