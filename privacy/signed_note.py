"""C2SP signed notes with Ed25519, and the checkpoints of transparency logs written as such notes.

A note is text, a blank line and signature lines `— <key name> <base64(4-byte key id || signature)>`; the formats are
those of c2sp.org/signed-note and c2sp.org/tlog-checkpoint, so any note verifier can check ours by its verifier key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from privacy.ciphers import Signer, verify_signature
from privacy.errors import BadInput, CheckFailed
from privacy.merkle import HASH_BYTES

__all__ = ["Checkpoint", "NoteKey", "open_note", "sign_note"]

_ED25519: Final = b"\x01"
_KEY_ID_BYTES: Final = 4
_DASH: Final = "— "
_MOST_SIGNATURES: Final = 100
"""As the Go implementation; more is somebody's attempt to keep us busy."""
_MOST_BYTES: Final = 1 << 20
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")


@dataclass(frozen=True)
class NoteKey:
    """Who may sign notes: a key name and its 32-byte Ed25519 public key.

    BadInput for a name that is empty or holds a space, a control character or a plus, or a key of another length.
    """

    name: str
    public_key: bytes

    def __post_init__(self) -> None:
        if not _is_key_name(self.name):
            raise BadInput("the name of a note key is not usable", remedy="use one without spaces and plus signs")
        if len(self.public_key) != 32:
            raise BadInput("an Ed25519 public key has 32 bytes", where=f"key {self.name}")

    @cached_property
    def key_id(self) -> bytes:
        """The first 4 bytes of SHA-256(name || newline || 0x01 || public key)."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public_key).digest()[:_KEY_ID_BYTES]

    @property
    def verifier_key(self) -> str:
        """`name+key id+base64(0x01 || public key)`: what any note verifier takes."""
        return f"{self.name}+{self.key_id.hex()}+{_base64(_ED25519 + self.public_key)}"

    @classmethod
    def parsed(cls, verifier_key: str) -> NoteKey:
        """The key that a verifier key names; BadInput when it is mistyped or not Ed25519.

        >>> NoteKey.parsed("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW").name
        'PeterNeumann'
        """
        name, _, rest = verifier_key.partition("+")
        key_id, _, encoded = rest.partition("+")
        key = _decoded(encoded)
        if key is None or len(key) != 33 or key[:1] != _ED25519 or not _is_key_name(name):
            raise BadInput("this is no Ed25519 verifier key", remedy="it reads name+key id+base64, all in one word")
        found = cls(name, key[1:])
        if found.key_id.hex() != key_id:
            raise BadInput("the verifier key is mistyped: its key id does not fit", where=f"key {name}")
        return found


def sign_note(text: str, key: NoteKey, signer: Signer) -> bytes:
    """The note of `text` signed as `key`, whose private part `signer` holds.

    ValueError when the text would not be a note's (no final newline, control characters), or the keys differ.
    """
    if not text.endswith("\n") or _CONTROL.search(text):
        raise ValueError("the text of a note ends with a newline and holds no other control character")
    if key.public_key != signer.public_key:
        raise ValueError("the signer holds another key")
    signature = _base64(key.key_id + signer.sign(text.encode()))
    return f"{text}\n{_DASH}{key.name} {signature}\n".encode()


def open_note(note: bytes, key: NoteKey) -> str:
    """The text of a note signed by `key`; signatures of other keys are ignored.

    CheckFailed when it is no note, `key` didn't sign it, or a signature under its name and id doesn't hold.
    """
    text, lines = _split(note)
    signatures = [_signature(line) for line in lines]
    ours = [signature for name, key_id, signature in signatures if (name, key_id) == (key.name, key.key_id)]
    if not ours:
        raise CheckFailed(f"the note is not signed by key {key.name}+{key.key_id.hex()}")
    if not all(verify_signature(key.public_key, signature, text.encode()) for signature in ours):
        raise CheckFailed(f"the signature of key {key.name}+{key.key_id.hex()} does not hold")
    return text


@dataclass(frozen=True)
class Checkpoint:
    """A log's tree head: who the log is, how many leaves it has, and the root over them."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        r"""The three lines that are signed; there are no extension lines.

        >>> Checkpoint("example.com/log", 0, bytes(32)).text()
        'example.com/log\n0\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n'
        """
        return f"{self.origin}\n{self.size}\n{_base64(self.root)}\n"

    def signed(self, key: NoteKey, signer: Signer) -> bytes:
        """The signed note; ValueError when the key isn't named as the log is."""
        if key.name != self.origin:
            raise ValueError("a checkpoint is signed under its log's name")
        return sign_note(self.text(), key, signer)

    @classmethod
    def opened(cls, note: bytes, public_key: bytes, *, origin: str | None = None) -> Checkpoint:
        """The checkpoint that the holder of `public_key` signed, of the log `origin` when given.

        CheckFailed when it is unreadable, of another log, or not signed by that key.
        """
        named = _split(note)[0].partition("\n")[0]
        if not _is_key_name(named):
            raise _unreadable()
        if origin is not None and named != origin:
            raise CheckFailed("the checkpoint is of another log", remedy=f"this log's checkpoints begin with {origin}")
        return cls.parsed(open_note(note, NoteKey(named, public_key)))

    @classmethod
    def parsed(cls, text: str) -> Checkpoint:
        """The checkpoint that `text` wrote; CheckFailed for anything else."""
        lines = text.split("\n")
        root = _decoded(lines[2]) if len(lines) == 4 else None
        if root is None or len(root) != HASH_BYTES or lines[3] or not re.fullmatch(r"0|[1-9][0-9]{0,18}", lines[1]):
            raise _unreadable()
        return cls(lines[0], int(lines[1]), root)


def _split(note: bytes) -> tuple[str, list[str]]:
    try:
        content = note.decode() if len(note) <= _MOST_BYTES else ""
    except UnicodeDecodeError:
        content = ""
    text, blank, signatures = content.rpartition("\n\n")
    lines = signatures.split("\n")
    if not blank or not text or lines.pop() or not 0 < len(lines) <= _MOST_SIGNATURES or _CONTROL.search(content):
        raise _unreadable()
    return text + "\n", lines


def _signature(line: str) -> tuple[str, bytes, bytes]:
    """Name, key id and signature of one line; it must have the form even when the key is nobody's we know."""
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    decoded = _decoded(encoded)
    if not line.startswith(_DASH) or not _is_key_name(name) or decoded is None or len(decoded) <= _KEY_ID_BYTES:
        raise _unreadable()
    return name, decoded[:_KEY_ID_BYTES], decoded[_KEY_ID_BYTES:]


def _is_key_name(name: str) -> bool:
    return bool(name) and "+" not in name and name.isprintable() and not any(letter.isspace() for letter in name)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decoded(text: str) -> bytes | None:
    """Base 64 (RFC 4648 section 4) in its one canonical spelling; None for anything else."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if _base64(data) == text else None


def _unreadable() -> CheckFailed:
    return CheckFailed("this is no signed checkpoint", remedy="a checkpoint is a signed note of three lines")
