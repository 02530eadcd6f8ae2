"""Notes against the vectors of Go's golang.org/x/mod/sumdb/note, which C2SP signed-note describes."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.ciphers import Signer
from privacy.errors import BadInput, CheckFailed
from privacy.secret_key_access import seal_in_handle
from privacy.signed_note import Checkpoint, NoteKey, open_note, sign_note

PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETERS_SEED = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
ENOCH = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
BY_PETER = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
BY_ENOCH = "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
PETERS_KEY = NoteKey.parsed(PETER)


def signer(seed: bytes = bytes(range(32))) -> Signer:
    return Signer(seal_in_handle(seed))


def ours(name: str) -> NoteKey:
    return NoteKey(name, signer().public_key)


def peter() -> Signer:
    return signer(base64.b64decode(PETERS_SEED)[1:])


def note(*lines: str, text: str = TEXT) -> bytes:
    return f"{text}\n{''.join(lines)}".encode()


def test_a_note_is_signed_as_go_signs_it() -> None:
    assert NoteKey("PeterNeumann", peter().public_key).verifier_key == PETER
    assert sign_note(TEXT, PETERS_KEY, peter()) == note(BY_PETER)


@pytest.mark.parametrize(
    ("lines", "keys"),
    [((BY_PETER,), (PETER,)), ((BY_PETER, BY_ENOCH), (PETER, ENOCH)), ((BY_PETER, BY_PETER, BY_ENOCH), (PETER,))],
)
def test_a_note_opens_for_each_of_its_signers(lines: tuple[str, ...], keys: tuple[str, ...]) -> None:
    for key in keys:
        assert open_note(note(*lines), NoteKey.parsed(key)) == TEXT


def test_the_example_of_the_checkpoint_specification_parses() -> None:
    text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    found = Checkpoint.parsed(text)
    assert (found.origin, found.size, found.text()) == ("example.com/behind-the-sofa", 20852163, text)


BAD_NOTES = [
    TEXT.encode(),
    note(),
    note(BY_PETER[:-1]),
    note(BY_PETER, text="\x01" + TEXT),
    b"\xff" + note(BY_PETER),
    note("— Bad Name x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"),
    note(BY_PETER, "Unexpected line.\n"),
    note(BY_PETER.replace("— ", "-- ")),
    note(BY_PETER.replace("x08g", "x08 ")),
    note("— PeterNeumann x08gow==\n"),
    note(*[BY_PETER] * 101),
    note(BY_PETER, text="x" * (1 << 20) + "\n"),
    b"",
    b"\n\n",
]


@pytest.mark.parametrize("bad", BAD_NOTES, ids=range(len(BAD_NOTES)))
def test_what_is_no_note_does_not_open(bad: bytes) -> None:
    with pytest.raises(CheckFailed, match="no signed checkpoint"):
        open_note(bad, PETERS_KEY)


def test_a_note_needs_a_good_signature_of_the_known_key() -> None:
    with pytest.raises(CheckFailed, match=r"not signed by key PeterNeumann\+c74f20a3"):
        open_note(note(BY_ENOCH), PETERS_KEY)
    same_name = NoteKey("PeterNeumann", NoteKey.parsed(ENOCH).public_key)
    with pytest.raises(CheckFailed, match="not signed by"):
        open_note(note(BY_PETER), same_name)
    for wrong in (note(BY_PETER, text=TEXT.replace("you", "we")), note(BY_PETER.replace("ZJku", "ZJkv"))):
        with pytest.raises(CheckFailed, match="does not hold"):
            open_note(wrong, PETERS_KEY)
    with pytest.raises(CheckFailed, match="does not hold"):
        open_note(note(BY_PETER, BY_PETER.replace("ZJku", "ZJkv")), PETERS_KEY)


@given(st.integers(0, len(PETER)), st.integers(0, len(PETER)))
def test_a_part_of_a_verifier_key_is_none(first: int, end: int) -> None:
    part = PETER[first:end]
    if part != PETER:
        with pytest.raises(BadInput):
            NoteKey.parsed(part)


@pytest.mark.parametrize("at", range(len(PETER)))
def test_a_mistyped_verifier_key_is_refused(at: int) -> None:
    with pytest.raises(BadInput):
        NoteKey.parsed(PETER[:at] + chr(ord(PETER[at]) + 1) + PETER[at + 1 :])


@pytest.mark.parametrize(
    "key",
    [
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",  # of another length
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",  # of another algorithm
        "Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "",
    ],
)
def test_other_keys_are_refused(key: str) -> None:
    with pytest.raises(BadInput):
        NoteKey.parsed(key)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u00a0b", "a\u2003b", "a\nb", "a\x00b"])
def test_names_that_would_break_a_line_are_refused(name: str) -> None:
    with pytest.raises(BadInput):
        NoteKey(name, bytes(32))
    with pytest.raises(BadInput):
        NoteKey("good", bytes(31))


@pytest.mark.parametrize("text", ["no newline", "", "tab\tbed\n", "return\r\n"])
def test_only_texts_of_notes_are_signed(text: str) -> None:
    with pytest.raises(ValueError, match="ends with a newline"):
        sign_note(text, ours("name"), signer())


def test_only_the_keys_own_signer_signs_and_only_its_own_log() -> None:
    with pytest.raises(ValueError, match="another key"):
        sign_note(TEXT, PETERS_KEY, signer())
    with pytest.raises(ValueError, match="its log's name"):
        Checkpoint("other", 0, bytes(32)).signed(ours("log"), signer())


@given(st.integers(0, 10**18), st.binary(min_size=32, max_size=32), st.text("abcxyz/._0:é字", min_size=1))
def test_a_signed_checkpoint_opens_by_the_public_key_alone(size: int, root: bytes, origin: str) -> None:
    made = Checkpoint(origin, size, root)
    signed = made.signed(ours(origin), signer())
    assert Checkpoint.opened(signed, signer().public_key) == made
    with pytest.raises(CheckFailed, match="not signed by"):
        Checkpoint.opened(signed, peter().public_key)
    with pytest.raises(CheckFailed, match="another log"):
        Checkpoint.opened(signed, signer().public_key, origin=f"{origin}2")


ROOT = base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    "text",
    [
        f"log\n01\n{ROOT}\n",
        f"log\n-1\n{ROOT}\n",
        f"log\n+1\n{ROOT}\n",
        f"log\n١\n{ROOT}\n",
        f"log\n{10**19}\n{ROOT}\n",
        f"log\n1\n{ROOT[:-1]}\n",
        f"log\n1\n{ROOT[:-2]}B=\n",
        "log\n1\nAAAA\n",
        f"log\n1\n{ROOT}\nextension\n",
        f"log\n\n1\n{ROOT}\n",
        f"log\n1\n{ROOT}",
        "log\n1\n",
        "log\n",
    ],
)
def test_a_signed_text_that_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(CheckFailed, match="no signed checkpoint"):
        Checkpoint.parsed(text)
    if text.endswith("\n"):
        with pytest.raises(CheckFailed, match="no signed checkpoint"):
            Checkpoint.opened(sign_note(text, ours("log"), signer()), signer().public_key)
