"""Scores on scales that can be compared: above chance, relative to dense, and latent."""

from __future__ import annotations

import numpy as np
from scipy import special

from difficulty.stats.result import Floats

# A logistic variable is close to a normal one of this standard deviation (Johnson & Kotz 1970): probits to log-odds.
PROBIT_TO_LOGIT = 1.702
# A Gumbel variable has a standard deviation of pi / sqrt 6: brought to that of the probit.
GUMBEL_TO_LOGIT = PROBIT_TO_LOGIT * float(np.sqrt(6)) / float(np.pi)


def above_chance(score: Floats, chance: Floats) -> Floats:
    """Chance-corrected score, (score - chance) / (1 - chance): 0 = guessing, 1 = perfect; below chance is negative."""
    corrected: Floats = (score - chance) / (1 - chance)
    return corrected


def retention(score: Floats, dense: Floats, chance: Floats) -> Floats:
    """Share of the dense model's score above chance that is left, (score - chance) / (dense - chance).

    NaN where the dense score is not above chance.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        kept: Floats = np.where(dense > chance, (score - chance) / (dense - chance), np.nan)
    return kept


def latent_from_accuracy(accuracy: Floats, chance: Floats, n: Floats, link: str) -> Floats:
    """Log-odds scale position of a tier whose items answer right with `accuracy`, guessing with `chance`.

    The accuracy above chance, moved to (n p + 1/2) / (n + 1) and so kept off 0 and 1 (Haldane 1955; nearly unbiased for
    the logit), goes through a link: "probit", "cloglog" log(-log(1 - p)), or "loglog" -log(-log p), each brought to the
    spread of log-odds. Equal shifts of a latent margin are equal on the link that is its distribution's: normal, or skewed to
    the left or to the right (Gumbel).
    Reference: McCullagh & Nelder 1989, section 4.3.1; Johnson & Kotz 1970 (1.702).
    """
    corrected = (n * np.clip(above_chance(accuracy, chance), 0.0, 1.0) + 0.5) / (n + 1)
    if link == "probit":
        return np.asarray(PROBIT_TO_LOGIT * special.ndtri(corrected))
    if link == "cloglog":
        return np.asarray(GUMBEL_TO_LOGIT * np.log(-np.log1p(-corrected)))
    if link == "loglog":
        return np.asarray(-GUMBEL_TO_LOGIT * np.log(-np.log(corrected)))
    raise ValueError(f"link {link!r} is none of 'probit', 'cloglog' and 'loglog'.")
