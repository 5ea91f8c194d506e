"""How much text of a language there is: sizes in the CC-100 web corpus, the axis from majority to minority languages.

Source: dataset card of statmt/cc100 (Conneau et al. 2020, Unsupervised Cross-lingual Representation Learning at Scale;
Wenzek et al. 2020, CCNet), sizes of the compressed files. A model's own training data may differ; the order of
magnitudes rarely does.
"""

from __future__ import annotations

from collections.abc import Mapping

# language -> (its code in Belebele and FLORES-200, compressed gigabytes in CC-100)
CC100_GIGABYTES: Mapping[str, tuple[str, float]] = {
    "English": ("eng_Latn", 82.0),
    "German": ("deu_Latn", 18.0),
    "Spanish": ("spa_Latn", 14.0),
    "French": ("fra_Latn", 14.0),
    "Danish": ("dan_Latn", 12.0),
    "Bulgarian": ("bul_Cyrl", 9.3),
    "Dutch": ("nld_Latn", 7.9),
    "Italian": ("ita_Latn", 7.8),
    "Arabic": ("arb_Arab", 5.4),
    "Czech": ("ces_Latn", 4.4),
    "Catalan": ("cat_Latn", 2.4),
    "Bengali": ("ben_Beng", 0.86),
    "Afrikaans": ("afr_Latn", 0.305),
    "Amharic": ("amh_Ethi", 0.133),
    "Assamese": ("asm_Beng", 0.0076),
}

# One language for each step of about a factor of seven, all in the Latin alphabet, so that a tier is not a script.
TIERS: tuple[str, ...] = ("English", "German", "Catalan", "Afrikaans")
