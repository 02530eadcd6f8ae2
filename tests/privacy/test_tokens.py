from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from privacy.classification import DOMAIN_CODES, Purpose, Role
from privacy.errors import BadInput, Refused
from privacy.keyring import Keyring, TokenKeys
from privacy.policy import Principal
from privacy.secret_key_access import seal_in_handle
from privacy.token_text import encode
from privacy.tokens import (
    Pseudonymiser,
    handles_to_tokens,
    parse_token,
    rekey,
    tokens_to_handles,
    translate,
    valid_tokens,
)
from privacy.vault import Vault

from .conftest import Home

FORMAT = re.compile(r"^(ret|val|mkt|svc|rsc|cmp|fs)_[a-z2-7]{2}[0-9a-f]{34}$")
DOMAINS = sorted(DOMAIN_CODES)
HANDLES = st.lists(st.binary(min_size=16, max_size=16), unique=True, min_size=1, max_size=40)


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Keyring:
    home = Home(tmp_path_factory.mktemp("ring"))
    return Keyring.create(home.key_file, home.kms())


def rows(handles: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(handles), np.uint8).reshape(-1, 16)


def crc8(data: bytes) -> int:
    """Bit by bit, polynomial 0x07."""
    state = 0
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = ((state << 1) ^ 0x07) & 0xFF if state & 0x80 else state << 1
    return state


def test_the_bitwise_crc_is_the_published_one() -> None:
    assert crc8(b"123456789") == 0xF4  # CRC-8/SMBUS check value


@given(handles=HANDLES, domain=st.sampled_from(DOMAINS))
def test_tokens_are_well_formed_injective_and_round_trip(ring: Keyring, handles: list[bytes], domain: str) -> None:
    tokens = handles_to_tokens(ring, rows(handles), domain)
    texts = tokens.to_pylist()
    assert len(set(texts)) == len(handles)
    for text in texts:
        assert FORMAT.match(text)
        token = parse_token(text)
        assert token.domain == domain
        assert crc8(text[:-34].encode() + token.block) == int(text[-2:], 16)
    back, known = tokens_to_handles(ring, tokens, domain)
    assert known.all()
    assert back.tobytes() == b"".join(handles)
    assert handles_to_tokens(ring, rows(handles), domain).equals(tokens)


@given(handles=HANDLES, cut=st.integers(0, 40), seed=st.randoms(use_true_random=False))
def test_batch_size_and_order_do_not_matter(ring: Keyring, handles: list[bytes], cut: int, seed: object) -> None:
    whole = handles_to_tokens(ring, rows(handles), "value").to_pylist()
    parts = [handles_to_tokens(ring, rows(part), "value").to_pylist() for part in (handles[:cut], handles[cut:])]
    assert parts[0] + parts[1] == whole
    shuffled = list(range(len(handles)))
    seed.shuffle(shuffled)  # type: ignore[attr-defined]
    again = handles_to_tokens(ring, rows([handles[i] for i in shuffled]), "value").to_pylist()
    assert again == [whole[i] for i in shuffled]


@given(handles=HANDLES)
def test_domains_are_separated_and_translate_round_trips(ring: Keyring, handles: list[bytes]) -> None:
    blocks = [
        {parse_token(text).block for text in handles_to_tokens(ring, rows(handles), domain).to_pylist()}
        for domain in DOMAINS
    ]
    assert len(set.union(*blocks)) == len(DOMAINS) * len(handles)
    retention = handles_to_tokens(ring, rows(handles), "retention")
    features = translate(ring, retention, "retention", "features")
    assert features.equals(handles_to_tokens(ring, rows(handles), "features"))
    assert translate(ring, features, "features", "retention").equals(retention)


def test_large_batches_cross_chunks_and_keep_nulls(ring: Keyring) -> None:
    handles = np.frombuffer(os.urandom(16 * 20_000), np.uint8).reshape(-1, 16)
    valid = np.arange(20_000) % 3 != 0
    tokens = handles_to_tokens(ring, handles, "marketing", valid)
    assert tokens.null_count == (~valid).sum()
    tokens.validate(full=True)
    there = translate(ring, tokens.slice(5), "marketing", "service")
    assert there.is_valid().to_pylist() == valid[5:].tolist()
    back, known = tokens_to_handles(ring, there, "service")
    assert (known == valid[5:]).all()
    assert (back[known] == handles[5:][known]).all()


@given(position=st.integers(0, 39), letter=st.sampled_from("0123456789abcdefgz_ÄA客"))
def test_a_mistyped_token_is_never_taken_for_another(ring: Keyring, position: int, letter: str) -> None:
    text = handles_to_tokens(ring, rows([bytes(range(16))]), "retention")[0].as_py()
    wrong = text[:position] + letter + text[position + 1 :]
    if wrong == text:
        return
    assert not valid_tokens(pa.array([wrong]), "retention")[0]
    with pytest.raises(BadInput) as caught:
        parse_token(wrong)
    assert wrong not in str(caught.value)
    with pytest.raises(BadInput, match="1 of 2 tokens"):
        translate(ring, pa.array([wrong, text]), "retention", "value")


