"""What our lm-eval wrappers share: the model's defaults, the border for a user's mistakes, the `junkdna` block."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, ClassVar

import torch
from lm_eval.models.huggingface import HFLM
from transformers import LogitsProcessorList
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from difficulty.errors import UsageError, did_you_mean
from difficulty.runs.checkpoint import EMBEDDED, NONE
from difficulty.runs.dtypes import DTYPE, plain_dtype
from difficulty.runs.running import Running
from junkdna_harness.arguments import refuse_twice, resolve_pretrained, restore_names
from junkdna_harness.border import end_lm_eval_with_a_sentence, exit_on_usage_error
from junkdna_harness.compress.checkpoint_files import check_model_arguments
from junkdna_harness.compress.hashing import is_plain
from junkdna_harness.compress.loading import auto_class
from junkdna_harness.compress.manifest import base_of_adapter
from junkdna_harness.compress.reading import Whole, clear_loading_errors, no_tokenizer, whole_adapter
from junkdna_harness.compress.running import resume
from junkdna_harness.compress.targets import find_targets
from junkdna_harness.device import check_device, usable_map
from junkdna_harness.embedded import is_embedded
from junkdna_harness.harness.answer_cache import KeyedHook
from junkdna_harness.harness.patches import bars_as_ours
from junkdna_harness.models.answer_cache import fingerprint
from junkdna_harness.models.chat import (
    CONTINUED,
    OPENING,
    answer_opening,
    continues_a_text,
    note_on_opening,
)
from junkdna_harness.models.finite import (
    RefuseNaN,
    refuse_impossible_answers,
    refuse_unfinite_answers,
    refuse_unfinite_model,
)
from junkdna_harness.models.loaded import Loaded, Names, look
from junkdna_harness.models.narrowing import narrow, narrowed, refuse_codes
from junkdna_harness.models.option_lengths import OPTION_LENGTHS, note_on_lengths, option_lengths
from junkdna_harness.models.outcome import run_of, tell
from junkdna_harness.models.room import refuse_impossible_continuations, refuse_long_generations
from junkdna_harness.models.scoring import Answer, PrefixScoring, Request
from junkdna_harness.models.token_scores import TokenScore, token_scores
from junkdna_harness.precision import AUTO_CPU, Chosen, choose, refuse_dtypes
from junkdna_harness.texts.limit import longest_text
from junkdna_harness.texts.vocabulary import refuse_unknown_tokens

EMBEDDED_BATCH_SIZE = 64
LM_EVAL_DEVICE = "cuda:0"  # what `lm_eval` passes where nobody names one; `hf` then takes the CPU if need be
COMMON_ARGUMENTS = frozenset(inspect.signature(HFLM.__init__).parameters) - {"self", "kwargs"} | {
    "device_map",
    "attn_implementation",
    "quantization_config",
    "load_in_8bit",
    "load_in_4bit",
    "prefix_cache",
}


class JunkDNALM(PrefixScoring, HFLM):  # type: ignore[misc]
    """`HFLM` on a model that is changed right after loading; every argument of `hf` works, but for `tp_plan`.

    `pretrained` defaults to the embedded model, which is scored in batches of 64 unless `batch_size` says otherwise. It
    may be the folder of an adapter, which is put on the model that it was trained on.

    Raises:
        UsageError: an argument or a model that cannot be used. Made by `create_from_arg_*`, as `lm_eval` does, the
            process ends instead, with that sentence and exit code 2.
    """

    NAME: ClassVar[str]
    chosen: Chosen | None = None  # what dtype=auto-cpu came to
    # What to do about a task that cannot be asked, where it ends the evaluation of all.
    INSTEAD: ClassVar[str] = (
        "Leave it out; give --gen_kwargs max_gen_toks=N; or run junkdna sweep, which scores the other tasks."
    )

    def __init__(
        self,
        pretrained: Any = None,
        prefix_cache: bool | str = True,
        batch_size: int | str = 1,
        **kwargs: Any,
    ) -> None:
        self._prefix_cache = parse_bool("prefix_cache", prefix_cache)
        _refuse_sharding(kwargs)
        refuse_dtypes(kwargs)
        _lay_out(kwargs)
        if kwargs.get("device") != LM_EVAL_DEVICE:
            check_device(kwargs.get("device"))
        check_model_arguments({**kwargs, "pretrained": pretrained})
        self.names, pretrained = _names(pretrained, kwargs)
        self.model_name = self.names.model
        if is_embedded(self.model_name) and str(batch_size) == "1":
            batch_size = EMBEDDED_BATCH_SIZE
        by_cpu = kwargs.get("dtype") == AUTO_CPU
        if by_cpu:  # compressed as they are in float32, and asked in what is chosen below
            kwargs["dtype"] = "float32"
        with clear_loading_errors(self.model_name):
            super().__init__(pretrained=pretrained, batch_size=batch_size, **kwargs)
        self.chosen = self._choose() if by_cpu else None
        self._soften()
        self.junkdna: dict[str, Any] = {}
        # Arguments that were filled in where the user gave none: what lm-eval prints and stores.
        self.filled: dict[str, Any] = {}
        self._asked: Sequence[Any] = ()  # lm-eval's requests, while they are tokenized
        self._in_chat = False  # whether a prompt was made by the chat template

    @property
    def dtype(self) -> str:
        """The numbers that forward passes are computed in, by name: of auto-cpu, else of autocast, else those of the weights."""
        lm: Any = self
        if self.chosen is not None:
            return self.chosen.dtype
        return plain_dtype(str(lm.mixed_precision_dtype or getattr(lm.model, "dtype", ""))) or ""

    def computing(self) -> AbstractContextManager[None]:
        """A block in which the model computes in `dtype`; afterwards its weights are what they were before, to the bit."""
        return narrowed(self.model, getattr(torch, self.dtype)) if self.narrows else nullcontext()

    def settle(self) -> None:
        """Let the model compute in `dtype` for good, after all that is done to its weights, and note which that is."""
        if self.narrows:
            narrow(self.model, getattr(torch, self.dtype))
        if self.chosen is not None:
            self.tell(self.chosen.why)
        self.junkdna[DTYPE] = self.dtype

    @property
    def narrows(self) -> bool:
        """True where weights are held in float32 and forward passes are in half precision."""
        return self.chosen is not None and _is_half(self.chosen.dtype)

    def _soften(self) -> None:
        """Take log-softmax in float32: with the 8 bits of bfloat16, in which `hf` leaves it, options tie with each other."""
        lm: Any = self
        if lm.softmax_dtype is None and _is_half(self.dtype):
            lm.softmax_dtype = torch.float32

    def _choose(self) -> Chosen:
        chosen = choose(str(self.device))
        if _is_half(chosen.dtype):
            refuse_codes(self.model, self.model_name)
        if all(is_plain(parameter) for parameter in self.model.parameters()):
            narrow(self.model, torch.float32)  # a model that was given, not named, has a dtype of its own
        return chosen

    @property
    def max_length(self) -> int:
        """Tokens that the model takes: as given, else what its config says by whatever name, else as `hf` has it."""
        if self._max_length:
            return int(self._max_length)
        found = longest_text(self.model.config)
        usual = int(super().max_length) if found is None else found
        return usual if usual > 0 else int(self._DEFAULT_MAX_LENGTH)  # XLNet says -1

    def _create_model(self, *args: Any, **kwargs: Any) -> None:
        """As `hf` does, but a checkpoint that is not whole is refused, and one of images and text that has no causal class is loaded too."""
        lm: Any = self
        auto = lm.AUTO_MODEL_CLASS
        known = getattr(lm.config, "model_type", None) in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
        lm.AUTO_MODEL_CLASS = Whole(auto if known else auto_class(lm.config))
        try:
            with whole_adapter(self.names.peft):
                super()._create_model(*args, **kwargs)
        finally:
            lm.AUTO_MODEL_CLASS = auto

    def _create_tokenizer(self, *args: Any, **kwargs: Any) -> None:
        try:
            super()._create_tokenizer(*args, **kwargs)
        except Exception as error:  # its library raises Exception itself
            raise UsageError(no_tokenizer(self.model_name, error)) from error

    def look(self, targets: Sequence[str] = (), exclude: Sequence[str] = ()) -> Loaded:
        """What the model is before anything is done to it; its adapters are folded into its weights, and what its manifest wants rounded
        while it runs is.

        Raises:
            UsageError: weights that are NaN or infinite, or a damaged manifest.
        """
        refuse_unfinite_model(self.model, self.model_name)
        model, loaded = look(self.model, self.names, targets, exclude)
        if model is not self.model:
            self._model = model
        if Running.of(loaded.manifest):  # believed: weights cannot hold it, so it begins again
            found = find_targets(self.model, loaded.targets, loaded.exclude)
            warnings = resume(self.model, loaded.manifest, found)
            loaded = replace(loaded, warnings=(*loaded.warnings, *warnings))
        return loaded

    def fill(self, given: Mapping[str, Any], leave: bool) -> None:
        """Note what stands for the arguments that were not given; a model that is left as it is has no method."""
        self.filled = {**JunkDNALM.defaults(given), "method": NONE} if leave else self.defaults(given)

    @classmethod
    def defaults(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments filled in where the user gave none, if the model is dense."""
        return {} if given.get("pretrained") is not None else {"pretrained": EMBEDDED}

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
        from lm_eval.utils import handle_arg_string

        with exit_on_usage_error():
            # In place: this is the dictionary that lm-eval prints above its table and writes into the results.
            restore_names(arg_dict, handle_arg_string)
            lm = cls.made(arg_dict, additional_config)
        bars_as_ours()
        end_lm_eval_with_a_sentence()
        return lm

    @classmethod
    def made(cls, arguments: dict[str, Any], additional_config: dict[str, Any] | None = None) -> Any:
        """The model, for programs; what was filled in is added to `arguments`.

        Raises:
            UsageError: an argument, or a model, that cannot be used.
        """
        cls.check_arguments(arguments)
        refuse_twice(arguments, additional_config or {})
        lm = super().create_from_arg_obj(arguments, additional_config)
        arguments.update(lm.filled)
        return lm

    @classmethod
    def create_from_arg_string(cls, arg_string: str, additional_config: dict[str, Any] | None = None) -> Any:
        """The same for `k=v,k=v`."""
        from lm_eval.utils import simple_parse_args_string

        return cls.create_from_arg_obj(simple_parse_args_string(arg_string), additional_config)

    def get_model_info(self) -> dict[str, Any]:
        """lm-eval's facts about the model, and the `junkdna` block."""
        return {**super().get_model_info(), "junkdna": self.junkdna}

    def set_cache_hook(self, cache_hook: Any) -> None:
        """Join the cache of `lm_eval --use_cache`, of which this model sees the answers that are its own."""
        super().set_cache_hook(KeyedHook(cache_hook, lambda: fingerprint(self)))

    def check_answers(self, answers: Sequence[tuple[float, bool]]) -> None:
        """Refuse answers that are not numbers.

        Raises:
            UsageError: one is not.
        """
        refuse_unfinite_answers([value for value, _ in answers])

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """(log-likelihood of the continuation, whether it is the greedy one) per request.

        Raises:
            UsageError: one is no number, or all are minus infinity.
            TaskRefused: an answer comes to no token, or is longer than all that the model takes.
        """
        self._asked = requests
        try:
            answers: list[Answer] = super().loglikelihood(requests, disable_tqdm=disable_tqdm)
        finally:
            self._asked, self._in_chat = (), False
        refuse_impossible_answers([value for value, _ in answers])
        return answers

    def _loglikelihood_tokens(self, requests: list[Request], *args: Any, **kwargs: Any) -> list[Answer]:
        if self._asked:
            asked, self._asked = self._asked, ()
            self.note_lengths(asked, requests)
        return super()._loglikelihood_tokens(requests, *args, **kwargs)

    def apply_chat_template(self, chat_history: Any, add_generation_prompt: bool = True) -> str:
        """The turns of a chat as one prompt; where the template opens the answer itself, that is said."""
        apply = super().apply_chat_template
        if not self._in_chat:
            self._in_chat = True
            if opening := answer_opening(apply):
                self.junkdna[OPENING] = opening
                self.tell(f"warning: {note_on_opening(opening)}")
        text: str = apply(chat_history, add_generation_prompt=add_generation_prompt)
        return text

    def note_lengths(self, asked: Sequence[Any], tokenized: Sequence[Request]) -> None:
        """Say in the `junkdna` block, and on stderr, in how many items the options are of unequal length in tokens.

        Raises:
            TaskRefused: an answer comes to no token, or is longer than all that the model takes.
        """
        refuse_impossible_continuations(asked, tokenized, self.max_length, self.model_name)
        if self._in_chat and continues_a_text(asked):
            self.tell(f"warning: {CONTINUED}")
        found = option_lengths(asked, (tokens for _, _, tokens in tokenized))
        self.junkdna = {name: value for name, value in self.junkdna.items() if name != OPTION_LENGTHS}
        if found:
            self.junkdna[OPTION_LENGTHS] = found
            self.tell(f"note: {note_on_lengths(found)}")

    @property
    def described(self) -> str:
        """The model and what was done to it."""
        return run_of(self.junkdna) if "effective_bits" in self.junkdna else self.model_name

    def say(self, sentence: str) -> None:
        """A note on stderr."""
        self.tell(f"note: {sentence}")

    def tell(self, sentence: str) -> None:
        """A line on stderr, from one of several processes."""
        if self.rank == 0:
            tell(self.NAME, sentence)

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """The texts that follow the contexts.

        Raises:
            TaskRefused: a task wants as many tokens as the model takes in all, so that nothing is left for the question.
        """
        refuse_long_generations(requests, self.max_length, self.max_gen_toks, self.model_name, self.INSTEAD)
        texts: list[str] = super().generate_until(requests, disable_tqdm=disable_tqdm)
        return texts

    def token_scores(
        self, requests: list[Any], disable_tqdm: bool = False, size: Callable[[int], int] = int
    ) -> list[TokenScore]:
        """(1.0 where it is the likeliest, margin, loss) of each token of a text that is requested (`difficulty_tiers_text`).

        Raises:
            UsageError: an answer is not a number.
            TaskRefused: the model has other tokens than the task was built with, or takes fewer than a window's.
        """
        answers = token_scores(self, requests, size)
        refuse_unfinite_answers([-loss for _, _, loss in answers])
        return answers

    def _model_generate(self, context: Any, max_length: int, stop: list[str], **options: Any) -> Any:
        refuse_unknown_tokens(self.model_name, int(context.max()), self.model)
        given = options.get("logits_processor") or []
        options["logits_processor"] = LogitsProcessorList([*given, RefuseNaN()])
        return super()._model_generate(context, max_length, stop, **options)


