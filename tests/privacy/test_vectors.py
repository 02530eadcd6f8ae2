"""The published test vectors of every primitive that tokens, vault and keys rest on, through our own code.

Records and data keys are sealed with AES-GCM-SIV, so RFC 8452 stands beside RFC 5297 (AES-SIV), of which we use the
doubling only. SP 800-38B's other lengths and AES-192, which we don't use, are left out.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV, AESSIV
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

import privacy.ciphers
import privacy.keyset
from privacy.ciphers import Sealer
from privacy.cmac import Mac, _double
from privacy.keyring import derive
from privacy.secret_key_access import release, seal_in_handle
from privacy.tokens import _permute

SP_800_38B_KEY = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"
SP_800_38B_MESSAGE = bytes.fromhex(
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
    "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
)


@pytest.mark.parametrize(
    ("length", "mac"),
    [
        (0, "028962f61b7bf89efc6b551f4667d983"),
        (16, "28a7023f452e8f82bd4bf28d8c37c35c"),
        (40, "aaf3d8f1de5640c232f5b169b9c911e6"),
        (64, "e1992190549f6ed5696a2c056c315410"),
    ],
)
def test_sp_800_38b_aes_256_cmac(length: int, mac: str) -> None:
    ours = Mac(seal_in_handle(bytes.fromhex(SP_800_38B_KEY)))
    alone = ours.of_messages(pa.array([SP_800_38B_MESSAGE[:length]], pa.binary()))
    assert alone.tobytes().hex() == mac
    among = ours.of_messages(pa.array([b"x", SP_800_38B_MESSAGE[:length], b"", bytes(70)], pa.binary()))
    assert among[1].tobytes().hex() == mac


def test_rfc_5297_appendix_a1_rests_on_our_doubling() -> None:
    key = bytes.fromhex("fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
    associated = bytes.fromhex("101112131415161718191a1b1c1d1e1f2021222324252627")
    plaintext = bytes.fromhex("112233445566778899aabbccddee")

    def cmac(message: bytes) -> int:
        mac = CMAC(AES128(key[:16]))
        mac.update(message)
        return int.from_bytes(mac.finalize(), "big")

    doubled = _double(cmac(bytes(16)))
    assert f"{doubled:032x}" == "1c09bf5f83df7e080280b050b37e0e74"  # the highest bit was clear
    again = _double(doubled ^ cmac(associated))
    assert f"{again:032x}" == "dbe13bd0ed8c85dc9af179c99ddbf819"  # and here it was set
    last = again ^ int.from_bytes(plaintext + b"\x80\x00", "big")
    synthetic = f"{cmac(last.to_bytes(16, 'big')):032x}"
    assert synthetic == "85632d07c6e8f37f950acd320a2ecc93"
    assert AESSIV(key).encrypt(plaintext, [associated]).hex() == synthetic + "40c02b9690c4dc04daef7f6afe5c"


FIPS_197_BLOCK = "00112233445566778899aabbccddeeff"
FIPS_197_CIPHER = "8ea2b7ca516745bfeafc49904b496089"


@pytest.mark.parametrize("rows", [1, 2, 8193])
def test_fips_197_aes_256_appendix_c3(rows: int) -> None:
    key = seal_in_handle(bytes(range(32)))
    blocks = np.frombuffer(bytes.fromhex(FIPS_197_BLOCK) * rows, np.uint8).reshape(-1, 16)
    sealed = _permute(key, blocks)
    assert sealed.tobytes().hex() == FIPS_197_CIPHER * rows
    assert _permute(key, sealed, backwards=True).tobytes() == blocks.tobytes()


RFC_5869 = [  # test cases 1 to 3: key material, salt, info, length, output
    (
        "0b" * 22,
        "000102030405060708090a0b0c",
        "f0f1f2f3f4f5f6f7f8f9",
        42,
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
    ),
    (
        bytes(range(0x50)).hex(),
        bytes(range(0x60, 0xB0)).hex(),
        bytes(range(0xB0, 0x100)).hex(),
        82,
        (
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
            "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"
        ),
    ),
    (
        "0b" * 22,
        "",
        "",
        42,
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
    ),
]


@pytest.mark.parametrize(("material", "salt", "info", "length", "output"), RFC_5869)
def test_rfc_5869_hkdf_sha_256(material: str, salt: str, info: str, length: int, output: str) -> None:
    assert (privacy.keyset.HKDF, privacy.keyset.SHA256) == (HKDF, SHA256)  # the one that `derive` uses
    hkdf = HKDF(SHA256(), length, salt=bytes.fromhex(salt), info=bytes.fromhex(info))
    assert hkdf.derive(bytes.fromhex(material)).hex() == output


def test_derive_is_that_hkdf_over_length_prefixed_parts() -> None:
    root, context = bytes(range(32)), ("租户", "token:value", "handle", "2")
    info = b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in context)
    expected = HKDF(SHA256(), 32, salt=b"custos/keys/v1", info=info).derive(root)
    assert release(derive(seal_in_handle(root), context)) == expected


RFC_8452_KEY = "01" + "00" * 31  # appendix C.2, AEAD_AES_256_GCM_SIV: plaintext, associated data, result
RFC_8452_NONCE = "03" + "00" * 11
RFC_8452 = [
    ("", "", "07f5f4169bbf55a8400cd47ea6fd400f"),
    ("0100000000000000", "", "c2ef328e5c71c83b843122130f7364b761e0b97427e3df28"),
    ("010000000000000000000000", "", "9aab2aeb3faa0a34aea8e2b18ca50da9ae6559e48fd10f6e5c9ca17e"),
    (
        "01000000000000000000000000000000",
        "",
        "85a01b63025ba19b7fd3ddfc033b3e76c9eac6fa700942702e90862383c6c366",
    ),
    ("0200000000000000", "01", "1de22967237a813291213f267e3b452f02d01ae33e4ec854"),
    ("020000000000000000000000", "01", "163d6f9cc1b346cd453a2e4cc1a4a19ae800941ccdc57cc8413c277f"),
]


@pytest.mark.parametrize(("plaintext", "associated", "result"), RFC_8452)
def test_rfc_8452_aes_256_gcm_siv(plaintext: str, associated: str, result: str) -> None:
    assert privacy.ciphers.AESGCMSIV is AESGCMSIV  # the one that every `Sealer` uses
    nonce = bytes.fromhex(RFC_8452_NONCE)
    sealed = nonce + bytes.fromhex(result)
    box = Sealer(seal_in_handle(bytes.fromhex(RFC_8452_KEY)))
    assert box.open(sealed, bytes.fromhex(associated)) == bytes.fromhex(plaintext)
    again = AESGCMSIV(bytes.fromhex(RFC_8452_KEY)).encrypt(nonce, bytes.fromhex(plaintext), bytes.fromhex(associated))
    assert again.hex() == result
