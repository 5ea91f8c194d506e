"""Weights & Biases: what is evaluated, trained or judged is logged there too, where a user asks for it with `--wandb-args`.

A failure there is told once, ends the logging, and never stops what is logged. Keys and passwords are not logged.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from difficulty.errors import UsageError, did_you_mean
from junkdna_harness.harness.wandb_results import log_results
from junkdna_harness.presentation.console import say
from junkdna_harness.presentation.escape import one_line

INSTALL = "pip install 'wandb>=0.13.6'"  # the oldest that lm-eval's logger takes
_SECRET = re.compile(
    r"(?i)(?:.*[_-])?(?:token|(?:api|access|secret|private)[_-]?key|password|passwd|secret|credentials?|authorization)"
)
_OURS = ("config", "reinit", "id", "resume", "resume_from", "fork_from", "settings")  # set here, run by run
_SECONDS = {
    "init_timeout": 60.0,
    "finish_timeout": 120.0,
}  # a network that is gone holds nothing up for longer
MOST_DEPTH = 20


@dataclass
class Wandb:
    """Where to log: `arguments` of `wandb.init`, and `config`, which is put into that of each run.

    `logged` counts the runs that were logged, and `broken` says that logging has failed and has ended.
    """

    arguments: Mapping[str, Any]
    config: Mapping[str, Any] = field(default_factory=dict)
    logged: int = 0
    broken: bool = False
    where: str = ""

    @contextmanager
    def run(
        self, name: str, kind: str, config: Mapping[str, Any], group: str | None = None
    ) -> Iterator[WandbRun]:
        """A run there while the block lasts: `name` after the one that was asked for, `kind` its job type."""
        given = {"job_type": kind, **self.arguments}
        if group is not None:
            given.setdefault("group", group)
        given["name"] = f"{self.arguments['name']} {name}".strip() if self.arguments.get("name") else name
        run = WandbRun(self)
        with self.guarded():
            run.begin(given, {**config, **self.config})
        try:
            yield run
        finally:
            with self.guarded():
                run.end()

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """A block that does nothing once logging has failed, and whose failure is told once."""
        try:
            yield
        except _Broken:
            pass
        except Exception as error:  # of its own, of its service, of the network
            if not self.broken:
                self.broken = True
                text = one_line((str(error).strip().splitlines() or [type(error).__name__])[0])
                say(f"warning: wandb: {text}. Nothing more is logged there; all else goes on.", stderr=True)

    def tell(self) -> None:
        """Say how much was logged, and where."""
        if self.logged:
            runs = "1 run" if self.logged == 1 else f"{self.logged} runs"
            say(f"wandb: {runs} logged{f': {self.where}' if self.where else ''}", stderr=True)


class _Broken(Exception):
    """Logging has ended already."""


class WandbRun:
    """One run there; what is logged after a failure goes nowhere."""

    def __init__(self, wandb: Wandb) -> None:
        self._wandb, self._run = wandb, None

    def begin(self, arguments: Mapping[str, Any], config: Mapping[str, Any]) -> None:
        """Start it."""
        if self._wandb.broken:
            raise _Broken
        import wandb

        wanted = {"console": "off", "silent": True, "x_disable_meta": _secret_on_command_line(), **_SECONDS}
        known = {
            name: value
            for name, value in wanted.items()
            if name in wandb.Settings.model_fields and f"WANDB_{name.upper()}" not in os.environ
        }
        self._run = wandb.init(
            **arguments, config=loggable(config), reinit="create_new", settings=wandb.Settings(**known)
        )

    def end(self) -> None:
        """Finish it, and count it."""
        run = self._live()
        run.finish()
        if not self._wandb.broken:
            self._wandb.logged += 1
            offline = getattr(run.settings, "_offline", False)
            self._wandb.where = (
                str(run.dir).rpartition("/offline-run-")[0] if offline else str(run.project_url or run.url)
            )

    def log(self, values: Mapping[str, Any], step: int | None = None) -> None:
        """Numbers of one step."""
        with self._wandb.guarded():
            self._live().log(dict(values), step=step)

    def summary(self, values: Mapping[str, Any]) -> None:
        """What the run came to."""
        with self._wandb.guarded():
            self._live().summary.update(loggable(values))

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """A table; its cells as text, numbers as numbers."""
        with self._wandb.guarded():
            run = self._live()
            import wandb

            run.log({name: wandb.Table(columns=list(columns), data=[list(row) for row in rows])})

    def picture(self, name: str, png: bytes, caption: str) -> None:
        """A picture."""
        with self._wandb.guarded():
            run = self._live()
            import io

            import wandb
            from PIL import Image

            run.log({name: wandb.Image(Image.open(io.BytesIO(png)), caption=caption)})

    def results(self, results: Mapping[str, Any]) -> None:
        """lm-eval's results, as `lm_eval --wandb_args` logs them."""
        with self._wandb.guarded():
            run = self._live()
            log_results(run, loggable(results))

    def _live(self) -> Any:
        if self._wandb.broken or self._run is None:
            raise _Broken
        return self._run


