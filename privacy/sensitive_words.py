"""The words by which something that must not be inferred is named, in English and Chinese: a file of the package.

They propose which lines to mark, and they are what a question is held against.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from types import MappingProxyType
from typing import Any, Final

from privacy.strict_yaml import read_document

__all__ = ["Lexicon", "lexicons", "named_in", "plain"]

_HUMP: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_NO_WORD: Final = re.compile(r"[\W_]+")
_LONG_ENOUGH: Final = 6
"""A word of so many letters is also found where they are written apart; shorter ones would be found by chance."""


@dataclass(frozen=True)
class Lexicon:
    """One attribute's words, compiled; `always` says whether asking for it is refused in every shop."""

    attribute: str
    always: bool
    words: re.Pattern[str]
    letters: re.Pattern[str]
    exceptions: re.Pattern[str] | None

    def finds(self, text: str, *, disguised: bool = False) -> bool:
        """Say whether `text` holds one of the words; with `disguised` also when its letters are written apart."""
        told = plain(text)
        if self.exceptions is not None:
            told = self.exceptions.sub(" ", told)
        return bool(self.words.search(told) or (disguised and self.letters.search(told.replace(" ", ""))))


def plain(text: str) -> str:
    """Return `text` as words apart: NFKC without accents, lower case, one blank for what is neither letter nor digit.

    >>> plain("InfantFormula_2：ＤＩＡＰＥＲＳ"), plain("ínfänt")
    ('infant formula 2 diapers', 'infant')
    """
    # Taken apart first: an accent that has become part of its letter would make it another word.
    normal = unicodedata.normalize("NFKD", text)
    kept = "".join(mark for mark in normal if unicodedata.category(mark) not in {"Cf", "Mn", "Me"})
    return _NO_WORD.sub(" ", _HUMP.sub(" ", kept)).casefold().strip()


def lexicons() -> Mapping[str, Lexicon]:
    """Return every attribute's words by its name.

    >>> sorted(lexicons())
    ['alcohol', 'health', 'infant', 'intimate', 'religion', 'tobacco']
    """
    return _read()


def named_in(text: str, *, disguised: bool = False) -> tuple[str, ...]:
    """Return the attributes that `text` names or gives away, in order.

    >>> named_in("BABY DIAPERS"), named_in("baby carrots"), named_in("新生儿家庭")
    (('infant',), (), ('infant',))
    >>> named_in("n.e.w.b.o.r.n", disguised=True)
    ('infant',)
    """
    found = lexicons().items()
    asked = plain(text).replace(" ", "")
    return tuple(name for name, words in found if words.finds(text, disguised=disguised) or asked == name)


@lru_cache(maxsize=1)
def _read() -> Mapping[str, Lexicon]:
    loaded, _ = read_document(resources.files("privacy").joinpath("sensitive_words.yaml").read_bytes())
    if not isinstance(loaded, dict):
        raise ValueError("sensitive_words.yaml is no mapping")
    return MappingProxyType({name: _lexicon(name, told) for name, told in sorted(loaded.items())})


def _lexicon(name: str, told: Mapping[str, Any]) -> Lexicon:
    english, chinese = [str(word) for word in told["en"]], [str(word) for word in told["zh"]]
    bare = [word.rstrip("*").replace(" ", "") for word in english]
    letters = [re.escape(word) for word in bare if len(word) >= _LONG_ENOUGH] + [re.escape(word) for word in chinese]
    exceptions = [str(phrase) for phrase in told["except"]]
    return Lexicon(
        attribute=name,
        always=bool(told["always"]),
        words=_pattern(english, chinese),
        letters=re.compile("|".join(letters)),
        exceptions=_pattern(exceptions, ()) if exceptions else None,
    )


def _pattern(english: Sequence[str], anywhere: Sequence[str]) -> re.Pattern[str]:
    parts = [re.escape(word) for word in anywhere]
    for word in english:
        if not word.isascii():
            parts.append(re.escape(word))
        elif word.endswith("*"):
            parts.append(rf"(?<![a-z0-9]){re.escape(word[:-1])}[a-z]*")
        else:
            parts.append(rf"(?<![a-z0-9]){re.escape(word)}(?:e?s)?(?![a-z0-9])")
    return re.compile("|".join(parts))
