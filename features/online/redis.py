"""Packed rows in Redis: a hash a person, a field a view; comparing and writing is one script on the server."""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, cast

import redis

from privacy.errors import EnvironmentFailed

from ._base import LOGIN, Batch, Damaged, Found, PackedRows, Writer, mark_of

__all__ = ["RedisRows"]

PIPELINE: Final = 1000
"""Commands sent at once."""
STAMP: Final = 8
"""A field's value begins with its moment, then the number of who wrote it last, 8 bytes each, then the row."""
LEAST: Final = 3 * STAMP
"""Bytes of the shortest value: both numbers, and the id of the row's layout."""
FOREIGN: Final = ("WRONGTYPE", "not an integer")
"""What the server says of a key that somebody else wrote."""
_LATER: Final = """
local function later(one, other)
  for at = 1, 8 do
    local mine, theirs = string.byte(one, at) or 0, string.byte(other, at) or 0
    if mine ~= theirs then return mine > theirs end
  end
  return false
end
"""
"""Moments are big-endian with the sign flipped, so they compare as bytes do; Lua's own `>` goes by the locale."""
PUT: Final = (
    _LATER
    + """
if redis.call('SISMEMBER', KEYS[2], ARGV[4]) == 1 then return 0 end
local old = redis.call('HGET', KEYS[1], ARGV[1])
if old and later(old, ARGV[2]) then
  redis.call('HSET', KEYS[1], ARGV[1], string.sub(old, 1, 8) .. ARGV[3] .. string.sub(old, 17))
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
"""
)
DROP: Final = (
    _LATER
    + """
local gone = 0
for at, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  local row = redis.call('HGET', KEYS[1], field)
  if (ARGV[1] == 'newer' and later(row, ARGV[2]))
    or (ARGV[1] == 'others' and not later(row, ARGV[2]) and string.sub(row, 9, 16) ~= ARGV[3]) then
    redis.call('HDEL', KEYS[1], field)
    gone = gone + 1
  end
end
return gone
"""
)


class RedisRows(PackedRows):
    """The rows of a project on one Redis server; a person is the key `<project>:row:<entity key>`.

    Redis has no transaction over many people: while everybody is written, some rows are already the new ones. Each
    person's row is whole, an older one never replaces a newer one, and writing again after a failure completes it.
    """

    def __init__(self, project: str, url: str) -> None:
        super().__init__(project)
        self._client = redis.Redis.from_url(url, socket_timeout=30, health_check_interval=30)
        self._put, self._drop = self._client.register_script(PUT), self._client.register_script(DROP)
        self._prefix = f"{project}:row:".encode()
        self._layouts_key, self._erased_key = f"{project}:layouts", f"{project}:erased"
        self._views_key, self._runs_key = f"{project}:views", f"{project}:runs"
        self._least_key = f"{project}:least"

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        with self._told():
            run = int(self._client.incr(self._runs_key))
            writer = _RedisWriter(self, run.to_bytes(STAMP, "big"))
        yield writer
        with self._told():
            self._client.incr(self._runs_key)

    def read(self, keys: Sequence[bytes], views: Sequence[str]) -> list[list[Found]]:
        with self._told():
            if len(keys) == 1:
                rows = [self._client.hmget(self._prefix + keys[0], list(views))]
            else:
                pipeline = self._client.pipeline(transaction=False)
                for key in keys:
                    pipeline.hmget(self._prefix + key, list(views))
                rows = pipeline.execute()
        return [[_found(cast("bytes | None", row[at])) for row in rows] for at in range(len(views))]

    def erase(self, keys: Sequence[bytes]) -> int:
        gone = 0
        with self._told():
            for key in keys:
                pipeline = self._client.pipeline(transaction=True)
                pipeline.sadd(self._erased_key, mark_of(key))
                pipeline.hlen(self._prefix + key)
                pipeline.delete(self._prefix + key)
                pipeline.incr(self._runs_key)
                gone += int(pipeline.execute()[1])
            # Also where nobody went: an erasure that was cut short may have left classes that are too small.
            least = cast("dict[bytes, bytes]", self._client.hgetall(self._least_key))
            for view, number in least.items():
                if int(number) > 1:
                    self._drop_small(view, int(number))
        return gone

    def _drop_small(self, view: bytes, least: int) -> None:
        """Delete a view's rows that fewer than `least` people have alike."""
        alike: dict[bytes, list[bytes]] = {}
        for key in self._keys():
            row = cast("bytes | None", self._client.hget(key, view))
            if row is not None:
                alike.setdefault(row[2 * STAMP :], []).append(key)
        for keys in alike.values():
            for key in keys if len(keys) < least else ():
                self._client.hdel(key, view)

    def of(self, key: bytes) -> list[tuple[str, int, bytes]]:
        with self._told():
            held = cast("dict[bytes, bytes]", self._client.hgetall(self._prefix + key))
        return [(view.decode(), _moment(row), row[2 * STAMP :]) for view, row in sorted(held.items())]

    def people(self, view: str) -> int:
        with self._told():
            return sum(1 for key in self._keys() if self._client.hexists(key, view))

    def any_key(self, view: str) -> bytes | None:
        with self._told():
            for key in self._keys():
                if self._client.hexists(key, view):
                    return key.removeprefix(self._prefix)
        return None

    def newest(self, view: str) -> int | None:
        with self._told():
            found = cast("bytes | None", self._client.hget(self._views_key, view))
        return None if found is None else _number(found)

    def stamp(self) -> Hashable:
        run = self.runs()
        return None if run is None else (run, int(time.monotonic()))

    def runs(self) -> int | None:
        with self._told():
            run = cast("bytes | None", self._client.get(self._runs_key))
        return None if run is None else _number(run)

    def discard(self) -> None:
        with self._told():
            for key in self._keys():
                self._client.delete(key)
            self._client.delete(self._layouts_key, self._views_key, self._least_key)
            if self._client.type(self._erased_key) != b"set":  # else whoever was erased stays refused
                self._client.delete(self._erased_key)
            self._client.set(self._runs_key, secrets.randbits(48))

    def drop(self, views: Collection[str]) -> None:
        if not views:
            return
        with self._told():
            for key in self._keys():
                self._client.hdel(key, *views)
            self._client.hdel(self._views_key, *views)

    def _stored_layouts(self) -> dict[bytes, str]:
        with self._told():
            held = cast("dict[bytes, bytes]", self._client.hgetall(self._layouts_key))
        return {key: spec.decode(errors="replace") for key, spec in held.items()}

    def _keys(self) -> Iterator[bytes]:
        return cast("Iterator[bytes]", self._client.scan_iter(match=self._prefix + b"*", count=PIPELINE))

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (redis.AuthenticationError, redis.exceptions.NoPermissionError):
            raise EnvironmentFailed("the online store on Redis refuses the login", remedy=LOGIN) from None
        except redis.RedisError as error:
            if any(words in str(error) for words in FOREIGN):  # which name the key too, so they aren't told
                raise _damaged() from None
            what = f"the online store on Redis can't be used ({type(error).__name__})"
            remedy = "see that the server runs there and has memory, then repeat; what was there stays"
            raise EnvironmentFailed(what, remedy=remedy) from None


