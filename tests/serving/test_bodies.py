"""Request bodies: hostile ones, those that do not fit, slow ones and large ones; no answer quotes what was sent."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import AsyncIterator

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.app import strict_json
from serving.edge import Limits
from serving.problems import Problem
from tests.serving.conftest import web
from tests.serving.shop import GOOD, SECRET, UNKNOWN, Bearer, Client, Wired, problem, token

HOSTILE_JSON: dict[str, bytes] = {
    "empty": b"",
    "not json": SECRET.encode(),
    "NaN": b'{"customers": [NaN], "models": ["clv"]}',
    "Infinity": b'{"customers": [-Infinity], "models": ["clv"]}',
    "utf-8": b'{"customers": ["\xff\xfe' + SECRET.encode() + b'"], "models": ["clv"]}',
    "utf-16": json.dumps(GOOD).encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + json.dumps(GOOD).encode(),
    "duplicate keys": b'{"customers": ["' + SECRET.encode() + b'"], "models": ["clv"], "models": ["churn"]}',
    "duplicate keys inside": b'{"customers": [{"a": 1, "a": 2}], "models": ["clv"]}',
    "nested arrays": b"[" * 100_000 + b"]" * 100_000,
    "nested objects": b'{"a":' * 30_000 + b"1" + b"}" * 30_000,
    "huge number": b'{"customers": [' + b"9" * 100_000 + b'], "models": ["clv"]}',
    "trailing": json.dumps(GOOD).encode() + SECRET.encode(),
    "pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x07SECRET-\x94.",
    "nul": b"\x00" * 100,
}


@pytest.mark.parametrize("body", HOSTILE_JSON.values(), ids=HOSTILE_JSON)
def test_bodies_that_are_not_json(client: Client, bearer: Bearer, body: bytes) -> None:
    response = client.predict(bearer(), content=body)
    assert response.json()["code"] in ("json_invalid", "request_invalid")
    problem(response, response.json()["code"])


MISFITS: dict[str, object] = {
    "null": None,
    "list": [GOOD],
    "string": SECRET,
    "number": 1e308,
    "no customers": {"models": ["clv"]},
    "no models": {"customers": [token(1)]},
    "none asked": {"customers": [], "models": ["clv"]},
    "no model asked": {"customers": [token(1)], "models": []},
    "too many": {"customers": [token(1)] * 1001, "models": ["clv"]},
    "another model": {"customers": [token(1)], "models": [SECRET]},
    "model twice": {"customers": [token(1)], "models": ["clv", "clv"]},
    "numbers": {"customers": [1, 2], "models": ["clv"]},
    "nested": {"customers": [[token(1)]], "models": ["clv"]},
    "object": {"customers": {SECRET: 1}, "models": ["clv"]},
    "long token": {"customers": [SECRET * 100], "models": ["clv"]},
    "mass assignment": {**GOOD, "role": "admin", SECRET: SECRET},
    "prototype": {**GOOD, "__proto__": {"role": "admin"}},
}


@pytest.mark.parametrize("body", MISFITS.values(), ids=MISFITS)
def test_bodies_that_do_not_fit_the_schema(
    client: Client, bearer: Bearer, body: object, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        problem(client.predict(bearer(), body), "request_invalid")
    assert SECRET not in caplog.text


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=200) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["customers", "models", "x"]), inner),
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_no_body_whatever_makes_the_service_fail(client: Client, bearer: Bearer, body: bytes) -> None:
    response = client.predict(bearer(), content=body)
    assert response.status_code == 422, response.text


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/vnd.bentoml+pickle"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": "application/json; charset=utf-16"},
        {"content-type": "application/problem+json"},
        {"content-type": ""},
        {"content-encoding": "gzip"},
    ],
    ids=str,
)
def test_other_content_types(client: Client, bearer: Bearer, headers: dict[str, str]) -> None:
    problem(client.predict(bearer(), content=json.dumps(GOOD).encode(), headers=headers), "media_type_unsupported")


def test_a_charset_of_utf_8_may_be_named(client: Client, bearer: Bearer) -> None:
    headers = {"content-type": "application/json; charset=UTF-8"}
    response = client.predict(bearer(), content=json.dumps(GOOD).encode(), headers=headers)
    assert response.status_code == 200


def test_large_bodies_announced_or_not(client: Client, bearer: Bearer) -> None:
    problem(client.predict(bearer(), content=b" " * 10_000_000), "body_too_large")

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 100_000

    problem(client.predict(bearer(), content=chunks()), "body_too_large")
    lying = {"content-length": "10", "content-type": "application/json"}
    problem(client.predict(bearer(), content=chunks(), headers=lying), "body_too_large")
    for length in ("-1", "1e9", "0x10", "99999999999999999999"):
        answer = client.predict(bearer(), content=b"{}", headers={"content-length": length})
        problem(answer, "body_too_large")


def test_the_largest_request_allowed_fits_the_body_limit(client: Client, bearer: Bearer) -> None:
    asked = [token(UNKNOWN + number) for number in range(1000)]
    response = client.predict(bearer(), content=json.dumps({"customers": asked, "models": ["churn", "clv"]}, indent=8))
    assert len(response.json()["results"]) == 1000


def test_a_slow_body_is_given_up(wired: Wired, bearer: Bearer) -> None:
    client = web(wired, Limits(body_seconds=0.5))

    async def dripping() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b" "
            await anyio.sleep(0.05)

    problem(client.predict(bearer(), content=dripping()), "request_timeout")


def test_strict_json_reads_what_json_is() -> None:
    assert strict_json(b' {"a": [1, 2.5, "\xc3\xa9", null, true]} ') == {"a": [1, 2.5, "é", None, True]}
    with pytest.raises(Problem):
        strict_json(b"[" * (sys.getrecursionlimit() * 100))
