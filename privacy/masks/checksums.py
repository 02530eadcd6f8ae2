"""Check digits of whole columns at once: Luhn, ISO 7064 MOD 11-2 and MOD 97-10.

Each takes digits by position, (positions, n) uint8, one column a person; none loops over people.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["luhn", "mod_11_2", "mod_97"]

Bytes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]

_LETTER: Final = np.uint8(10)
"""Characters of an IBAN have values: digits 0-9, letters 10-35."""
_TIMES: Final = np.array([(weight * scale) % 97 for scale in (10, 100) for weight in range(128)], np.uint8)
"""A position's weight -> that of the position before it, by whether a digit (first half) or a letter stands there."""


def luhn(digits: Bytes) -> Flags:
    """(n,) bool: whether the digits pass Luhn's test (ISO/IEC 7812-1, annex B).

    >>> luhn(np.array([[int(digit)] for digit in "4111111111111111"], np.uint8)).tolist()
    [True]
    """
    total = np.zeros(digits.shape[1], np.uint8)  # at most 19 positions of 9
    for back, digit in enumerate(digits[::-1]):
        if back % 2:
            total += digit + digit - np.uint8(9) * (digit > 4)
        else:
            total += digit
    return total % np.uint8(10) == 0


def mod_11_2(digits: Bytes, check: Bytes) -> Flags:
    """(n,) bool: whether `check` (n,), 10 for X, is the check digit of `digits` (ISO 7064 MOD 11-2; GB 11643-1999).

    >>> body = np.array([[int(digit)] for digit in "11010519491231002"], np.uint8)
    >>> mod_11_2(body, np.array([10], np.uint8)).tolist()
    [True]
    """
    total = check.astype(np.uint16)
    products = [digit * np.uint8(pow(2, back, 11)) for back, digit in enumerate(digits[::-1], 1)]
    for first, second in zip_longest(products[::2], products[1::2]):
        total += first if second is None else first + second  # two are at most 180: still one byte
    return total % np.uint16(11) == 1


def mod_97(values: Bytes) -> Flags:
    """(n,) bool: whether an IBAN's characters are 1 modulo 97 (ISO 13616-1, ISO 7064 MOD 97-10).

    `values` are in the order written, country and check digits first; a letter counts as two digits.

    >>> written = "GB82WEST12345698765432"
    >>> mod_97(np.array([[int(sign, 36)] for sign in written], np.uint8)).tolist()
    [True]
    """
    lettered = values[4:].max(axis=0) >= _LETTER
    answer = np.empty(values.shape[1], np.bool_)
    answer[~lettered] = _remainder(values[:, ~lettered], varied=False) == 1
    answer[lettered] = _remainder(values[:, lettered], varied=True) == 1
    return answer


def _remainder(values: Bytes, varied: bool) -> npt.NDArray[np.uint32]:
    """Modulo 97; where no letter stands behind the country, all people's positions weigh the same."""
    ordered = [*values[4:], *values[:4]]
    total = np.zeros(values.shape[1], np.uint32)
    weights: npt.NDArray[np.uint8] | np.uint8 = np.ones(values.shape[1], np.uint8) if varied else np.uint8(1)
    for at in reversed(range(len(ordered))):
        total += ordered[at] * np.asarray(weights, np.uint16)
        is_letter = ordered[at] >= _LETTER if varied else at in (len(ordered) - 4, len(ordered) - 3)
        weights = _TIMES[np.asarray(weights) + np.uint8(128) * np.asarray(is_letter, np.uint8)]
    return total % np.uint32(97)