class _RedisWriter(Writer):
    """A run of writes, each row compared on the server."""

    def __init__(self, rows: RedisRows, run: bytes) -> None:
        self._rows, self._run = rows, run

    def put(self, batch: Batch) -> None:
        rows = self._rows
        with rows._told():
            layout: dict[Any, Any] = {batch.layout.id: batch.layout.spec}
            rows._client.hset(rows._layouts_key, mapping=layout)
            pipeline: Any = rows._client.pipeline(transaction=False)
            listed = list(zip(batch.keys, batch.moments, batch.rows, strict=True))
            for start in range(0, len(listed), PIPELINE):
                for key, moment, row in listed[start : start + PIPELINE]:
                    value = _stamp(moment) + self._run + row
                    asked: list[Any] = [batch.view, value, self._run, mark_of(key)]
                    rows._put(keys=[rows._prefix + key, rows._erased_key], args=asked, client=pipeline)
                pipeline.execute()
            rows._client.hset(rows._least_key, batch.view, batch.least)
            if listed:
                newest = max(batch.moments)
                if newest > (rows.newest(batch.view) or -(2**63)):
                    rows._client.hset(rows._views_key, batch.view, newest)

    def drop_newer(self, than: int) -> None:
        self._sweep("newer", than)

    def drop_others(self, until: int) -> None:
        self._sweep("others", until)

    def _sweep(self, which: str, moment: int) -> None:
        rows = self._rows
        newest: dict[bytes, int] = {}
        with rows._told():
            for key in rows._keys():
                rows._drop(keys=[key], args=[which, _stamp(moment), self._run])
                held = cast("dict[bytes, bytes]", rows._client.hgetall(key))
                for view, row in held.items():
                    newest[view] = max(newest.get(view, -(2**63)), _moment(row))
            pipeline: Any = rows._client.pipeline(transaction=True)
            pipeline.delete(rows._views_key)
            if newest:
                pipeline.hset(rows._views_key, mapping=newest)
            pipeline.execute()


def _stamp(moment: int) -> bytes:
    return (moment + 2**63).to_bytes(STAMP, "big")


def _moment(row: bytes) -> int:
    return int.from_bytes(row[:STAMP], "big") - 2**63


def _found(row: bytes | None) -> Found:
    if row is not None and len(row) < LEAST:
        raise _damaged()
    return None if row is None else (_moment(row), row[2 * STAMP :])


def _number(text: bytes) -> int:
    try:
        return int(text)
    except ValueError:
        raise _damaged() from None


def _damaged() -> Damaged:
    what = "what is under a key of the online store on Redis isn't what was written there"
    return Damaged(what, remedy="run `custos materialize`, which writes it anew")
