"""What the blocks of all pages share: a warm process for their commands, and the folders that several pages look at."""

from __future__ import annotations

import json
import os
import socketserver
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from doc_tools.shared import Shared
from tests.commands import _warm


class _Answer(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        module, arguments, folder, environment = json.loads(self.rfile.readline())
        done = _warm().run(module, *arguments, cwd=Path(folder), environment=environment)
        self.wfile.write(json.dumps([done.returncode, done.stdout, done.stderr]).encode() + b"\n")


@pytest.fixture(scope="session")
def scripts() -> Iterator[dict[str, str]]:
    """Bodies of `junkdna` and `lm_eval` for PATH, that run in the warm process."""
    with (
        tempfile.TemporaryDirectory() as folder,  # the name of a socket has to be short
        socketserver.UnixStreamServer(f"{folder}/socket", _Answer) as server,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ask = f'exec "{sys.executable}" -S -E "{Path(__file__).with_name("bridge.py")}" {folder}/socket'
        yield {"junkdna": f'{ask} junkdna_harness.cli "$@"', "lm_eval": f'{ask} lm_eval "$@"'}
        server.shutdown()


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """Kept for all workers of the session."""
    base = tmp_path_factory.getbasetemp()
    return Shared((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "pages")
