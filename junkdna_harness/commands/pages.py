"""What the help of each verb shows beside its own words: its place among the verbs, options in groups, examples, its page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

EVALUATE, COMPRESS, JUDGE, SHOW, GATE, SET_UP = (
    "Evaluate", "Compress", "Judge", "Show", "Pass or fail, in CI", "Set up",
)  # fmt: skip
RUNS, OUTPUT, MODEL, MACHINE, TASKS = (
    "Which runs", "Output", "The model", "Machine (changes no score)", "Evaluation, as in lm_eval",
)  # fmt: skip


@dataclass(frozen=True)
class Page:
    """`room`: the verbs among which it stands; none of a sub-command. `panels`: heading -> parameters; those that stand in none keep their own heading."""

    room: str
    docs: str
    examples: tuple[str, ...]
    panels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def epilog(self) -> str:
        """What stands below the options."""
        head = ["Examples:" if len(self.examples) > 1 else "Example:"] if self.examples else []
        return "\n\n".join([*head, *self.examples, f"More: docs/{self.docs}.md"])

    def paragraphs(self, text: str) -> str:
        """A docstring with each paragraph on a line of its own, which the terminal breaks; `[word]` is no markup there."""
        return "\n\n".join(literal(" ".join(part.split())) for part in text.split("\n\n"))

    def arrange(self, params: list[Any]) -> None:
        """Put options under their headings, in the order of the table, and arguments in capitals."""
        heading = {name: panel for panel, names in self.panels.items() for name in names}
        place = {name: number for number, name in enumerate(heading)}
        for param in params:
            if param.help:
                param.help = literal(param.help)
            if param.param_type_name == "argument":
                param.metavar = param.metavar or param.name.upper()
                continue
            if param.multiple:
                param.metavar = param.metavar or "<str>"  # that it may be repeated stands in its help
            param.rich_help_panel = heading.get(param.name, getattr(param, "rich_help_panel", None))
        params.sort(
            key=lambda param: (param.param_type_name != "argument", place.get(param.name, len(place)))
        )


def literal(text: str) -> str:
    """Text for rich, to which `[word]` would be a style."""
    return re.sub(r"(?<!\\)\[(?=[a-z#/@])", r"\\[", text)


WRITTEN = ("output", "force", "dry_run")
LOADED = ("dtype", "device", "revision", "gguf_file", "trust_remote_code")
RUNNING = ("activations", "activation_scale", "kv_bits", "kv_group_size", "kv_tokens")
SAMPLE = ("calibration", "nsamples", "seqlen")
ALLOWED = ("policy", "max_drop", "max_relative_drop", "by", "alpha", "inconclusive", "metric", "lower_is_better", "higher_is_better", "noise_floor")  # fmt: skip
REPORTED = ("json_file", "junit_xml", "everything")
PROMPTS = ("tasks", "limit", "num_fewshot", "seed", "apply_chat_template", "fewshot_as_multiturn", "system_instruction", "include_path", "metadata", "allow_different_prompts")  # fmt: skip

PAGES: dict[str, Page] = {
    "sweep": Page(
        EVALUATE, "sweep",
        ("junkdna sweep --methods wanda --sparsity .5 --tasks difficulty_tiers -o runs", "junkdna sweep export runs logs"),
        {
            "What to compress, and how much": ("model_args", "methods", "sparsity", "patterns", "quantize", "replicates", "match_loss", "refine", "refine_levels", "one_shot", "dtype"),
            TASKS: (*PROMPTS, "noise_floor"),
            "Perplexity of texts": ("text", "window", "surprisal_from"),
            MACHINE: ("batch_size", "max_batch_size", "device", "engine", "workers", "no_prefix_cache"),
            OUTPUT: ("output", "extend", "dry_run"),
        },
    ),
    "sweep export": Page("", "sweep", ("junkdna sweep export runs logs",)),
    "fidelity": Page(
        EVALUATE, "fidelity", ("junkdna fidelity pruned --limit 500", "junkdna fidelity --quantize rtn:8,4 --limit 500"),
        {
            "What is compared, on which text": ("against", "text", "tasks", "include_path"),
            "How the text is seen": ("window", "layout", "documents", "limit", "by_bytes"),
            OUTPUT: ("worst", "json_file", "html", "plots", "tokens", "cache"),
            "Machine": ("device", "dtype", "batch_size"),
        },
    ),
    "study": Page(
        EVALUATE, "recovery", ("junkdna study --dry-run", "junkdna study --quick"),
        {
            "The plan": ("plan", "quick", "limit", "text", "dtype", "calibration", "replicates"),
            "Trainings": ("steps", "lr", "data", "recovery_levels", "fractions", "seeds", "trainings"),
            MACHINE: ("engine", "workers", "device", "batch_size"),
            OUTPUT: ("output", "against", "dry_run"),
        },
    ),
    "lm-eval": Page(EVALUATE, "wrappers", ("junkdna lm-eval --model junkdna-pruned --tasks difficulty_tiers --limit 20",)),
    "tiers": Page(EVALUATE, "tiers", ()),
    "tiers build": Page(
        "", "tiers", ("junkdna tiers build --task difficulty_tiers_names_t1 --by context_length -o t",),
        {
            "Which task": ("task", "include_path", "allow_duplicates"),
            "What makes an item hard": ("by", "harder", "scores", "cross_fit", "metric", "seed"),
            "Where tiers end": ("bins", "cuts", "order", "min_items"),
            OUTPUT: ("output", "name", "plot", "force", "dry_run"),
        },
    ),
    "tiers show": Page("", "tiers", ("junkdna tiers show t",)),
    "prune": Page(
        COMPRESS, "compression", ("junkdna prune --sparsity 0.5 --output pruned", "junkdna prune --method wanda --pattern 2:4 --bits 4 --output small"),
        {
            "What to remove": ("method", "sparsity", "pattern", "scope", "allocation", "criterion", "targets", "exclude", "seed", "mask", "save_mask"),
            "Calibration": SAMPLE,
            "Quantize what is left": ("bits", "quantizer", "group_size", "symmetric", "act_order", "scheme"),
            "Rounded while the model runs": RUNNING,
            MODEL: LOADED,
            OUTPUT: (*WRITTEN, "recipe"),
        },
    ),
    "quantize": Page(
        COMPRESS, "compression", ("junkdna quantize --bits 4 --output int4", "junkdna quantize pruned --method gptq --bits 4 --output small4"),
        {
            "How to round": ("method", "bits", "group_size", "symmetric", "act_order", "scheme", "targets", "exclude"),
            "Calibration": (*SAMPLE, "seed"),
            "Rounded while the model runs": RUNNING,
            MODEL: LOADED,
            OUTPUT: (*WRITTEN, "recipe"),
        },
    ),
    "recover": Page(
        COMPRESS, "recovery", ("junkdna recover --sparsity 0.7 --steps 20 --output recovered",),
        {
            "What is trained, on what": ("arm", "data", "fraction", "include_path", "freeze"),
            "How to prune first": ("method", "sparsity", "pattern", "mask", "calibration", "mask_seed"),
            "Training": ("steps", "batch_size", "lr", "seed", "max_length", "early_stop", "save_every", "name_by", "trainer", "trainer_config"),
            "Adapters": ("adapter", "rank", "merge"),
            OUTPUT: WRITTEN,
        },
    ),
    "inspect": Page(COMPRESS, "compression", ("junkdna inspect pruned",)),
    "fit": Page(
        JUDGE, "statistics", ("junkdna fit runs --claims P2", "junkdna fit runs --claims P2 --json verdicts.json"),
        {
            RUNS: ("baseline", "model", "label", "allow_missing", "allow_different_prompts"),
            "What is judged": ("claims", "family", "metric", "no_margins", "prereg"),
            "The rules": ("alpha", "delta", "delta_rise", "delta_tier", "delta_latent", "delta_level", "resamples", "seed"),
            OUTPUT: ("every", "json_file", "csv_file", "cells_file", "budgets_file"),
        },
    ),
    "compare": Page(
        JUDGE, "tiers", ("junkdna compare logs/dense logs/wanda_0.5",),
        {
            RUNS: ("name_a", "name_b", "task", "metric", "label", "allow_different_prompts"),
            "Split by difficulty": ("by", "bins", "cuts", "order", "min_items"),
            OUTPUT: ("json_file",),
        },
    ),
    "report": Page(
        SHOW, "report", ("junkdna report runs --by family", "junkdna report runs --html report.html"),
        {
            RUNS: ("select", "metric", "label", "allow_different_prompts"),
            "Tables": ("by", "sort", "seed"),
            OUTPUT: ("markdown", "csv", "latex", "latex_form", "html", "all_documents", "plots", "theme"),
        },
    ),
    "show": Page(SHOW, "report", ("junkdna show runs --run 'embedded wanda 0.5'",)),
    "table": Page(SHOW, "logs", ("junkdna table runs --output runs.parquet",)),
    "label": Page(SHOW, "logs", ("junkdna label logs/wanda_0.5 --method wanda --sparsity 0.5",)),
    "check": Page(
        GATE, "gate",
        (
            "junkdna check runs --run 'embedded dense' --write-baseline baseline.json",
            "junkdna check runs --run 'embedded wanda 0.5' --against baseline.json",
        ),
        {
            RUNS: ("against", "run", "baseline_run", "fidelity", "label", "allow_different_prompts"),
            "What may be lost": ALLOWED,
            OUTPUT: ("write_baseline", "write_policy", "validate", *REPORTED),
        },
    ),
    "gate": Page(
        GATE, "gate", ("junkdna gate pruned --against baseline.json --max-items 200",),
        {
            RUNS: ("against", "baseline_run", "label", "wrapper", "model_args"),
            "What may be lost": ALLOWED,
            "How many items": ("max_items", "every_rule", "seed"),
            "How items are asked (default: as in the baseline)": tuple(name for name in PROMPTS if name != "seed"),
            "Machine": ("batch_size", "device"),
            OUTPUT: ("out", *REPORTED),
        },
    ),
    "power": Page(
        GATE, "gate", ("junkdna power --tasks difficulty_tiers --max-drop 0.02", "junkdna power --baseline baseline.json"),
        {
            "Which items": ("tasks", "limit", "include_path", "baseline", "noise_floor", "discordance"),
            "What may be lost": tuple(name for name in ALLOWED if name != "noise_floor"),
            OUTPUT: ("json_file",),
        },
    ),
    "doctor": Page(SET_UP, "wrappers", ("junkdna doctor",)),
    "tasks-dir": Page(SET_UP, "tiers", ("junkdna tasks-dir",)),
}  # fmt: skip