def _is_half(dtype: str) -> bool:
    return dtype in ("bfloat16", "float16")


def _refuse_sharding(arguments: dict[str, Any]) -> None:
    if arguments.get("tp_plan") is not None:
        raise UsageError(
            f"tp_plan={arguments['tp_plan']!r} shards each weight over processes, and what is compressed and hashed here are "
            "whole weights. Leave it out; parallelize=True puts whole layers on several devices."
        )


def _lay_out(arguments: dict[str, Any]) -> None:
    """`hf` reads device_map where parallelize is set alone: without it the whole model went to one device, without a word."""
    if arguments.get("device_map") is None:
        return
    arguments["device_map"] = usable_map(arguments["device_map"])
    arguments["parallelize"] = arguments["device_map"] is not None


def _names(pretrained: Any, arguments: dict[str, Any]) -> tuple[Names, Any]:
    """By what the model is called, and what `hf` is to load; an adapter's folder becomes `peft` on its model."""
    if pretrained is not None and not isinstance(pretrained, str):
        name = getattr(pretrained.config, "_name_or_path", "") or type(pretrained).__name__
        return Names(str(name), plain=False), pretrained
    name = pretrained or EMBEDDED
    if arguments.get("peft") is None and (base := base_of_adapter(name)):
        arguments["peft"], name = name, base
    peft, delta = arguments.get("peft"), arguments.get("delta")
    if delta is not None:
        arguments["delta"] = resolve_pretrained(delta)
    plain = not arguments.get("gguf_file") and delta is None and not arguments.get("subfolder")
    return Names(
        name, peft, delta, plain, arguments.get("revision"), arguments.get("gguf_file")
    ), resolve_pretrained(name)


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
