"""Numbers from one to ten in languages with a large to a tiny share of the text on the web."""

from __future__ import annotations

from functools import cache
from random import Random

from difficulty.graded.item import Family, Item
from difficulty.graded.words import read_words

ENGLISH = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
OPTIONS = 4
LEVELS = (1, 2, 3, 4, 5, 6, 7, 8)

# No worked examples: with four of the same language, SmolLM2-135M was near chance in tier 3.
_FRAMES = (
    'Numbers in {language}: "{word}" means the number "',
    'In {language}, "{word}" means the number "',
    '{language} numbers from one to ten: "{word}" means the number "',
    'The {language} word "{word}" means the number "',
)


@cache
def languages(level: int) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The languages of a level, each with its words for one to ten."""
    rows = read_words("number_words")  # level, language, share of web text, the ten words
    return tuple((language, tuple(words)) for of_level, language, _, *words in rows if int(of_level) == level)


def _draw(rng: Random, level: int) -> Item:
    language, words = rng.choice(languages(level))
    options = rng.sample(range(len(ENGLISH)), OPTIONS)
    asked = rng.choice(options)
    prompt = rng.choice(_FRAMES).format(language=language, word=words[asked])
    return Item(
        prompt,
        ENGLISH[asked],
        tuple(ENGLISH[number] for number in options),
        cluster=f"{language}/{ENGLISH[asked]}",
    )


NUMBER_WORDS = Family(
    name="number_words",
    axis="language_share",
    axis_label="band of languages, largest share of web text first",
    levels=LEVELS,
    draw=_draw,
    chance=lambda level: 1 / OPTIONS,
    lowest=LEVELS[0],
    highest=LEVELS[-1],
    description="Say which number from one to ten a word of another language is, out of four in English.",
)
