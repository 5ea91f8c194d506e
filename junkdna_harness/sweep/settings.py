"""How every run of a sweep is evaluated: tasks, texts, and lm-eval's options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from difficulty.errors import UsageError, did_you_mean
from junkdna_harness.sweep.grid import parse_names
from junkdna_harness.sweep.options import check_kinds, parse_seed

TEXT_TASKS = "difficulty_tiers_text"
OF_TEXTS = ("text", "window", "surprisal_from")
SURPRISAL_TASKS = f"{TEXT_TASKS}_surprisal"


@dataclass(frozen=True)
class Settings:
    """The names are lm-eval's, but for those of texts, and `one_shot`: calibration statistics of the dense model for all levels.

    `text`: the texts whose tokens are asked, in windows of `window`; `surprisal_from`: the model by whose loss they are cut into tiers
    of a family more.
    """

    tasks: tuple[str, ...]
    limit: float | None = None
    num_fewshot: int | None = None
    seed: tuple[int | None, ...] = (0, 1234, 1234, 1234)
    apply_chat_template: bool | str = False
    fewshot_as_multiturn: bool | None = None
    system_instruction: str | None = None
    include_path: str | None = None
    one_shot: bool = False
    text: tuple[str, ...] = ()
    window: int | None = None
    surprisal_from: str | None = None

    def metadata(self) -> dict[str, Any]:
        """What tasks of tokens are told, as `lm_eval --metadata` would."""
        given = {"window": self.window, "surprisal_from": self.surprisal_from}
        return (
            {"text": list(self.text), **{n: v for n, v in given.items() if v is not None}}
            if self.text
            else {}
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values; of texts only where there are some, as older versions do not know them."""
        values = {**asdict(self), "tasks": list(self.tasks), "seed": list(self.seed), "text": list(self.text)}
        return values if self.text else {k: v for k, v in values.items() if k not in OF_TEXTS}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Settings:
        """The settings that `to_dict` wrote."""
        tuples = {name: tuple(values[name]) for name in ("tasks", "seed", "text") if name in values}
        return cls(**{**values, **tuples})


def make_settings(tasks: str | Sequence[str] | None, given: Mapping[str, Any]) -> Settings:
    """The settings of a sweep's options. Texts add the tasks of their tokens.

    Raises:
        UsageError: an unknown option, options that exclude each other, or nothing that is asked.
    """
    allowed = Settings.__dataclass_fields__
    for name in given:
        if name not in allowed:
            raise UsageError(f"{name!r} is no setting of a sweep.{did_you_mean(name, allowed)}")
    values = {name: value for name, value in given.items() if value is not None or name != "seed"}
    if "seed" in values:
        values["seed"] = parse_seed(values["seed"])
    if values.get("fewshot_as_multiturn") and not values.get("apply_chat_template"):
        raise UsageError("fewshot_as_multiturn needs apply_chat_template. Add --apply-chat-template.")
    text = values.get("text") or ()
    values["text"] = (text,) if isinstance(text, str) else tuple(map(str, text))
    for name in ("window", "surprisal_from"):
        if values.get(name) is not None and not values["text"]:
            raise UsageError(f"{name} is of a text's tokens. Add --text FILE.")
    names = parse_names(tasks, "tasks") if tasks else ()
    if values["text"] and TEXT_TASKS not in names:
        names = (*names, TEXT_TASKS)
    if values.get("surprisal_from") is not None and SURPRISAL_TASKS not in names:
        names = (*names, SURPRISAL_TASKS)
    if not names:
        raise UsageError("nothing is asked: give --tasks difficulty_tiers, or --text FILE.")
    check_kinds(Settings, values)
    return Settings(names, **values)
