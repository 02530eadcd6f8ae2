from __future__ import annotations

import copy
import hashlib
import hmac
import json
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from privacy.ciphers import verify_signature
from privacy.errors import BadInput, CheckFailed, EnvironmentFailed
from privacy.keyring import Keyring, SealedKeyring
from privacy.keyset import KeyState, derive
from privacy.secret_key_access import release, seal_in_handle
from privacy.tokens import handles_to_tokens, tokens_to_handles

from .conftest import Home


def hkdf(key: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869, written out."""
    prk = hmac.digest(salt, key, hashlib.sha256)
    out, block, counter = b"", b"", 1
    while len(out) < length:
        block = hmac.digest(prk, block + info + bytes([counter]), hashlib.sha256)
        out, counter = out + block, counter + 1
    return out[:length]


def test_the_reference_hkdf_is_rfc_5869_case_1() -> None:
    got = hkdf(b"\x0b" * 22, bytes(range(13)), bytes(range(0xF0, 0xFA)), 42)
    assert got.hex() == ("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865")


def test_keys_are_hkdf_of_length_prefixed_parts() -> None:
    root = bytes(range(32))
    info = b"".join(len(p).to_bytes(4, "big") + p for p in (b"shop", b"token:value", b"handle", b"1"))
    got = release(derive(seal_in_handle(root), ("shop", "token:value", "handle", "1")))
    assert got == hkdf(root, b"custos/keys/v1", info, 32)


def test_shifting_a_border_between_parts_gives_another_key() -> None:
    root = seal_in_handle(bytes(32))
    assert release(derive(root, ("a", "bc", "d", "1"))) != release(derive(root, ("ab", "c", "d", "1")))


def test_opening_again_gives_the_same_keys(home: Home, keyring: Keyring) -> None:
    again = home.open_keyring()
    ids = pa.array(["7"])
    assert again.keyset_id == keyring.keyset_id
    assert (again.index.of_ids(ids) == keyring.index.of_ids(ids)).all()
    assert (again.index.of_ids(ids) != keyring.tombstone.of_ids(ids)).any()
    assert again.quarantine.open(keyring.quarantine.seal(b"row", b"c"), b"c") == b"row"


def test_wrong_passphrase_is_bad_input_and_changes_nothing(home: Home) -> None:
    before = home.key_file.read_bytes()
    with pytest.raises(BadInput, match="wrong passphrase"):
        Keyring.open(home.key_file, home.kms("wrong passphrase"))
    assert home.key_file.read_bytes() == before


@pytest.mark.parametrize("kept", [0, 10, 200, 600])
def test_a_truncated_file_is_told_and_stays_as_it_is(home: Home, kept: int) -> None:
    home.key_file.write_bytes(home.key_file.read_bytes()[:kept])
    before = home.key_file.read_bytes()
    with pytest.raises(EnvironmentFailed, match=r"truncated or was changed"):
        home.open_keyring()
    with pytest.raises(BadInput, match="exists already"):
        Keyring.create(home.key_file, home.kms())
    assert home.key_file.read_bytes() == before


def test_deeply_nested_json_is_no_keyring(home: Home) -> None:
    home.key_file.write_text("[" * 100_000)
    with pytest.raises(EnvironmentFailed, match=r"truncated or was changed"):
        home.open_keyring()


@pytest.mark.parametrize("field", ["payload", "wrapped_key", "keyset_id", "kind", "version", "format"])
def test_a_tampered_field_is_told(home: Home, field: str) -> None:
    envelope = json.loads(home.key_file.read_text())
    value = envelope[field]
    if isinstance(value, str):
        envelope[field] = ("B" if value[0] != "B" else "C") + value[1:]
    else:
        envelope[field] = value + 1
    home.key_file.write_text(json.dumps(envelope))
    with pytest.raises(EnvironmentFailed) as caught:
        home.open_keyring()
    assert "\n" not in str(caught.value)


def test_a_missing_keyring_is_told(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFailed, match="missing"):
        Keyring.open(tmp_path / "none.json", Home(tmp_path).kms())


def test_the_erasure_counter_survives_and_heeds_other_processes(home: Home) -> None:
    first, second = home.open_keyring(), home.open_keyring()
    first.count_erasure()
    second.count_erasure()
    assert second.erasure_counter == 2
    assert home.open_keyring().erasure_counter == 2
    first.count_erasure(at_least=2)
    assert home.open_keyring().erasure_counter == 2


def test_no_half_written_or_foreign_file_is_left(home: Home, keyring: Keyring) -> None:
    keyring.count_erasure()
    assert sorted(path.name for path in home.key_file.parent.iterdir()) == [".keyring.json.lock", "keyring.json"]
    assert home.key_file.stat().st_mode & 0o777 == 0o600


def sealed(home: Home, keyring: Keyring, *domains: str) -> SealedKeyring:
    path = home.root / "keys" / "service.json"
    keyring.seal(path, home.kms("service passphrase"), domains)
    return SealedKeyring.open(path, home.kms("service passphrase"))


def test_a_sealed_keyring_holds_the_chosen_domains_and_fs(home: Home, keyring: Keyring) -> None:
    service = sealed(home, keyring, "retention")
    assert service.domains == {"retention", "features"}
    for domain in service.domains:
        mine, its = keyring.token_keys(domain), service.token_keys(domain)
        assert mine.primary == its.primary
        assert release(mine.by_id[mine.primary]) == release(its.by_id[its.primary])
    with pytest.raises(BadInput, match="holds no key of domain value"):
        service.token_keys("value")
    with pytest.raises(BadInput, match="unknown token domain"):
        service.token_keys("nowhere")


def test_a_sealed_keyring_signs_audit_and_macs_suppression_alike(home: Home, keyring: Keyring) -> None:
    service = sealed(home, keyring, "retention")
    assert verify_signature(keyring.audit_public_key, service.audit_signer.sign(b"event"), b"event")
    assert service.bearer_public_key == keyring.bearer_public_key
    message = pa.array([b"x"])
    assert (service.suppression.of_messages(message) == keyring.suppression.of_messages(message)).all()


def test_a_sealed_keyring_has_no_key_of_the_vault(home: Home, keyring: Keyring) -> None:
    service = sealed(home, keyring, "retention")
    for name in (
        "index",
        "tombstone",
        "key_store",
        "quarantine",
        "inference",
        "bearer_signer",
        "attribute",
        "journal",
        "seal",
    ):
        assert not hasattr(service, name)
        assert hasattr(keyring, name)


def test_root_and_sealed_files_are_not_interchangeable(home: Home, keyring: Keyring) -> None:
    sealed(home, keyring, "retention")
    with pytest.raises(EnvironmentFailed, match="not a root one"):
        Keyring.open(home.root / "keys" / "service.json", home.kms("service passphrase"))
    with pytest.raises(EnvironmentFailed, match="not a sealed one"):
        SealedKeyring.open(home.key_file, home.kms())


def test_handles_refuse_repr_pickle_copy_and_comparison(home: Home, keyring: Keyring) -> None:
    keys = keyring.token_keys("retention")
    service = sealed(home, keyring, "retention")
    secret = keys.by_id[keys.primary]
    handles = [keyring, service, secret, keyring.index, keyring.quarantine, keyring.audit_signer]
    for handle in handles:
        assert release(secret).hex() not in repr(handle)
        assert repr(handle) == f"<{type(handle).__name__}: secret>"
        for leak in (pickle.dumps, copy.copy, copy.deepcopy, lambda x: x == x, hash):
            with pytest.raises(TypeError):
                leak(handle)


def test_sealed_data_is_bound_to_key_and_context(keyring: Keyring) -> None:
    box = keyring.quarantine.seal(b"row", b"orders")
    for data, context in ((box, b"customers"), (box[:-1] + bytes([box[-1] ^ 1]), b"orders"), (box[:10], b"orders")):
        with pytest.raises(CheckFailed):
            keyring.quarantine.open(data, context)
    with pytest.raises(CheckFailed):
        keyring.key_store.open(box, b"orders")


def tokens(keyring: Keyring | SealedKeyring, count: int = 3) -> pa.Array:
    blocks = np.arange(count * 16, dtype=np.uint8).reshape(count, 16)
    return handles_to_tokens(keyring, blocks, "retention")


def readable(keyring: Keyring | SealedKeyring, some: pa.Array) -> list[bool]:
    return tokens_to_handles(keyring, some, "retention")[1].tolist()


def test_rotation_makes_tokens_by_a_new_key_and_goes_on_reading_the_old(home: Home, keyring: Keyring) -> None:
    old = tokens(keyring)
    fresh = keyring.rotate()
    new = tokens(keyring)
    assert [info.state for info in keyring.keys] == [KeyState.ENABLED, KeyState.PRIMARY]
    assert fresh.version == 2
    assert not set(old.to_pylist()) & set(new.to_pylist())
    for reader in (keyring, home.open_keyring()):
        assert (tokens_to_handles(reader, old, "retention")[0] == tokens_to_handles(reader, new, "retention")[0]).all()


def test_rotation_leaves_indexes_seals_and_signatures_alone(home: Home, keyring: Keyring) -> None:
    ids, sealed_row = pa.array(["7"]), keyring.quarantine.seal(b"row", b"c")
    before = (keyring.index.of_ids(ids), keyring.tombstone.of_ids(ids), keyring.attribute("order_id").of_ids(ids))
    keyring.rotate()
    again = home.open_keyring()
    after = (again.index.of_ids(ids), again.tombstone.of_ids(ids), again.attribute("order_id").of_ids(ids))
    assert all((mine == its).all() for mine, its in zip(before, after, strict=True))
    assert again.quarantine.open(sealed_row, b"c") == b"row"
    assert again.audit_public_key == keyring.audit_public_key


def test_a_disabled_key_reads_nothing_until_it_is_enabled_again(home: Home, keyring: Keyring) -> None:
    old = tokens(keyring)
    first = keyring.keys[0].key_id
    keyring.rotate()
    keyring.set_state(first, KeyState.DISABLED)
    assert readable(keyring, old) == readable(sealed(home, keyring, "retention"), old) == [False] * 3
    assert set(keyring.token_keys("retention", disabled=True).by_id) == {info.key_id for info in keyring.keys}
    keyring.set_state(first, KeyState.ENABLED)
    assert readable(home.open_keyring(), old) == [True] * 3


def test_a_destroyed_key_is_gone_for_good(home: Home, keyring: Keyring) -> None:
    old = tokens(keyring)
    first = keyring.keys[0].key_id
    keyring.rotate()
    keyring.set_state(first, KeyState.DISABLED)
    keyring.set_state(first, KeyState.DESTROYED)
    again = home.open_keyring()
    assert readable(again, old) == [False] * 3
    assert first not in again.token_keys("retention", disabled=True).by_id
    assert [info.state for info in again.keys] == [KeyState.DESTROYED, KeyState.PRIMARY]
    with pytest.raises(BadInput, match=f"key {first} is destroyed and can't become enabled"):
        again.set_state(first, KeyState.ENABLED)
    with pytest.raises(BadInput, match=f"key {first} of domain retention is not enabled"):
        handles_to_tokens(again, np.zeros((1, 16), np.uint8), "retention", key_id=first)


@pytest.mark.parametrize("state", [KeyState.DISABLED, KeyState.DESTROYED, KeyState.ENABLED])
def test_the_primary_stays_until_another_is(keyring: Keyring, state: KeyState) -> None:
    with pytest.raises(BadInput, match="rotate first"):
        keyring.set_state(keyring.keys[0].key_id, state)


def test_only_a_disabled_key_is_destroyed_and_an_unknown_one_is_named_as_such(keyring: Keyring) -> None:
    first = keyring.keys[0].key_id
    keyring.rotate()
    with pytest.raises(BadInput, match="disable it first"):
        keyring.set_state(first, KeyState.DESTROYED)
    with pytest.raises(BadInput, match="there is no key of this id"):
        keyring.set_state("zz" if first != "zz" else "yy", KeyState.DISABLED)


def test_two_holders_rotating_lose_nothing_of_each_other(home: Home) -> None:
    first, second = home.open_keyring(), home.open_keyring()
    first.rotate()
    first.count_erasure()
    second.rotate()
    again = home.open_keyring()
    assert [info.version for info in again.keys] == [1, 2, 3]
    assert [info.state for info in again.keys].count(KeyState.PRIMARY) == 1
    assert again.erasure_counter == 1


def test_every_key_has_an_id_of_its_own(keyring: Keyring) -> None:
    for _ in range(40):
        keyring.rotate()
    assert len({info.key_id for info in keyring.keys}) == 41


def test_rewrapping_changes_what_opens_it_and_nothing_else(home: Home, keyring: Keyring) -> None:
    some = tokens(keyring)
    keyring.rewrap(home.kms("another passphrase"))
    with pytest.raises(BadInput, match="wrong passphrase"):
        home.open_keyring()
    again = Keyring.open(home.key_file, home.kms("another passphrase"))
    assert tokens(again).equals(some)
    keyring.rotate()  # the holder goes on with the file it wrote
    assert len(Keyring.open(home.key_file, home.kms("another passphrase")).keys) == 2


def test_a_file_that_does_not_read_back_leaves_the_old_one(
    home: Home, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, really = home.key_file.read_bytes(), Path.read_bytes
    with monkeypatch.context() as lying:  # a disk that lies: what is read is not what was written
        lying.setattr(Path, "read_bytes", lambda path: really(path)[:-1] if path.suffix == ".tmp" else really(path))
        with pytest.raises(EnvironmentFailed, match="does not read back"):
            keyring.rotate()
    assert home.key_file.read_bytes() == before
    assert sorted(path.name for path in home.key_file.parent.iterdir()) == [".keyring.json.lock", "keyring.json"]