def test_neighbours_swapped_are_caught(ring: Keyring) -> None:
    text = handles_to_tokens(ring, rows([bytes(range(16))]), "retention")[0].as_py()
    swaps = [text[:i] + text[i + 1] + text[i] + text[i + 2 :] for i in range(len(text) - 1)]
    wrong = [swap for swap in swaps if swap != text]
    assert wrong
    assert not valid_tokens(pa.array(wrong), "retention").any()


@pytest.mark.parametrize("text", ["", "ret_", "ret_aa", "ret_aa" + "0" * 33, "RET_AA" + "0" * 34, "x" * 40, "ret_aa\n"])
def test_garbage_is_refused_by_both_readers(text: str) -> None:
    assert not valid_tokens(pa.array([text, None]), "retention").any()
    with pytest.raises(BadInput):
        parse_token(text)


def test_upper_case_hex_is_not_a_token(ring: Keyring) -> None:
    text = handles_to_tokens(ring, rows([b"\xab" * 16]), "value")[0].as_py()
    assert text.upper() != text
    assert not valid_tokens(pa.array([text, text[:6] + text[6:].upper()]), "value")[1]


def test_tokens_of_another_domain_or_key_are_invalid(ring: Keyring) -> None:
    handles = rows([b"a" * 16, b"b" * 16])
    mixed = pa.concat_arrays([handles_to_tokens(ring, handles, d) for d in ("retention", "value")])
    assert valid_tokens(mixed, "value").tolist() == [False, False, True, True]
    ours = ring.token_keys("value").primary
    foreign = encode(handles, "value", "zz" if ours != "zz" else "yy")
    assert valid_tokens(foreign, "value").all()
    with pytest.raises(BadInput, match="2 of 2"):
        translate(ring, foreign, "value", "retention")
    both = pa.concat_arrays([foreign, handles_to_tokens(ring, handles, "value")])
    assert tokens_to_handles(ring, both, "value")[1].tolist() == [False, False, True, True]


class Rotated:
    """The keys of every domain after a rotation: `aa` still reads, `bb` writes."""

    def __init__(self, *key_ids: str) -> None:
        self._by_id = {key_id: seal_in_handle(key_id.encode() * 16) for key_id in key_ids}

    def token_keys(self, domain: str) -> TokenKeys:
        return TokenKeys(domain, list(self._by_id)[-1], self._by_id)


BEFORE, AFTER, LATER = Rotated("aa"), Rotated("aa", "bb"), Rotated("bb")


@given(handles=HANDLES, domain=st.sampled_from(DOMAINS), cut=st.integers(0, 40), seed=st.randoms(use_true_random=False))
def test_rekeyed_tokens_are_the_same_people_under_the_primary_key(
    handles: list[bytes], domain: str, cut: int, seed: object
) -> None:
    old = handles_to_tokens(BEFORE, rows(handles), domain)
    new = rekey(AFTER, old, domain)
    assert new.equals(handles_to_tokens(LATER, rows(handles), domain))
    assert {parse_token(text).key_id for text in new.to_pylist()} == {"bb"}
    assert tokens_to_handles(LATER, new, domain)[0].tobytes() == b"".join(handles)
    assert rekey(AFTER, new, domain).equals(new)
    mixed = pa.concat_arrays([old[:cut], new[cut:], pa.array([None], pa.string())])
    assert rekey(AFTER, mixed, domain).to_pylist() == [*new.to_pylist(), None]
    shuffled = list(range(len(handles)))
    seed.shuffle(shuffled)  # type: ignore[attr-defined]
    assert rekey(AFTER, old.take(pa.array(shuffled)), domain).equals(new.take(pa.array(shuffled)))


def test_rekey_tells_how_many_tokens_have_no_key_any_more(ring: Keyring) -> None:
    old = handles_to_tokens(BEFORE, rows([b"a" * 16, b"b" * 16]), "value")
    foreign = handles_to_tokens(AFTER, rows([b"a" * 16]), "retention")
    nobody = pa.array([None], pa.string())
    with pytest.raises(BadInput, match="1 of 4 tokens are not valid value tokens") as caught:
        rekey(LATER, pa.concat_arrays([old, foreign, nobody]), "value")
    assert old[0].as_py() not in str(caught.value)
    with pytest.raises(BadInput, match="2 of 3 tokens were made by a key of value that isn't enabled") as caught:
        rekey(LATER, pa.concat_arrays([old, nobody]), "value")
    assert old[0].as_py() not in str(caught.value)
    with pytest.raises(BadInput, match="unknown token domain"):
        rekey(ring, old, "nowhere")
    for column in (old.cast(pa.large_string()), old.dictionary_encode(), pa.chunked_array([old[:1], old[1:]])):
        assert rekey(AFTER, column, "value").equals(rekey(AFTER, old, "value"))


