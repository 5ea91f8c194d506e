"""What our lm-eval wrappers share: the model's defaults, the border for a user's mistakes, the `junkdna` block."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

from lm_eval.models.huggingface import HFLM

from difficulty.errors import UsageError, did_you_mean
from junkdna_harness.arguments import resolve_pretrained
from junkdna_harness.models.scoring import PrefixScoring
from junkdna_harness.tiny import EMBEDDED

EMBEDDED_BATCH_SIZE = 64
COMMON_ARGUMENTS = frozenset(inspect.signature(HFLM.__init__).parameters) - {"self", "kwargs"} | {
    "device_map",
    "attn_implementation",
    "quantization_config",
    "load_in_8bit",
    "load_in_4bit",
    "prefix_cache",
}


class JunkDNALM(PrefixScoring, HFLM):  # type: ignore[misc]
    """`HFLM` on a model that is changed right after loading; every argument of `hf` works.

    `pretrained` defaults to the embedded model, which is scored in batches of 64 unless `batch_size` says otherwise.
    """

    NAME: ClassVar[str]

    def __init__(
        self,
        pretrained: Any = None,
        prefix_cache: bool | str = True,
        batch_size: int | str = 1,
        **kwargs: Any,
    ) -> None:
        self._prefix_cache = parse_bool("prefix_cache", prefix_cache)
        self.model_name = pretrained if isinstance(pretrained, str) else EMBEDDED
        if pretrained is None or isinstance(pretrained, str):
            pretrained = resolve_pretrained(pretrained)
        else:
            self.model_name = getattr(pretrained.config, "_name_or_path", "") or type(pretrained).__name__
        if self.model_name == EMBEDDED and str(batch_size) == "1":
            batch_size = EMBEDDED_BATCH_SIZE
        with clear_loading_errors(self.model_name):
            super().__init__(pretrained=pretrained, batch_size=batch_size, **kwargs)
        self.junkdna: dict[str, Any] = {}

    @classmethod
    def defaults(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments filled in where the user gave none, so that lm-eval prints and stores them."""
        return {} if "pretrained" in given else {"pretrained": EMBEDDED}

    @classmethod
    def own_arguments(cls) -> frozenset[str]:
        """The names of `--model_args` that `hf` does not have."""
        raise NotImplementedError

    @classmethod
    def check_arguments(cls, given: Mapping[str, Any]) -> None:
        """Refuse an argument that is nearly one of ours; what else is unknown goes on to transformers, as with `hf`.

        Raises:
            UsageError: a likely typing error.
        """
        known = cls.own_arguments() | COMMON_ARGUMENTS
        for name in given:
            if name not in known and (hint := did_you_mean(name, known)):
                raise UsageError(f"{cls.NAME} has no argument {name!r}.{hint}")

    @classmethod
    def create_from_arg_obj(
        cls, arg_dict: dict[str, Any], additional_config: dict[str, Any] | None = None
    ) -> Any:
        """The model for `lm_eval --model_args`; a user's mistake ends the process with one sentence and exit code 2."""
        with exit_on_usage_error():
            cls.check_arguments(arg_dict)
            # In place: this is the dictionary that lm-eval prints above its table and writes into the results.
            arg_dict.update(cls.defaults(arg_dict))
            return super().create_from_arg_obj(arg_dict, additional_config)

    @classmethod
    def create_from_arg_string(cls, arg_string: str, additional_config: dict[str, Any] | None = None) -> Any:
        """The same for `k=v,k=v`."""
        from lm_eval.utils import simple_parse_args_string

        return cls.create_from_arg_obj(simple_parse_args_string(arg_string), additional_config)

    def get_model_info(self) -> dict[str, Any]:
        """lm-eval's facts about the model, and the `junkdna` block."""
        return {**super().get_model_info(), "junkdna": self.junkdna}


def parse_bool(name: str, value: object) -> bool:
    """`value` of `--model_args` as a truth value.

    Raises:
        UsageError: it is neither true nor false.
    """
    text = str(value).strip().lower()
    if text in {"true", "1", "yes"}:
        return True
    if text in {"false", "0", "no"}:
        return False
    raise UsageError(f"{name}={value!r} is neither true nor false. Write {name}=true or {name}=false.")


@contextmanager
def exit_on_usage_error() -> Iterator[None]:
    """One line on stderr and exit code 2 for a `UsageError`."""
    try:
        yield
    except UsageError as error:
        print(f"junkdna: {error}", file=sys.stderr)
        raise SystemExit(2) from None


@contextmanager
def clear_loading_errors(name: str) -> Iterator[None]:
    """Turn what transformers says of a model that cannot be loaded into one sentence."""
    try:
        yield
    except UsageError:
        raise
    except OSError as error:
        first = str(error).strip().splitlines()[0]
        raise UsageError(f"pretrained={name!r} could not be loaded: {first}") from error
    except ImportError as error:
        first = str(error).strip().splitlines()[0]
        raise UsageError(f"pretrained={name!r} needs a package that is not installed: {first}") from error
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        raise UsageError(
            f"pretrained={name!r} was given an argument that the model does not take: {error}."
        ) from error
