"""One spelling for text from many sources: lower case, plain quotes, no space before punctuation. Knows nothing of tokens.

Corpora differ in casing, in spaces around punctuation and in how they write contractions. Models of this project read and
write the one form made here. `printable` alone is for people: what a terminal shows of any text.
"""

from __future__ import annotations

import re
import unicodedata

_QUOTES = str.maketrans(
    {"\u2018": "'", "\u2019": "'", "\u02bc": "'", "`": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "-"}
)
_SPACE = re.compile(r"\s+")
_BEFORE_PUNCTUATION = re.compile(r" +([.,!?;:)\]%]|\.\.\.)")
_AFTER_OPENING = re.compile(r"([(\[$]) +")
_SPLIT_CONTRACTION = re.compile(r"\b(\w+) (n't|'(?:s|m|re|ve|ll|d))\b")
_REPEATED_PUNCTUATION = re.compile(r"([.!?])(?: ?\1){3,}")

# Persona-Chat releases differ in this alone: some spell contractions out. Only forms with one reading are listed.
_CONTRACTIONS: tuple[tuple[re.Pattern[str], str], ...] = (
    tuple(
        (re.compile(rf"\b{long}\b(?! *[.?!,]|$)"), short)
        for long, short in (
            ("i am", "i'm"),
            ("i have(?= (?:been|got|never|always|had))", "i've"),
            ("i will", "i'll"),
            ("i would", "i'd"),
            ("you are", "you're"),
            ("we are", "we're"),
            ("they are", "they're"),
            ("it is", "it's"),
            ("that is", "that's"),
            ("what is", "what's"),
            ("he is", "he's"),
            ("she is", "she's"),
            ("there is", "there's"),
        )
    )
    + tuple(
        (re.compile(rf"\b{verb} not\b"), f"{verb}n't")
        for verb in ("do", "does", "did", "is", "are", "was", "were", "have", "has", "had", "would", "could", "should")
    )
    + ((re.compile(r"\b(?:can not|cannot)\b"), "can't"), (re.compile(r"\bwill not\b"), "won't"))
)


def normalise(text: str) -> str:
    """The project's spelling of a text.

    Lower-cases, folds typographic quotes and dashes, removes control characters, squeezes white space, attaches punctuation
    ("hi , there !" -> "hi, there!") and rejoins split contractions ("do n't" -> "don't"). Words stay as they are.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    text = text.translate(_QUOTES).lower()
    if not text.isprintable():
        text = "".join(" " if unicodedata.category(char)[0] == "C" and char != "\u200d" else char for char in text)
    text = _SPACE.sub(" ", text).strip()
    text = _BEFORE_PUNCTUATION.sub(r"\1", text)
    text = _AFTER_OPENING.sub(r"\1", text)
    text = _SPLIT_CONTRACTION.sub(r"\1\2", text)
    return _REPEATED_PUNCTUATION.sub(r"\1\1\1", text)


def contract(text: str) -> str:
    """Contracts what is spelled out ("i am a nurse" -> "i'm a nurse"); for lower-case text; the grammar uses it."""
    for pattern, short in _CONTRACTIONS:
        text = pattern.sub(short, text)
    return text


def printable(text: str) -> str:
    """The text on one line, with a mark in place of every character that a terminal would obey instead of show."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in " ".join(text.split()))
