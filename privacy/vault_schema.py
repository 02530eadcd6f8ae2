"""Tables of the vault and of its key store.

Every table about people is keyed by something random or keyed-hashed and has no row id, so no page keeps
arrival order.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

__all__ = [
    "KEY_STORE",
    "SCHEMA_VERSION",
    "VAULT",
    "aliases",
    "changes",
    "identities",
    "intakes",
    "key_store_meta",
    "key_store_tombstones",
    "keys",
    "people",
    "renewals",
    "tombstones",
    "vault_meta",
]

SCHEMA_VERSION: Final = 2

VAULT: Final = sa.MetaData()
KEY_STORE: Final = sa.MetaData()


def _table(name: str, metadata: sa.MetaData, *columns: sa.Column[Any]) -> sa.Table:
    return sa.Table(name, metadata, *columns, sqlite_with_rowid=False)


people: Final = _table(
    "people",
    VAULT,
    sa.Column("handle", sa.LargeBinary(16), primary_key=True),
    # The 16-byte identity indexes that lead here, side by side: the way back, without a second tree over identities.
    sa.Column("indexes", sa.LargeBinary, nullable=False),
    sa.Column("record", sa.LargeBinary, nullable=False),
)
# No foreign key: checking one would read a random page of `people` for each identity. Both are written and deleted in
# one transaction.
identities: Final = _table(
    "identities",
    VAULT,
    sa.Column("idx", sa.LargeBinary(16), primary_key=True),
    sa.Column("handle", sa.LargeBinary(16), nullable=False),
    sa.Column("intake", sa.BigInteger, nullable=False),  # who registered it: on trial while that intake is open
)
aliases: Final = _table(
    "aliases",
    VAULT,
    sa.Column("old", sa.LargeBinary(16), primary_key=True),
    sa.Column("canonical", sa.LargeBinary(16), nullable=False, index=True),
)
changes: Final = _table(
    "changes",
    VAULT,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("tag", sa.LargeBinary(8), nullable=False),  # random: tells this history from another one's number
    sa.Column("removals", sa.BigInteger, nullable=False),  # the latest change that took away or redirected somebody
    sa.Column("identities", sa.BigInteger, nullable=False),  # rows of `identities` after it
)
intakes: Final = _table(
    "intakes",
    VAULT,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("begun_at", sa.BigInteger, nullable=False),  # seconds since 1970
)
renewals: Final = _table(
    "renewals",
    VAULT,
    sa.Column("intake", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("handle", sa.LargeBinary(16), primary_key=True),
    sa.Column("part", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("attributes", sa.LargeBinary, nullable=False),
)


def _tombstones(metadata: sa.MetaData) -> sa.Table:
    return _table(
        "tombstones",
        metadata,
        sa.Column("mac", sa.LargeBinary(16), primary_key=True),
        sa.Column("erased_at", sa.BigInteger, nullable=False),  # microseconds since 1970, UTC
        sa.Column("receipt", sa.String(40), nullable=False),
        sa.Column("severed", sa.Boolean, nullable=False),
    )


def _meta(metadata: sa.MetaData) -> sa.Table:
    return _table(
        "meta",
        metadata,
        sa.Column("name", sa.String(40), primary_key=True),
        sa.Column("value", sa.String(200), nullable=False),
    )


tombstones: Final = _tombstones(VAULT)
vault_meta: Final = _meta(VAULT)
keys: Final = _table(
    "keys",
    KEY_STORE,
    sa.Column("handle", sa.LargeBinary(16), primary_key=True),
    sa.Column("wrapped", sa.LargeBinary, nullable=False),
)
key_store_tombstones: Final = _tombstones(KEY_STORE)
key_store_meta: Final = _meta(KEY_STORE)
