"""RFC 6962 Merkle trees over SHA-256: roots that grow by one leaf at a time, inclusion and consistency proofs.

Leaves and inner nodes are hashed with different prefixes, so neither can pass for the other. A proof is a list
of 32-byte hashes in the order of RFC 6962 section 2.1; checking one follows RFC 9162 sections 2.1.3.2 and 2.1.4.2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

__all__ = [
    "EMPTY_ROOT",
    "HASH_BYTES",
    "CompactRange",
    "consistency_proof",
    "inclusion_proof",
    "is_consistent",
    "is_included",
    "leaf_hash",
    "node_hash",
    "root_of",
]

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
"""The root of the tree without leaves."""


def leaf_hash(data: bytes) -> bytes:
    """SHA-256(0x00 || data).

    >>> leaf_hash(b"L123456").hex()[:16]
    '395aa064aa4c29f7'
    """
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right).

    >>> node_hash(b"N123", b"N456").hex()[:16]
    'aa217fe888e47007'
    """
    return hashlib.sha256(b"\x01" + left + right).digest()


class CompactRange:
    """The right edge of a growing tree: the roots of its perfect subtrees, largest first.

    One hash for each 1 in the binary form of `size` is all that further leaves and the root need.

    >>> edge = CompactRange()
    >>> for data in (b"a", b"b", b"c"):
    ...     edge.append(leaf_hash(data))
    >>> edge.size, len(edge.edge), edge.root() == root_of([leaf_hash(b"a"), leaf_hash(b"b"), leaf_hash(b"c")])
    (3, 2, True)
    """

    __slots__ = ("_edge", "size")

    def __init__(self, size: int = 0, edge: Iterable[bytes] = ()) -> None:
        """Go on from `size` leaves whose right edge is `edge`; ValueError when they can't belong together."""
        self.size, self._edge = size, list(edge)
        if size < 0 or len(self._edge) != size.bit_count() or any(len(node) != HASH_BYTES for node in self._edge):
            raise ValueError("the edge does not fit the size")

    @property
    def edge(self) -> tuple[bytes, ...]:
        """The subtree roots, largest subtree first."""
        return tuple(self._edge)

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash on the right."""
        edge, complete, node = self._edge, self.size, leaf
        while complete & 1:
            node = hashlib.sha256(b"\x01" + edge.pop() + node).digest()  # node_hash, without the cost of a call
            complete >>= 1
        edge.append(node)
        self.size += 1

    def root(self) -> bytes:
        """The root of all leaves so far."""
        if not self._edge:
            return EMPTY_ROOT
        node = self._edge[-1]
        for left in self._edge[-2::-1]:
            node = node_hash(left, node)
        return node


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root over leaf hashes."""
    whole = CompactRange()
    for leaf in leaves:
        whole.append(leaf)
    return whole.root()


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The path of leaf `index` in the tree of `leaves` (leaf hashes): PATH of RFC 6962 section 2.1.1.

    IndexError when there is no such leaf.
    """
    if not 0 <= index < len(leaves):
        raise IndexError("no such leaf")
    path: list[bytes] = []
    first, end = 0, len(leaves)
    while end - first > 1:
        middle = first + _split(end - first)
        if index < middle:
            path.append(root_of(leaves[middle:end]))
            end = middle
        else:
            path.append(root_of(leaves[first:middle]))
            first = middle
    return path[::-1]


def consistency_proof(leaves: Sequence[bytes], old_size: int) -> list[bytes]:
    """That the tree of `leaves` began with its first `old_size`: PROOF of RFC 6962 section 2.1.2.

    Empty for equal sizes, and for an empty old tree, which every tree extends. IndexError for a larger old size.
    """
    if not 0 <= old_size <= len(leaves):
        raise IndexError("the old tree is larger than the new one")
    proof: list[bytes] = []
    first, end, known = 0, len(leaves), True
    while old_size and end > old_size:
        middle = first + _split(end - first)
        if old_size <= middle:
            proof.append(root_of(leaves[middle:end]))
            end = middle
        else:
            proof.append(root_of(leaves[first:middle]))
            first, known = middle, False
    if not known:  # else what is left is the whole old tree, whose root the verifier has
        proof.append(root_of(leaves[first:end]))
    return proof[::-1]


def is_included(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether `proof` shows that leaf hash `leaf` is at `index` in the tree of `size` leaves with `root`."""
    if not 0 <= index < size or any(len(node) != HASH_BYTES for node in proof):
        return False
    position, last, node = index, size - 1, leaf
    for sibling in proof:
        if not last:
            return False
        if position & 1 or position == last:
            node = node_hash(sibling, node)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        position, last = position >> 1, last >> 1
    return not last and node == root


def is_consistent(old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether `proof` shows that the tree of `new_size` leaves began as the one of `old_size`."""
    if not 0 <= old_size <= new_size or any(len(node) != HASH_BYTES for node in proof):
        return False
    if old_size in (0, new_size):
        return not proof and old_root == (new_root if old_size == new_size else EMPTY_ROOT)
    path = list(proof) if old_size & (old_size - 1) else [old_root, *proof]
    if not path:
        return False
    position, last = old_size - 1, new_size - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old = new = path[0]
    for node in path[1:]:
        if not last:
            return False
        if position & 1 or position == last:
            old, new = node_hash(node, old), node_hash(node, new)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            new = node_hash(new, node)
        position, last = position >> 1, last >> 1
    return not last and old == old_root and new == new_root


def _split(size: int) -> int:
    """The largest power of two below `size`: how many leaves the left subtree has."""
    return 1 << ((size - 1).bit_length() - 1)
