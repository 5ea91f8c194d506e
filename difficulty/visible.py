"""Text whose control characters can be seen and do nothing: `\\x1b` for an escape, `\\u202e` for a change of direction.

Names come from logs that others wrote. In a terminal, control characters in them move the cursor, set the title of the window or hide
a line; changes of direction (bidi) and invisible characters make a name look like another. They are shown as Python and git show
them, never dropped: what was dropped could not be told apart. Ordinary text of all languages stays as it is, with the joiners that
it needs: between emoji, after a virama, between letters of joined scripts. https://www.unicode.org/reports/tr36/, /tr31/, /tr51/.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable

# Control characters but line break and tab; marks and changes of direction; what takes up no room, and what no text may hold.
_ALWAYS = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164"
    "\ud800-\udfff\ufdd0-\ufdef\ufeff\uffa0\ufff9-\ufffb\ufffe\uffff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"
    + "".join(chr(plane << 16 | last) for plane in range(1, 17) for last in (0xFFFE, 0xFFFF))
)
_SELECTORS = "\ufe00-\ufe0f\U000e0100-\U000e01ef\u180b-\u180d\u180f"  # they choose between two drawings
_JOINERS = "\u200c\u200d"
# Marks above and below a letter: no language needs more than a few, and hundreds of them paint over the lines around.
_MARKS = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u06d6-\u06ed\u0730-\u074a\u07eb-\u07f3\u0816-\u082d"
    "\u0859-\u085b\u08ca-\u08ff\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20f0\ufe20-\ufe2f"
)
MOST_MARKS = 6
_FLAGS = "|".join(  # the three flags that are spelt with tags: England, Scotland, Wales
    "\U0001f3f4" + "".join(chr(0xE0000 + ord(letter)) for letter in name) + "\U000e007f"
    for name in ("gbeng", "gbsct", "gbwls")
)
_PLAIN = re.compile(r"[\n\t\x20-\x7e]*\Z")
_SUSPECT = re.compile(
    f"(?P<flag>{_FLAGS})|(?P<always>[{_ALWAYS}])|(?P<selector>[{_SELECTORS}])|(?P<joiner>[{_JOINERS}])"
    f"|(?P<marks>[{_MARKS}]{{{MOST_MARKS + 1},}})"
)
# Letters that are joined to their neighbours: Arabic, Syriac, N'Ko, Mandaic, Mongolian, Phags-pa, Arabic forms.
_JOINED = re.compile(
    "[\u0620-\u085f\u0860-\u08ff\u1807-\u18aa\ua840-\ua872\ufb50-\ufdcf\ufdf0-\ufdff\ufe70-\ufefc]"
)
_VIRAMA = 9  # its canonical combining class
_ESCAPED = re.compile(r"\\(?:\\|x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8}))")


def visible(text: str) -> str:
    """`text` with every character that is invisible or acts on a terminal written as an escape; line breaks and tabs stay.

    Applied twice it changes nothing more.

    >>> print(visible("t\\x1b[31m"), visible("a\\u202eb"), visible("naïve"))
    t\\x1b[31m a\\u202eb naïve
    """
    return _sub(text, _escape)


def visible_json(text: str) -> str:
    """JSON with the same characters written as JSON writes them (`\\u202e`), so that its values are the same."""
    return _sub(text, lambda part: "".join(f"\\u{unit:04x}" for unit in _units(part)))


def reversible(text: str) -> str:
    """`visible`, from which `restored` makes the text again: no two texts become one. For files that are read again."""
    shown = visible(text)
    if shown == text and not _ESCAPED.search(text):
        return text
    return visible(text.replace("\\", "\\\\"))


def restored(text: str) -> str:
    """The text that `reversible` was given."""
    if "\\" not in text:
        return text
    return _ESCAPED.sub(
        lambda m: chr(int(code, 16) % 0x110000) if (code := "".join(filter(None, m.groups()))) else "\\", text
    )


def look_alikes(names: Iterable[str]) -> list[list[str]]:
    """Groups of different names that look the same: in another normal form, with other blanks or with invisible characters.

    >>> [list(map(ascii, group)) for group in look_alikes(["caf\\u00e9", "cafe\\u0301", "cafe"])]
    [["'cafe\\\\u0301'", "'caf\\\\xe9'"]]
    """
    groups: dict[str, set[str]] = {}
    for name in names:
        groups.setdefault(_seen(name), set()).add(name)
    return [sorted(group) for group in groups.values() if len(group) > 1]


def _seen(name: str) -> str:
    """What an eye may take a name for."""
    bare = re.sub(f"[{_ALWAYS}{_SELECTORS}{_JOINERS}]", "", restored(name))
    return " ".join(unicodedata.normalize("NFKC", bare).split())


def _sub(text: str, escape: Callable[[str], str]) -> str:
    if _PLAIN.match(text):
        return text
    return _SUSPECT.sub(lambda found: _shown(found, escape), text)


def _shown(found: re.Match[str], escape: Callable[[str], str]) -> str:
    part, text = found.group(), found.string
    before, after = text[max(0, found.start() - 1) : found.start()], text[found.end() : found.end() + 1]
    match found.lastgroup:
        case "flag":
            return part
        case "marks":
            return part[:MOST_MARKS] + escape(part[MOST_MARKS:])
        case "selector" if _drawn_in_two_ways(before, after):
            return part
        case "joiner" if _joins(part, before, after):
            return part
    return escape(part)


def _drawn_in_two_ways(before: str, after: str) -> bool:
    """True after a sign or a letter without case (of Chinese, Japanese, Mongolian), and within a keycap such as 1️⃣."""
    if not before or re.match(f"[{_SELECTORS}]", before):
        return False
    if before < "\x80":
        return before in "#*0123456789" and after == "\u20e3"
    return (
        unicodedata.category(before) in ("So", "Sm", "Po", "Pd", "Lo") or before == "\u2139"
    )  # ℹ️, a small letter


def _joins(joiner: str, before: str, after: str) -> bool:
    """True where a joiner changes how a word or an emoji is drawn."""
    if not before:
        return False
    if unicodedata.combining(before) == _VIRAMA:
        return True
    if after and unicodedata.combining(after) == _VIRAMA and unicodedata.category(before) == "Lo":
        return True
    joined = bool(_JOINED.match(before))
    if joiner == "\u200c":  # also where a foreign word takes an ending
        return bool(after) and bool(_JOINED.match(after)) and (joined or before.isalnum())
    if joined:
        return True
    emoji = (
        before == "\ufe0f" or "\U0001f3fb" <= before <= "\U0001f3ff" or unicodedata.category(before) == "So"
    )
    return emoji and bool(after) and unicodedata.category(after) in ("So", "Sm")  # 🙂‍↔️ ends in an arrow


def _escape(part: str) -> str:
    return "".join(
        f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
        for code in map(ord, part)
    )


def _units(part: str) -> list[int]:
    """The UTF-16 units of which JSON's escapes are made."""
    raw = part.encode("utf-16-be", "surrogatepass")
    return [int.from_bytes(raw[i : i + 2], "big") for i in range(0, len(raw), 2)]
