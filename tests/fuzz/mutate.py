"""Files as they come back from life: cut, flipped, edited by hand, written by another program; the structure of JSON is known."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from typing import Any

HUGE = 10**400
ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 1.5, -0.0, 1e308, float("nan"), float("inf"), float("-inf"), 2**63, HUGE, "", "x", "1", "nan", "0.5",
    "../../x", "/etc/passwd", "a\x00b", "\ud800", "\x1b[31m", "x" * 5000, [], {}, [1], [None], ["a", "a"], [[]], {"a": 1}, {"": None},
)  # fmt: skip


class Raw:
    """JSON text that no value of Python gives."""

    def __init__(self, text: str) -> None:
        self.text = text


RAW = (
    Raw("1e999"),
    Raw("[" * 100_000 + "]" * 100_000),
    Raw('{"a":' * 5000 + "1" + "}" * 5000),
    Raw("1" * 5000),
    Raw('{"a": 1, "a": 2}'),
    Raw("-"),
)


def json_text(value: Any) -> str:
    """JSON, with what `Raw` holds, and keys twice where a list of pairs says so."""
    held: list[str] = []

    def mark(inner: Any) -> Any:
        if isinstance(inner, Raw):
            held.append(inner.text)
            return f"@raw{len(held) - 1}@"
        if isinstance(inner, dict):
            return {key: mark(one) for key, one in inner.items()}
        return [mark(one) for one in inner] if isinstance(inner, list) else inner

    text = json.dumps(mark(value), ensure_ascii=True)
    for number, raw in enumerate(held):
        text = text.replace(f'"@raw{number}@"', raw)
    return text


def mutate_value(document: Any, rng: random.Random) -> Any:
    """A copy with one to three nodes changed."""
    root = {"": copy.deepcopy(document)}
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if not (places := _places(root)):
            break
        # Every depth alike, so that the few nodes near the top are met as often as the many below.
        depth = rng.choice(sorted({d for _, _, d in places}))
        home, key, _ = rng.choice([place for place in places if place[2] == depth])
        _change(home, key, rng, root)
    return root.get("")


def _places(root: Any) -> list[tuple[Any, Any, int]]:
    found: list[tuple[Any, Any, int]] = []
    pending = [(root, 0)]
    while pending:
        node, depth = pending.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        for key in keys:
            found.append((node, key, depth))
            pending.append((node[key], depth + 1))
    return found


def _change(home: Any, key: Any, rng: random.Random, root: Any) -> None:
    old = home[key]
    kind = rng.choice(
        ("odd", "odd", "odd", "raw", "delete", "copy", "wrap", "type", "rename", "shorten", "double", "nudge")
    )
    if kind == "odd":
        home[key] = copy.deepcopy(rng.choice(ODD))
    elif kind == "raw":
        home[key] = rng.choice(RAW)
    elif kind == "delete":
        del home[key]
    elif kind == "copy":
        other, at, _ = rng.choice(_places(root))
        home[key] = copy.deepcopy(other[at])
    elif kind == "wrap":
        home[key] = rng.choice(([old], {"x": old}))
    elif kind == "type":
        home[key] = str(old) if not isinstance(old, str) else rng.choice((len(old), [old], list(old)[:50]))
    elif kind == "rename" and isinstance(home, dict):
        home[rng.choice(("x", "", str(key).upper(), f"{key} "))] = home.pop(key)
    elif kind == "shorten" and isinstance(old, (list, str)) and old:
        home[key] = old[: rng.randrange(len(old))]
    elif kind == "double" and isinstance(old, (list, str)):
        home[key] = old + old[: rng.randint(1, 3)]
    elif isinstance(old, (int, float)) and not isinstance(old, bool):
        home[key] = rng.choice((-old, old + 1, old * 10**6, old * 0.5 if abs(old) < 2**60 else old))
    else:
        home[key] = None


def mutate_bytes(content: bytes, rng: random.Random) -> bytes:
    """The file cut, flipped or saved by another program."""
    n = max(len(content), 1)
    a, b = sorted((rng.randrange(n), rng.randrange(n)))
    b = min(b, a + rng.choice((1, 8, 100, n)))
    ways: list[Callable[[], bytes]] = [
        lambda: content[:a],
        lambda: content[a:],
        lambda: content[:a] + content[b:],
        lambda: content[:b] + content[a:],
        lambda: content[:a] + bytes([content[a] ^ (1 << rng.randrange(8))]) + content[a + 1 :] if content else b"\0",
        lambda: content[:a] + rng.randbytes(rng.choice((1, 4, 40))) + content[a:],
        lambda: content[:a] + b"\0" * (b - a) + content[b:],
        lambda: b"\xef\xbb\xbf" + content,
        lambda: content.decode("utf-8", "replace").encode("utf-16"),
        lambda: content.replace(b"\n", b"\r\n"),
        lambda: content + rng.choice((b"\0", b"\n\n", b"{", b"}", b"\xff", b"null", content)),
        lambda: rng.choice((b"", b"\n", b"{}", b"[]", b"null", b"3", b'"x"', b"true", b"NaN", b"\x1f\x8b", b"PAR1PAR1", b"[" * 100_000)),
        lambda: b"".join(sorted(content.splitlines(True), key=lambda _: rng.random())),
    ]  # fmt: skip
    return rng.choice(ways)()


def mutate_json(content: bytes, rng: random.Random) -> bytes:
    """A JSON file, or one with an object a line, with its structure or its bytes changed."""
    if rng.random() < 0.25:
        return mutate_bytes(content, rng)
    text = content.decode()
    lines = [line for line in text.split("\n") if line.strip()]
    try:
        return json_text(mutate_value(json.loads(text), rng)).encode("utf-8", "surrogatepass")
    except ValueError:
        pass
    at = rng.randrange(len(lines))
    if rng.random() < 0.2:
        extra = lines[rng.randrange(len(lines))]
        lines[at : at + 1] = rng.choice(
            ([], [lines[at], lines[at]], [extra, lines[at]], [lines[at][: len(lines[at]) // 2]])
        )
    else:
        try:
            lines[at] = json_text(mutate_value(json.loads(lines[at]), rng))
        except ValueError:  # plain text
            return mutate_bytes(content, rng)
    return ("\n".join(lines) + "\n").encode("utf-8", "surrogatepass")
