from __future__ import annotations

import copy
import hashlib
import hmac
import json
import pickle
from pathlib import Path

import pyarrow as pa
import pytest

from privacy.ciphers import verify_signature
from privacy.errors import BadInput, CheckFailed
from privacy.keyring import Keyring, SealedKeyring, derive
from privacy.secret_key_access import release, seal_in_handle

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
def test_a_truncated_file_is_bad_input_and_stays_as_it_is(home: Home, kept: int) -> None:
    home.key_file.write_bytes(home.key_file.read_bytes()[:kept])
    before = home.key_file.read_bytes()
    with pytest.raises(BadInput, match=r"truncated or was changed"):
        home.open_keyring()
    with pytest.raises(BadInput, match="exists already"):
        Keyring.create(home.key_file, home.kms())
    assert home.key_file.read_bytes() == before


@pytest.mark.parametrize("field", ["payload", "wrapped_key", "keyset_id", "kind", "version", "format"])
def test_a_tampered_field_is_bad_input(home: Home, field: str) -> None:
    envelope = json.loads(home.key_file.read_text())
    value = envelope[field]
    if isinstance(value, str):
        envelope[field] = ("B" if value[0] != "B" else "C") + value[1:]
    else:
        envelope[field] = value + 1
    home.key_file.write_text(json.dumps(envelope))
    with pytest.raises(BadInput) as caught:
        home.open_keyring()
    assert "\n" not in str(caught.value)


def test_a_missing_keyring_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="missing"):
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
    for name in ("index", "tombstone", "key_store", "quarantine", "bearer_signer", "attribute", "journal", "seal"):
        assert not hasattr(service, name)
        assert hasattr(keyring, name)


def test_root_and_sealed_files_are_not_interchangeable(home: Home, keyring: Keyring) -> None:
    sealed(home, keyring, "retention")
    with pytest.raises(BadInput, match="not a root one"):
        Keyring.open(home.root / "keys" / "service.json", home.kms("service passphrase"))
    with pytest.raises(BadInput, match="not a sealed one"):
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
