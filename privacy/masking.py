"""Column masks by name: what may be left of a direct identifier or a quasi-identifier.

A mask is asked for by its name, or by its name and parameters: `phone`, `{fn: partial, first: 2, last: 2}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import pyarrow as pa

from privacy.errors import BadInput
from privacy.masks._base import Mask
from privacy.masks.contact import Email, IpAddress, Phone
from privacy.masks.dates import AgeBand, Month, Year
from privacy.masks.documents import Card, Iban, NationalId
from privacy.masks.numbers import Band, Coordinate, Rounded
from privacy.masks.people import Name
from privacy.masks.places import Address, PostalCode, RegionCode
from privacy.masks.plain import Constant, Partial, Redact, Scrub

__all__ = ["MASKS", "MaskSpec", "apply_mask", "mask_of"]

MaskSpec = str | Mapping[str, Any]
"""A mask's name, or its name under `fn` beside its parameters."""

_ALL: Final[tuple[type[Mask], ...]] = (
    Address, AgeBand, Band, Card, Constant, Coordinate, Email, Iban, IpAddress, Month, Name, NationalId, Partial,
    Phone, PostalCode, Redact, RegionCode, Rounded, Scrub, Year,
)  # fmt: skip
MASKS: Final[Mapping[str, type[Mask]]] = MappingProxyType({mask.name: mask for mask in _ALL})
"""Mask name -> its class, which declares its parameters."""


def mask_of(spec: object, *, own_bands: bool = False) -> Mask:
    """The mask that a descriptor or a policy asks for; `own_bands` where `band` may do without edges.

    BadInput for anything but a name or a mapping with `fn`, an unknown mask, an unknown, missing or unusable parameter.

    >>> mask_of({"fn": "partial", "first": 2}).apply(pa.array(["abcdefgh"])).to_pylist()
    ['ab**h']
    >>> mask_of({"fn": "partial", "head": 2})
    Traceback (most recent call last):
    ...
    privacy.errors.BadInput: mask partial has no parameter head; it has first, last
    """
    stated: dict[object, Any] = (
        {"fn": spec} if isinstance(spec, str) else dict(spec) if isinstance(spec, Mapping) else {}
    )
    name = stated.pop("fn", None)
    if not isinstance(name, str):
        raise BadInput("a mask is a name, or a mapping with fn", remedy="such as phone, or {fn: partial, first: 2}")
    if name not in MASKS:
        raise BadInput(f"unknown mask {name}", remedy=f"use one of {', '.join(sorted(MASKS))}")
    mask = MASKS[name](**{str(key): value for key, value in stated.items()})
    if mask.own and not own_bands:
        raise BadInput("mask band needs edges", remedy=f"give {mask.parameters['edges'].says()}")
    return mask


def apply_mask(array: pa.Array | pa.ChunkedArray, spec: MaskSpec) -> pa.Array:
    """`array` masked as `spec` says, (n,); BadInput as of `mask_of`, and for a column that the mask can't read.

    >>> apply_mask(pa.array(["欧阳娜娜", "王芳", "Ada Lovelace"]), "name").to_pylist()
    ['欧阳**', '王**', 'A**']
    >>> apply_mask(pa.array(["ada@example.org", "13812345678", None]), "email").to_pylist()
    ['a**@example.org', '***', None]
    """
    return mask_of(spec).apply(array)
