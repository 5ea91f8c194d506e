"""A Hub on this machine that answers the few calls of an upload, so that the real client runs: github.com/huggingface/huggingface_hub."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_" + "a" * 34


@dataclass
class Hub:
    """What the Hub holds: repository -> branch -> path -> bytes; who asks; and which calls it refuses, with what status."""

    me: dict[str, Any] = field(
        default_factory=lambda: {
            "name": "me", "type": "user", "orgs": [{"name": "lab", "roleInOrg": "write"}, {"name": "club", "roleInOrg": "read"}],
            "auth": {"accessToken": {"role": "write"}},
        }
    )  # fmt: skip
    repositories: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    private: dict[str, bool] = field(default_factory=dict)
    refuse: dict[str, int] = field(default_factory=dict)  # part of a path -> status
    asked: list[str] = field(default_factory=list)
    large: dict[str, bytes] = field(default_factory=dict)  # by sha256
    url: str = ""

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        self.asked.append(f"{method} {path}")
        for part, status in self.refuse.items():
            if part in path:
                return status, {"error": "refused by this test"}
        if path == "/api/whoami-v2":
            return 200, self.me
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path.startswith("/upload/"):
            self.large[path.removeprefix("/upload/")] = body
            return 200, {}
        if found := re.fullmatch(r"/([\w.-]+/[\w.-]+)\.git/info/lfs/objects/batch", path):
            wanted = json.loads(body)["objects"]
            return 200, {"transfer": "basic", "objects": [{**one, "actions": {"upload": {"href": f"{self.url}/upload/{one['oid']}"}}} for one in wanted]}  # fmt: skip
        found = re.fullmatch(r"/api/models/([\w.-]+/[\w.-]+)(?:/(\w+)/([\w.-]+))?", path)
        if found is None or found[1] not in self.repositories:
            return 404, {"error": "Repository not found"}
        return self._in_repository(found[1], found[2], found[3], body)

    def _create(self, asked: dict[str, Any]) -> tuple[int, Any]:
        name = f"{asked['organization']}/{asked['name']}"
        if name in self.repositories:
            return 409, {"error": "You already created this model repo", "url": f"{self.url}/{name}"}
        self.repositories[name] = {"main": {}}
        self.private[name] = asked.get("visibility") == "private" or bool(asked.get("private"))
        return 200, {"url": f"{self.url}/{name}"}

    def _in_repository(self, name: str, call: str | None, branch: str | None, body: bytes) -> tuple[int, Any]:
        branches = self.repositories[name]
        if call == "branch":
            return (409, {}) if branch in branches else (200, branches.setdefault(str(branch), dict(branches["main"])) and {})  # fmt: skip
        files = branches.get(branch or "main", {})
        if call in (None, "revision"):
            return 200, {"id": name, "sha": "0" * 40, "private": self.private[name], "siblings": [{"rfilename": path} for path in files], "tags": []}  # fmt: skip
        if call == "tree":
            return 200, [{"type": "file", "path": path, "oid": "0", "size": len(data)} for path, data in files.items()]  # fmt: skip
        if call == "preupload":
            paths = [one["path"] for one in json.loads(body)["files"]]
            return 200, {"files": [{"path": path, "uploadMode": "lfs" if path.endswith(".safetensors") else "regular", "shouldIgnore": False} for path in paths]}  # fmt: skip
        if call == "commit":
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    files[value["path"]] = self.large[value["oid"]]
                elif line["key"] == "deletedFile":
                    del files[value["path"]]
            return 200, {"success": True, "commitOid": "1" * 40, "commitUrl": f"{self.url}/{name}/commit/1"}
        return 404, {"error": f"{call} is not made up here"}


@contextmanager
def running() -> Iterator[Hub]:
    """A hub that answers at its `url` until the block ends."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def _reply(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.partition("?")[0]
            status, value = hub.answer(self.command, path, body)
            if path.startswith("/api/") and self.headers.get("Authorization") != f"Bearer {TOKEN}":
                status, value = 401, {"error": "Invalid credentials"}
            text = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            if status == 404:
                self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PUT = _reply

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