def test_other_column_types(ring: Keyring) -> None:
    tokens = handles_to_tokens(ring, rows([b"a" * 16, b"b" * 16]), "value")
    for column in (tokens.cast(pa.large_string()), tokens.dictionary_encode(), pa.chunked_array([tokens])):
        assert translate(ring, column, "value", "retention").equals(translate(ring, tokens, "value", "retention"))
    with pytest.raises(BadInput, match="tokens are text"):
        translate(ring, pa.array([1]), "value", "retention")
    with pytest.raises(BadInput, match="unknown token domain"):
        valid_tokens(tokens, "nowhere")
    assert translate(ring, pa.array([None], pa.null()), "value", "retention").to_pylist() == [None]
    assert len(translate(ring, pa.array([], pa.string()), "value", "retention")) == 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20, deadline=None)
@given(ids=st.lists(st.one_of(st.none(), st.text(st.characters(codec="utf-8"), min_size=1)), min_size=1, max_size=8))
def test_pseudonymise_is_deterministic_and_reidentifies(keyring: Keyring, vault: Vault, ids: list[str | None]) -> None:
    from privacy.identifiers import canonical_ids

    array = pa.array(ids, pa.string())
    pseudonymiser = Pseudonymiser(keyring, vault)
    tokens = pseudonymiser.pseudonymise(array, "retention")
    assert tokens.equals(pseudonymiser.pseudonymise(array, "retention"))
    officer = Principal("olga", Role.PRIVACY_OFFICER, Purpose.RETENTION)
    back = pseudonymiser.reidentify(tokens, "retention", officer, Purpose.RETENTION, "a complaint")
    assert back.to_pylist() == canonical_ids(array).to_pylist()
    moved = pseudonymiser.translate(tokens, "retention", "value")
    assert moved.equals(pseudonymiser.pseudonymise(array, "value"))
    assert pseudonymiser.rekey(moved, "value").equals(moved)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15, deadline=None)
@given(
    ids=st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=30),
    cut=st.integers(0, 30),
    seed=st.randoms(use_true_random=False),
)
def test_pseudonymise_depends_on_neither_batch_nor_order_nor_layout(
    keyring: Keyring, vault: Vault, ids: list[int | None], cut: int, seed: object
) -> None:
    door, array = Pseudonymiser(keyring, vault), pa.array(ids, pa.int64())
    shuffled = list(range(len(ids)))
    seed.shuffle(shuffled)  # type: ignore[attr-defined]
    mixed = door.pseudonymise(array.take(pa.array(shuffled)), "service").to_pylist()
    parts = pa.concat_arrays([door.pseudonymise(part, "service") for part in (array[:cut], array[cut:])])
    assert [parts[row].as_py() for row in shuffled] == mixed
    for same in (pa.chunked_array([array[:cut], array[cut:]]), array.dictionary_encode(), array.cast(pa.string())):
        assert door.pseudonymise(same, "service").equals(parts)
    assert len(set(parts.drop_null().to_pylist())) == len(set(ids) - {None})
    back = door.reidentify(parts, "service", Principal("a", Role.ADMIN, Purpose.SERVICE), Purpose.SERVICE, "why")
    assert back.cast(pa.int64()).to_pylist() == ids


def test_reidentify_keeps_integers_and_asks_the_policy(keyring: Keyring, vault: Vault) -> None:
    pseudonymiser = Pseudonymiser(keyring, vault)
    tokens = pseudonymiser.pseudonymise(pa.array([5, None, 6]), "retention")
    admin = Principal("root", Role.ADMIN, Purpose.RETENTION)
    back = pseudonymiser.reidentify(tokens, "retention", admin, Purpose.RETENTION, "why")
    assert back.type == pa.int64()
    assert back.to_pylist() == [5, None, 6]
    analyst = Principal("ann", Role.ANALYST, Purpose.RETENTION)
    with pytest.raises(Refused, match="only-oversight-identifies"):
        pseudonymiser.reidentify(tokens, "retention", analyst, Purpose.RETENTION, "why")
    with pytest.raises(Refused, match="tokens-of-the-callers-purpose"):
        pseudonymiser.reidentify(tokens, "retention", admin, Purpose.VALUE, "why")
    with pytest.raises(BadInput, match="reason"):
        pseudonymiser.reidentify(tokens, "retention", admin, Purpose.RETENTION, " ")


def test_unknown_domain_stores_nothing(home: Home, keyring: Keyring, vault: Vault) -> None:
    with pytest.raises(BadInput, match="unknown token domain"):
        Pseudonymiser(keyring, vault).pseudonymise(pa.array(["a"]), "nowhere")
    assert not vault.find(pa.array(["a"]))[1].any()
    assert isinstance(home.root, Path)
