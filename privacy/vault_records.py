"""What the vault keeps of a person: one sealed, padded record under that person's own data key.

A record is JSON, one line for an id the person is known by, followed by one line for each attribute that came
with it; several ids make several such groups. Whole columns are turned into records by Arrow.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from privacy.ciphers import Sealer
from privacy.errors import BadInput, CheckFailed
from privacy.secret_key_access import SecretKey, release, seal_in_handle

__all__ = [
    "Identity",
    "PersonRecord",
    "attributes_of",
    "audit_reference",
    "named_identities",
    "open_record",
    "open_renewal",
    "record_texts",
    "seal_new",
    "seal_record",
    "seal_renewal",
    "unwrap",
]

_PAD: Final = 64
"""Records are padded to multiples of this, so that their length says little."""
_ROW: Final = b"custos/people/v2|"
_OWNER: Final = b"custos/dek/v1|"
_RENEWAL: Final = b"custos/renewals/v1|"
_ENCODE: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, repr=False)
class Identity:
    """One id of a person (canonical text), whether the source held integers, and the attributes beside it.

    An id that was somebody of its own before a link keeps that handle and audit reference.
    """

    subject_id: str
    integer: bool
    attributes: Mapping[str, object] = field(default_factory=dict)
    handle: bytes = b""
    reference: str = ""


@dataclass(frozen=True, repr=False)
class PersonRecord:
    """Every id that a person is known by, the first being the one that tokens lead back to."""

    identities: tuple[Identity, ...]

    @property
    def subject_id(self) -> str:
        """The first id."""
        return self.identities[0].subject_id

    @property
    def attributes(self) -> Mapping[str, object]:
        """What came with the first id."""
        return self.identities[0].attributes

    def identity_of(self, handle: bytes) -> Identity:
        """The id that this handle was given for, when it is an older one; otherwise the first."""
        return next((identity for identity in self.identities if identity.handle == handle), self.identities[0])

    def renewed(self, given: Mapping[str, Mapping[str, object]]) -> PersonRecord:
        """With newer attributes by id; those not given stay, and ids it doesn't have are left out."""
        return PersonRecord(
            tuple(
                replace(identity, attributes={**identity.attributes, **given.get(identity.subject_id, {})})
                for identity in self.identities
            )
        )


def attributes_of(records: pa.RecordBatch | Sequence[Mapping[str, object]]) -> pa.RecordBatch:
    """One column an attribute, of integers, numbers, booleans or text: what a record gives back as it was.

    Everything else becomes text, and NaN is missing. BadInput, naming the column, for what isn't UTF-8.
    """
    if isinstance(records, pa.RecordBatch):
        names, given = records.schema.names, records.columns
    else:
        names = sorted({name for row in records for name in row})
        given = [[row.get(name) for row in records] for name in names]
    columns = []
    for name, values in zip(names, given, strict=True):
        try:
            columns.append(_storable(_column(values) if isinstance(values, list) else values))
        except (UnicodeError, OverflowError, pa.ArrowInvalid):
            raise BadInput("an attribute can't be written as text", where=name, remedy="mend the column") from None
    return pa.RecordBatch.from_arrays(columns, names)


def record_texts(ids: pa.Array, integer: bool, attributes: pa.RecordBatch | None) -> list[bytes]:
    """The padded record of each new person: canonical ids without nulls, and rows of attributes beside them."""
    try:
        return _texts(ids, integer, attributes)
    except pa.ArrowInvalid:  # more than 2 GB in one array
        half = len(ids) // 2
        if not half:
            raise BadInput("a person's attributes are larger than 2 GB", remedy="leave such columns out") from None
        parts = (slice(0, half), slice(half, None))
        return [text for part in parts for text in record_texts(ids[part], integer, attributes and attributes[part])]


