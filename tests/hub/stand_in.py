"""A Hugging Face Hub on the loopback address that speaks as much of the protocol as `push` and `pull` need."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.loopback import serving

TOKEN = "hf_sEcReTtOkEnOfTeSts"


@dataclass
class Repository:
    """Files by path, of each commit; names of commits."""

    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def add(self, files: Mapping[str, bytes], ref: str = "main") -> str:
        """Make a commit of these files and what was there; its name."""
        complete = {**self.commits.get(self.refs.get("main", ""), {}), **files}
        digest = hashlib.sha1(repr((sorted(complete.items()), len(self.commits))).encode()).hexdigest()
        self.commits[digest] = complete
        self.refs[ref] = digest
        self.refs.setdefault("main", digest)
        return digest


@dataclass
class Hub:
    """The state; `status`: answered to everything, None: served. `requests`: method and path of each."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    endpoint: str = ""
    status: int | None = None
    writable: bool = True
    requests: list[str] = field(default_factory=list)

    def repository(
        self, name: str, files: Mapping[str, bytes] | None = None, private: bool = False, gated: bool = False
    ) -> Repository:
        """Add a repository, with one commit."""
        made = self.repositories[name] = Repository(private, gated)
        made.add(files or {})
        return made

    def transfers(self) -> list[str]:
        """The files that were sent whole."""
        return [each.rsplit("/", 1)[-1] for each in self.requests if each.startswith("GET") and "/resolve/" in each]


@contextmanager
def serve() -> Iterator[Hub]:
    """Serve until the block ends."""
    hub = Hub()

    class Handler(_Handler):
        state = hub

    with serving(Handler) as hub.endpoint:
        yield hub


class _RefusalError(Exception):
    def __init__(self, status: HTTPStatus, code: str = "", message: str = "") -> None:
        self.status, self.code, self.message = status, code, message


class _Handler(BaseHTTPRequestHandler):
    state: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._serve({r"/api/models/(.+?)/revision/(.+)": self._info, r"/api/models/(.+)": self._info, **self._files()})

    def do_HEAD(self) -> None:
        self._serve(self._files())

    def do_POST(self) -> None:
        self._serve(
            {
                r"/api/repos/create": self._create,
                r"/api/validate-yaml": lambda: {"errors": [], "warnings": []},
                r"/api/models/(.+)/preupload/(.+)": self._preupload,
                r"/api/models/(.+)/commit/(.+)": self._commit,
                r"/(.+)\.git/info/lfs/objects/batch": self._batch,
            }
        )

    def do_PUT(self) -> None:
        self._serve({r"/objects/(.+)": self._store})

    def _files(self) -> Mapping[str, Any]:
        return {r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)": self._file}

    def _serve(self, routes: Mapping[str, Any]) -> None:
        path = urlsplit(self.path).path
        self.state.requests.append(f"{self.command} {path}")
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            if self.state.status is not None:
                raise _RefusalError(HTTPStatus(self.state.status), message="out of order")
            for pattern, answer in routes.items():
                if found := re.fullmatch(pattern, path):
                    content = answer(*map(unquote, found.groups()))
                    if content is not None:
                        self._send(HTTPStatus.OK, json.dumps(content).encode())
                    return
            raise _RefusalError(HTTPStatus.NOT_FOUND)
        except _RefusalError as refused:
            headers = {"X-Error-Code": refused.code, "X-Error-Message": refused.message}
            self._send(refused.status, b"{}", {name: text for name, text in headers.items() if text})

    def _send(self, status: HTTPStatus, content: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, text in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _allowed(self) -> bool:
        given = self.headers.get("Authorization")
        if given not in (None, f"Bearer {TOKEN}"):
            raise _RefusalError(HTTPStatus.UNAUTHORIZED, message="Invalid credentials in Authorization header")
        return given is not None

    def _find(self, name: str, revision: str = "main") -> tuple[Repository, str]:
        repository = self.state.repositories.get(name)
        allowed = self._allowed()
        if repository is None or (repository.private and not allowed):
            raise _RefusalError(HTTPStatus.NOT_FOUND if allowed else HTTPStatus.UNAUTHORIZED, "RepoNotFound")
        commit = repository.refs.get(revision, revision)
        if commit not in repository.commits:
            raise _RefusalError(HTTPStatus.NOT_FOUND, "RevisionNotFound", "Invalid rev id")
        return repository, commit

    def _info(self, name: str, revision: str = "main") -> Any:
        repository, commit = self._find(name, revision)
        siblings = [{"rfilename": path} for path in repository.commits[commit]]
        return {"id": name, "modelId": name, "sha": commit, "private": repository.private, "siblings": siblings}

    def _file(self, name: str, revision: str, path: str) -> None:
        repository, commit = self._find(name, revision)
        if repository.gated:
            raise _RefusalError(HTTPStatus.FORBIDDEN, "GatedRepo", "Access to this model is restricted")
        content = repository.commits[commit].get(path)
        if content is None:
            raise _RefusalError(HTTPStatus.NOT_FOUND, "EntryNotFound", "Entry not found")
        self._send(
            HTTPStatus.OK, content, {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": commit}
        )

    def _require_writer(self) -> None:
        if not self._allowed():
            raise _RefusalError(HTTPStatus.UNAUTHORIZED)
        if not self.state.writable:
            raise _RefusalError(HTTPStatus.FORBIDDEN, message="You don't have the rights to create a model here")

    def _create(self) -> Any:
        self._require_writer()
        asked = json.loads(self.body)
        name = f"{asked['organization']}/{asked['name']}"
        if name in self.state.repositories:
            self._send(HTTPStatus.CONFLICT, json.dumps({"url": f"{self.state.endpoint}/{name}"}).encode())
            return None
        self.state.repository(name, private=asked.get("visibility") == "private")
        return {"url": f"{self.state.endpoint}/{name}", "name": name}

    def _preupload(self, name: str, revision: str) -> Any:
        self._find(name, revision)
        paths = [each["path"] for each in json.loads(self.body)["files"]]
        modes = {path: "lfs" if path.endswith(".gfd") else "regular" for path in paths}
        return {"files": [{"path": path, "uploadMode": modes[path], "shouldIgnore": False} for path in paths]}

    def _batch(self, name: str) -> Any:
        self._require_writer()
        asked = json.loads(self.body)["objects"]
        actions = [{"upload": {"href": f"{self.state.endpoint}/objects/{each['oid']}"}} for each in asked]
        return {"transfer": "basic", "objects": [{**a, "actions": b} for a, b in zip(asked, actions, strict=True)]}

    def _store(self, oid: str) -> Any:
        assert hashlib.sha256(self.body).hexdigest() == oid
        self.state.objects[oid] = self.body
        return {}

    def _commit(self, name: str, revision: str) -> Any:
        self._require_writer()
        repository, _ = self._find(name, revision)
        files = {}
        for line in map(json.loads, self.body.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                repository.messages.append(value["summary"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.state.objects[value["oid"]]
            else:
                files[value["path"]] = base64.b64decode(value["content"])
        commit = repository.add(files)
        return {"commitUrl": f"{self.state.endpoint}/{name}/commit/{commit}", "commitOid": commit}

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Stay quiet."""
