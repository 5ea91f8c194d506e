"""Commands of a shell that are run in the warm process of `tests.commands`, as those of Python tests are.

junkdna check … in a block  →  a script on PATH  →  this file, started as a program  →  a socket  →  `Bridge`  →  the warm process
"""

import json
import os
import socket
import sys
from pathlib import Path


def ask(address: str, module: str, arguments: list[str]) -> int:
    """Run a command over there, in this process's folder and environment, and print what it printed; its exit code."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(address)
        line.sendall(json.dumps([module, arguments, str(Path.cwd()), dict(os.environ)]).encode() + b"\n")
        code, out, err = json.loads(line.makefile("rb").readline())
    sys.stderr.write(err)
    sys.stderr.flush()
    sys.stdout.write(out)
    return int(code)


if __name__ == "__main__":
    sys.exit(ask(sys.argv[1], sys.argv[2], sys.argv[3:]))