def read_wandb(wandb_args: str | None, wandb_config_args: str | None = None) -> Wandb | None:
    """Where to log, from the options as lm_eval has them (`project=p,name=n`, or JSON); None where it was not asked for.

    Raises:
        UsageError: wandb is not installed, nobody is logged in, or an argument that `wandb.init` does not take.
    """
    if wandb_args is None:
        if wandb_config_args is not None:
            raise UsageError("--wandb-config-args is about --wandb-args. Add --wandb-args project=NAME.")
        return None
    if find_spec("wandb") is None:
        raise UsageError(f"--wandb-args needs wandb, which is not installed. Run {INSTALL}, or leave it out.")
    arguments = _pairs("--wandb-args", wandb_args)
    import wandb

    allowed = [name for name in inspect.signature(wandb.init).parameters if name not in _OURS]
    for name in arguments:
        if name not in allowed:
            raise UsageError(
                f"--wandb-args has {name!r}, which cannot be given here. Choose among {', '.join(allowed)}.{did_you_mean(name, allowed)}"
            )
    if isinstance(tags := arguments.get("tags"), str):
        arguments["tags"] = re.split(r"[;+\s]+", tags)
    _check_login(str(arguments.get("mode") or os.environ.get("WANDB_MODE") or "online"))
    return Wandb(arguments, _pairs("--wandb-config-args", wandb_config_args or ""))


def _check_login(mode: str) -> None:
    """
    Raises:
        UsageError: there is no key, and it would be asked for in the middle of the work.
    """
    if mode not in ("online", "run", "dryrun", "offline", "disabled", "shared"):
        raise UsageError(f"mode={mode!r} is none of wandb's. Choose online, offline or disabled.")
    if mode not in ("online", "run", "shared"):
        return
    import wandb

    if not _has_key(wandb):
        raise UsageError(
            "nobody is logged in to wandb. Run wandb login, set WANDB_API_KEY, or set WANDB_MODE=offline to log to a folder."
        )


def _has_key(wandb: Any) -> bool:
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    import contextlib
    import io
    import netrc
    from pathlib import Path

    host = re.sub(r"^https?://|/.*$", "", os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai")
    path = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
    with contextlib.suppress(OSError, netrc.NetrcParseError, UnicodeDecodeError):
        if any(
            host in known or known in host for known in netrc.netrc(str(path)).hosts if known != "default"
        ):
            return True
    with contextlib.suppress(Exception), contextlib.redirect_stderr(io.StringIO()):
        return bool(wandb.Api().api_key)
    return False


def _pairs(option: str, text: str) -> dict[str, Any]:
    """`name=value` joined by commas, or a JSON object, as lm_eval reads them; every value of the first stays text but for numbers."""
    import json

    if text.lstrip().startswith("{"):
        try:
            found = json.loads(text)
        except ValueError as error:
            raise UsageError(
                f"{option} {text!r} is no JSON ({error}). Write project=NAME,name=NAME."
            ) from error
        return dict(found)
    pairs: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals or not name:
            raise UsageError(f"{option} has {part!r}, which is not name=value. Write e.g. project=NAME.")
        pairs[name.strip()] = value.strip()
    return pairs


def _secret_on_command_line() -> bool:
    """Whether the command holds a key, for wandb keeps the command."""
    return any(
        _SECRET.fullmatch(name.lstrip("-")) for word in sys.argv for name in re.split(r"[=,\s]", word) if name
    )


def loggable(value: Any, depth: int = 0) -> Any:
    """`value` as plain data for a config: names that hold a secret are left out, and so is what lies deeper than anybody reads.

    >>> loggable({"pretrained": "org/model", "token": "hf_secret", "kv_tokens": 9})
    {'pretrained': 'org/model', 'kv_tokens': 9}
    """
    if isinstance(value, Mapping):
        return {
            str(name): loggable(inner, depth + 1)
            for name, inner in value.items()
            if not _SECRET.fullmatch(str(name)) and depth < MOST_DEPTH
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        return [loggable(inner, depth + 1) for inner in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
