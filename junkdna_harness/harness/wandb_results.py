"""Results as `lm_eval --wandb_args` logs them: by lm-eval's own logger, on a run that is there already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def log_results(run: Any, results: Mapping[str, Any]) -> None:
    """Log lm-eval's `results` to a run of wandb: config, every metric, the tables, and all as a file.

    Its logger takes the run of the process, or makes one; a sweep has one for each of its runs, so it is given it.
    """
    from lm_eval.loggers import WandbLogger

    logger = WandbLogger.__new__(WandbLogger)
    logger.run, logger.step = run, None
    logger.wandb_args, logger.wandb_config_args = {}, {}
    logger.post_init(dict(results))
    logger.log_eval_result()
