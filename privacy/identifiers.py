"""One spelling for an id: integers as decimal text, strings in NFC; everything else is refused."""

from __future__ import annotations

import unicodedata

import pyarrow as pa
import pyarrow.compute as pc

from privacy.errors import BadInput

__all__ = ["canonical_ids", "is_integer_source"]


def canonical_ids(ids: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The ids as a string array (nulls stay null) in the spelling that every index and MAC uses.

    NFC, not NFKC: full-width digits are another id. Raises BadInput for floats and other types, for empty
    strings (with their number) and for bytes that aren't UTF-8.

    >>> canonical_ids(pa.array([7, None])).to_pylist()
    ['7', None]
    """
    array = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    kind = array.type
    if pa.types.is_integer(kind) or pa.types.is_null(kind):
        return array.cast(pa.string())
    if pa.types.is_floating(kind):
        raise BadInput(f"ids are {kind}, which has no one spelling", remedy="give integers or text, without decimals")
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise BadInput(f"ids of type {kind} are not accepted", remedy="give integers or text")
    return _composed(array)


def is_integer_source(ids: pa.Array | pa.ChunkedArray) -> bool:
    """Whether the ids came as integers, to be given back as integers."""
    kind = ids.type.value_type if pa.types.is_dictionary(ids.type) else ids.type
    return pa.types.is_integer(kind)


def _composed(array: pa.Array) -> pa.Array:
    if not pc.all(pc.string_is_ascii(array), skip_nulls=True).as_py() and len(array) > array.null_count:
        try:
            array.validate(full=True)
        except pa.ArrowInvalid:
            raise BadInput("ids hold bytes that aren't UTF-8", remedy="decode the source column") from None
        array = _in_nfc(array)
    empty = pc.sum(pc.equal(pc.binary_length(array), 0)).as_py() or 0
    if empty:
        raise BadInput(f"{empty} ids are empty text", remedy="use null for a missing id, or drop the rows")
    return array


def _in_nfc(array: pa.Array) -> pa.Array:
    """NFC by the standard library: Arrow's utf8_normalize leaves accents apart in spite of form="NFC"."""
    coded = array.dictionary_encode()
    texts = coded.dictionary.to_pylist()
    if all(unicodedata.is_normalized("NFC", text) for text in texts):
        return array
    composed = pa.array([unicodedata.normalize("NFC", text) for text in texts], array.type)
    return composed.take(coded.indices)
