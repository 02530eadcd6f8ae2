"""Masks of numbers with a check digit: 身份证, payment cards, IBAN. A wrong check digit is redacted whole."""

from __future__ import annotations

from abc import abstractmethod
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from privacy.masks._base import ByteMask, Whole, tidy, without
from privacy.masks._characters import STAR, ZERO, columns_of, digits_of, last_columns_of, lengths_of
from privacy.masks.checksums import luhn, mod_11_2, mod_97

__all__ = ["Card", "Iban", "NationalId"]

_X: Final = np.uint8(ord("X"))
_GAP: Final = np.uint8(ord("A") - ord("9") - 1)
_CARD: Final = (12, 19)
_CARD_HIDDEN: Final = 5
_IBAN: Final = (15, 34)
Bytes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]


class _NumberMask(ByteMask):
    """Keeps the first and last characters of what passes its test; blanks, hyphens and small letters are no matter."""

    def _plain(self, text: pa.StringArray) -> pa.StringArray:
        return pc.ascii_upper(without(tidy(text), " -"))

    def _positions(self, text: pa.StringArray) -> tuple[list[Bytes | np.uint8], Flags]:
        lengths = lengths_of(text)
        columns, fits = self._tested(text, lengths)
        first, last = self._kept()
        head: list[Bytes] = list(columns_of(text, first)) if first else []
        return [*head, STAR, STAR, *columns[len(columns) - last :]], fits

    def _kept(self) -> tuple[int, int]:
        return self.given["first"], self.given["last"]

    @abstractmethod
    def _tested(self, text: pa.StringArray, lengths: npt.NDArray[np.int32]) -> tuple[Bytes, Flags]:
        """The last bytes of every row, by position, and which rows pass."""


class NationalId(_NumberMask):
    """The check digit of a 身份证号 (GB 11643-1999), 18 digits, or 15 of before 1999, read as the 18 they became.

    The first six name the district, the next eight (six) are the birth date, the last but one (the last) tells the sex.

    >>> NationalId().apply(pa.array(["11010519491231002X", "110105194912310021", "123-45-6789"])).to_pylist()
    ['**X', '***', '***']
    >>> NationalId(last=4).apply(pa.array(["11010519491231002X", "110105491231002"])).to_pylist()
    ['**002X', '**002X']
    """

    name = "national_id"
    parameters = MappingProxyType({"first": Whole(0, 0, 6), "last": Whole(1, 0, 4)})

    def _tested(self, text: pa.StringArray, lengths: npt.NDArray[np.int32]) -> tuple[Bytes, Flags]:
        columns = last_columns_of(text, 18)
        digits = columns - ZERO
        check = np.where(columns[17] == _X, np.uint8(10), digits[17])
        fits = digits_of(digits[:17]) & (check <= 10) & mod_11_2(digits[:17], check) & _is_date(digits[10:14])
        fits &= lengths == 18
        older = np.flatnonzero(lengths == 15)
        if len(older):
            digits = digits[3:, older]
            fits[older] = digits_of(digits) & (digits[0] > 0) & _is_date(digits[8:12])
            columns[14:17, older], columns[17, older] = columns[15:18, older], _check_sign(digits)
        return columns, fits


def _check_sign(older: Bytes) -> Bytes:
    """(n,) The sign that 15 digits got as their 18th, when the century was put before their year."""
    century = np.array([[1], [9]], np.uint8).repeat(older.shape[1], axis=1)
    body = np.concatenate([older[:6], century, older[6:]])
    found = [mod_11_2(body, np.full(older.shape[1], check, np.uint8)) for check in range(11)]
    return np.frombuffer(b"0123456789X", np.uint8)[np.argmax(found, axis=0)]


def _is_date(digits: Bytes) -> Flags:
    month, day = 10 * digits[0] + digits[1], 10 * digits[2] + digits[3]
    return (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)


class Card(_NumberMask):
    """The last four digits of a card or bank card number that passes Luhn's test; at most 前6后4 (PCI DSS 3.4.1).

    Where fewer than five digits would be hidden, of short numbers, it is redacted: the check digit gives one more away.

    >>> Card().apply(pa.array(["4111 1111 1111 1111", "4111111111111112"])).to_pylist()
    ['**1111', '***']
    >>> Card(first=6).apply(pa.array(["6222021234567890128"])).to_pylist()
    ['622202**0128']
    """

    name = "card"
    parameters = MappingProxyType({"first": Whole(0, 0, 6), "last": Whole(4, 0, 4)})

    def _tested(self, text: pa.StringArray, lengths: npt.NDArray[np.int32]) -> tuple[Bytes, Flags]:
        shortest, longest = _CARD
        columns = last_columns_of(text, longest)
        digits = columns - ZERO
        for at in range(longest - shortest):
            digits[at] *= lengths >= longest - at
        told = self.given["first"] + self.given["last"]
        formed = (lengths >= max(shortest, told + _CARD_HIDDEN)) & (lengths <= longest) & digits_of(digits)
        return columns, formed & luhn(digits) & digits.any(axis=0)


class Iban(_NumberMask):
    """Country and last characters of an IBAN with the right check digits (ISO 13616-1).

    >>> Iban().apply(pa.array(["GB82 WEST 1234 5698 7654 32", "GB83WEST12345698765432"])).to_pylist()
    ['GB**5432', '***']
    """

    name = "iban"
    parameters = MappingProxyType({"last": Whole(4, 0, 4)})

    def _kept(self) -> tuple[int, int]:
        return 2, self.given["last"]

    def _tested(self, text: pa.StringArray, lengths: npt.NDArray[np.int32]) -> tuple[Bytes, Flags]:
        shortest, longest = _IBAN
        width = int(lengths.max(initial=shortest, where=lengths <= longest))
        columns = last_columns_of(text, width)
        body, head = _values(columns[4:]), columns_of(text, 4)
        for at in range(width - shortest):
            body[at] *= lengths >= width - at
        country, check = _values(head[:2]), head[2:] - ZERO
        formed = (lengths >= shortest) & (lengths <= width) & digits_of(check) & (body.max(axis=0) <= 35)
        formed &= (country.min(axis=0) >= 10) & (country.max(axis=0) <= 35)
        values = np.concatenate([country, check, body])
        if not formed.all():
            values *= formed
        return columns, formed & mod_97(values)


def _values(columns: Bytes) -> Bytes:
    """0-9 of digits, 10-35 of capitals, above of all else."""
    values = columns - ZERO
    beyond = values > 9
    values -= beyond * _GAP
    values[beyond & (values < 10)] = 99  # between 9 and A
    return values
