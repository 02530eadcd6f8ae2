"""How many ways a regular expression can try from one place, at most: read from its parse tree, not from a clock."""

from __future__ import annotations

import re._constants as op
import re._parser as parser
import string
from typing import Any

__all__ = ["ways"]

ALPHABET = frozenset(
    string.printable + "路街道号弄栋幢省市区县王李欧阳先生女士小姐年月日一二京A·•（）：，。挂学警港澳是为" + "é"
)
"""Signs that stand for all others."""
_REPEATS = (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT)


def ways(pattern: str) -> int:
    """An upper bound; ValueError for a repetition without an upper bound of its own.

    A repetition counts once where the next sign alone decides whether it goes on, so that going back finds nothing new,
    and at the end of the pattern, where nothing can fail any more.
    """
    return _ways(list(parser.parse(pattern)), frozenset(), may_fail=False)


def _ways(nodes: list[Any], follow: frozenset[str], may_fail: bool) -> int:
    """`follow`: the signs that may come next; `may_fail`: whether anything behind these nodes can turn back."""
    total = 1
    for at, (kind, value) in enumerate(nodes):
        if not may_fail and not any(_is_test(node) or not _nullable([node]) for node in nodes[at:]):
            break  # from here on the pattern has matched, and nothing makes it turn back
        rest = nodes[at + 1 :]
        after = _first(rest, follow)
        fails = may_fail or any(_is_test(node) or not _nullable([node]) for node in rest)
        if kind in (op.MAX_REPEAT, op.MIN_REPEAT):
            least, most, body = value
            if most == op.MAXREPEAT:
                raise ValueError("a repetition has no upper bound")
            inner = list(body)
            first = _first(inner, frozenset())
            forked = bool(first & after) or _nullable(inner)
            once = _ways(inner, first | after, may_fail=True)
            total *= once**most * (most - least + 1 if forked else 1) if fails else once
        elif kind is op.POSSESSIVE_REPEAT:  # never turned back into
            if value[1] == op.MAXREPEAT:
                raise ValueError("a repetition has no upper bound")
        elif kind is op.SUBPATTERN:
            total *= _ways(list(value[3]), after, fails)
        elif kind is op.BRANCH:
            total *= sum(_ways(list(branch), after, fails) for branch in value[1])
    return total


def _is_test(node: tuple[Any, Any]) -> bool:
    return node[0] in (op.ASSERT, op.ASSERT_NOT, op.AT)


def _nullable(nodes: list[Any]) -> bool:
    for kind, value in nodes:
        if kind in (op.LITERAL, op.NOT_LITERAL, op.IN, op.ANY):
            return False
        if kind in _REPEATS and value[0] > 0 and not _nullable(list(value[2])):
            return False
        if kind is op.SUBPATTERN and not _nullable(list(value[3])):
            return False
        if kind is op.BRANCH and not any(_nullable(list(branch)) for branch in value[1]):
            return False
    return True


def _first(nodes: list[Any], follow: frozenset[str]) -> frozenset[str]:
    """With what the nodes, or what follows them, can begin."""
    signs: frozenset[str] = frozenset()
    for node in nodes:
        kind, value = node
        if kind in _REPEATS:
            signs |= _first(list(value[2]), frozenset())
        elif kind is op.SUBPATTERN:
            signs |= _first(list(value[3]), frozenset())
        elif kind is op.BRANCH:
            for branch in value[1]:
                signs |= _first(list(branch), frozenset())
        elif kind in (op.LITERAL, op.NOT_LITERAL, op.IN, op.ANY):
            signs |= _class(node)
        elif _is_test(node):
            return ALPHABET  # it may fail, whatever the sign
        if not _nullable([node]):
            return signs
    return signs | follow


def _class(node: tuple[Any, Any]) -> frozenset[str]:
    kind, value = node
    if kind is op.LITERAL:
        return frozenset({chr(value)})
    if kind is op.NOT_LITERAL:
        return ALPHABET - {chr(value)}
    if kind is op.ANY:
        return ALPHABET - {"\n"}
    signs: frozenset[str] = frozenset()
    for each, held in value:
        if each is op.LITERAL:
            signs |= {chr(held)}
        elif each is op.RANGE:
            signs |= {sign for sign in ALPHABET if held[0] <= ord(sign) <= held[1]}
        elif each is op.CATEGORY:
            if held is not op.CATEGORY_SPACE:
                raise ValueError(f"a class of signs is Unicode's own: {held}")
            signs |= {sign for sign in ALPHABET if sign.isspace()}
    return ALPHABET - signs if value[0][0] is op.NEGATE else signs