def seal_new(key_store: Sealer, handles: Sequence[bytes], texts: Sequence[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Each new person's record under a fresh data key, and those keys as the key store holds them."""
    return key_store.seal_under_own_keys(texts, [_ROW + one for one in handles], [_OWNER + one for one in handles])


def seal_record(handle: bytes, data_key: SecretKey, record: PersonRecord) -> bytes:
    """AES-GCM-SIV of the padded record; the associated data names the row and the schema version."""
    lines = []
    for identity in record.identities:
        head = {"id": identity.subject_id, "type": "integer" if identity.integer else "text"}
        if identity.handle:
            head |= {"handle": identity.handle.hex(), "reference": identity.reference}
        lines.append(_ENCODE(head))
        lines += [_ENCODE([name, value]) for name, value in identity.attributes.items() if value is not None]
    return Sealer(data_key).seal(_padded("\n".join(lines)), _ROW + handle)


def open_record(handle: bytes, data_key: SecretKey, sealed: bytes) -> PersonRecord:
    """The record of this row; CheckFailed when it was changed or moved from another row."""
    found: list[Identity] = []
    attributes: dict[str, object] = {}
    try:
        text = Sealer(data_key).open(sealed, _ROW + handle).strip()
        for line in json.loads(b"[" + text.replace(b"\n", b",") + b"]"):  # JSON escapes line ends inside a value
            if isinstance(line, dict):
                attributes = {}
                older = bytes.fromhex(line.get("handle", ""))
                found.append(
                    Identity(line["id"], line["type"] == "integer", attributes, older, line.get("reference", ""))
                )
            else:
                name, attributes[name] = line[0], line[1]
        return PersonRecord((found[0], *found[1:]))
    except (IndexError, KeyError, TypeError, ValueError):
        raise CheckFailed("a vault record is not in the format of this version") from None


def named_identities(handle: bytes, data_key: SecretKey, sealed: bytes) -> list[Identity]:
    """The record's identities, each naming the handle and the audit reference that it had until now."""
    reference = audit_reference(handle, data_key)
    return [
        identity if identity.handle else replace(identity, handle=handle, reference=reference)
        for identity in open_record(handle, data_key, sealed).identities
    ]


def seal_renewal(handle: bytes, data_key: SecretKey, given: Mapping[str, Mapping[str, object]]) -> bytes:
    """Newer attributes by id, to be put into the record later."""
    return Sealer(data_key).seal(_padded(_ENCODE(given)), _RENEWAL + handle)


def open_renewal(handle: bytes, data_key: SecretKey, sealed: bytes) -> dict[str, dict[str, object]]:
    """What `seal_renewal` was given; CheckFailed when it was changed or is another person's."""
    given: dict[str, dict[str, Any]] = json.loads(Sealer(data_key).open(sealed, _RENEWAL + handle))
    return given


def unwrap(key_store: Sealer, handle: bytes, wrapped: bytes) -> SecretKey:
    """The person's data key; CheckFailed when the wrapped bytes were changed or are another person's."""
    return seal_in_handle(key_store.open(wrapped, _OWNER + handle))


def audit_reference(handle: bytes, data_key: SecretKey) -> str:
    """32 hex digits naming the person in the audit log; nobody can compute them once the data key is gone."""
    own = hmac.digest(release(data_key), b"custos/audit-reference/v1", hashlib.sha256)
    return hmac.digest(own, handle, hashlib.sha256).hex()[:32]


def _padded(text: str) -> bytes:
    data = text.encode()
    return data + b" " * (-len(data) % _PAD)  # JSON ignores trailing spaces


def _column(values: list[object]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return _as_text(values)


def _storable(column: pa.Array) -> pa.Array:
    """As integers, numbers, booleans or valid text, whatever its layout."""
    if pa.types.is_run_end_encoded(column.type):
        column = pc.run_end_decode(column)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()  # also a missing entry of the dictionary is a missing value
    kind = column.type
    if pa.types.is_floating(kind):
        numbers = column.cast(pa.float64())
        return pc.if_else(pc.is_nan(numbers), None, numbers)  # NaN is no JSON, and never equals what is stored
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return column
    if pa.types.is_string_view(kind):
        column = column.cast(pa.large_string())
    elif not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        column = _as_text(column.to_pylist())
    column.validate(full=True)
    return column


def _as_text(values: list[object]) -> pa.Array:
    return pa.array([None if value is None else str(value) for value in values], pa.string())


def _texts(ids: pa.Array, integer: bool, attributes: pa.RecordBatch | None) -> list[bytes]:
    """All pieces of all lines are joined, and padded, in one go over the columns."""
    pieces: list[Any] = ['{"id":', *_literals(ids), f',"type":"{"integer" if integer else "text"}"}}\n']
    columns = zip(attributes.schema.names, attributes.columns, strict=True) if attributes is not None else ()
    for name, column in columns:
        line = [f"[{_ENCODE(name)},", *_literals(column), "]\n"]
        if column.null_count:
            line = [pc.binary_join_element_wise(*line, "").fill_null("")]
        pieces += line
    texts = pc.binary_join_element_wise(*pieces, "").cast(pa.binary())
    missing = pc.bit_wise_and(pc.negate(pc.binary_length(texts)), _PAD - 1)
    padded = pc.binary_join_element_wise(texts, pc.binary_repeat(b" ", missing), b"")
    return _cut(padded)


def _literals(column: pa.Array) -> list[Any]:
    """Pieces that make each value JSON, null where it is null; plain text never becomes Python objects."""
    if pa.types.is_integer(column.type) or pa.types.is_boolean(column.type):
        return [column.cast(pa.string())]
    if (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)) and not _has_special(column):
        return ['"', column.cast(pa.string()), '"']
    plain = [None if value is None else _ENCODE(value) for value in column.to_pylist()]
    return [pa.array(plain, pa.string())]


def _has_special(column: pa.Array) -> bool:
    """Whether any value may hold what JSON escapes: a quote, a backslash or a control character."""
    data = column.buffers()[2]
    letters = np.frombuffer(data or b"", np.uint8)
    return bool(((letters < 0x20) | (letters == 0x22) | (letters == 0x5C)).any())


def _cut(texts: pa.Array) -> list[bytes]:
    """As bytes objects; far faster than to_pylist."""
    _, offsets, data = texts.buffers()
    bounds = memoryview(offsets).cast("i")[texts.offset : texts.offset + len(texts) + 1].tolist()
    whole = data.to_pybytes() if data is not None else b""
    return [whole[begin:end] for begin, end in pairwise(bounds)]
