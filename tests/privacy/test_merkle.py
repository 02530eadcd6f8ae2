"""The tree against published vectors, and against the definitions of RFC 6962 written out naively."""

from __future__ import annotations

import base64
import hashlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.merkle import (
    EMPTY_ROOT,
    CompactRange,
    consistency_proof,
    inclusion_proof,
    is_consistent,
    is_included,
    leaf_hash,
    node_hash,
    root_of,
)

# The eight leaves of the Certificate Transparency reference implementation (merkletree/merkle_tree_test.cc),
# also testonly/constants.go of transparency-dev/merkle.
CT_LEAVES = [
    leaf_hash(bytes.fromhex(data))
    for data in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
CT_ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
NODE_01 = "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
NODE_23 = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
NODE_45 = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
NODE_67 = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
NODE_0123 = "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"
NODE_4567 = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
LEAF = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
    "0298d122906dcfc10892cb53a73992fc5b9f493ea4c9badb27b791b4127a7fe7",
    "07506a85fd9dd2f120eb694f86011e5bb4662e5c415a62917033d4a9624487e7",
    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
]
# kSHA256Paths and kSHA256Proofs of the same test, leaves counted from 0.
CT_PATHS = {
    (0, 1): [],
    (0, 8): [LEAF[1], NODE_23, NODE_4567],
    (5, 8): [LEAF[4], NODE_67, NODE_0123],
    (2, 3): [NODE_01],
    (1, 5): [LEAF[0], NODE_23, LEAF[4]],
}
CT_PROOFS = {
    (1, 1): [],
    (1, 8): [LEAF[1], NODE_23, NODE_4567],
    (6, 8): [NODE_45, NODE_67, NODE_0123],
    (2, 5): [NODE_23, LEAF[4]],
    (3, 7): [LEAF[2], LEAF[3], NODE_01, "837dbb152e9b079010717e84e865da4ebc0fa198a806d59d31bf15accef22d0e"],
}
# TestGetRootHashGolden of transparency-dev/merkle (compact/range_test.go): leaf i is i in two little-endian bytes.
GOLDEN_ROOTS = {
    10: "VjWMPSYNtCuCNlF/RLnQy6HcwSk6CIipfxm+hettA+4=",
    15: "j4SulYmocFuxdeyp12xXCIgK6PekBcxzAIj4zbQzNEI=",
    16: "c+4Uc6BCMOZf/v3NZK1kqTUJe+bBoFtOhP+P3SayKRE=",
    100: "dUh9hYH88p0CMoHkdr1wC2szbhcLAXOejWpINIooKUY=",
    255: "SmdsuKUqiod3RX2jyF2M6JnbdE4QuTwwipfAowI4/i0=",
    256: "qFI0t/tZ1MdOYgyPpPzHFiZVw86koScXy9q3FU5casA=",
    1000: "RXrgb8xHd55Y48FbfotJwCbV82Kx22LZfEbmBGAvwlQ=",
    4095: "cWRFdQhPcjn9WyBXE/r1f04ejxIm5lvg40DEpRBVS0w=",
    4096: "6uU/phfHg1n/GksYT6TO9aN8EauMCCJRl3dIK0HDs2M=",
    10000: "VZcav65F9haHVRk3wre2axFoBXRNeUh/1d9d5FQfxIg=",
    65535: "iPuVYJhP6SEE4gUFp8qbafd2rYv9YTCDYqAxCj8HdLM=",
}


def test_hashes_of_the_reference_implementation() -> None:
    assert leaf_hash(b"").hex() == LEAF[0]
    assert leaf_hash(b"L123456").hex() == "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56"
    assert node_hash(b"N123", b"N456").hex() == "aa217fe888e47007fa15edab33c2b492a722cb106c64667fc2b044444de66bbb"
    assert EMPTY_ROOT.hex() == CT_ROOTS[0]


@pytest.mark.parametrize("size", range(9))
def test_roots_of_the_reference_tree(size: int) -> None:
    assert root_of(CT_LEAVES[:size]).hex() == CT_ROOTS[size]


def test_golden_roots_of_larger_trees_while_one_tree_grows() -> None:
    tree = CompactRange()
    for number in range(65535):
        tree.append(leaf_hash(number.to_bytes(2, "little")))
        if tree.size in GOLDEN_ROOTS:
            assert base64.b64encode(tree.root()).decode() == GOLDEN_ROOTS[tree.size]


@pytest.mark.parametrize(("case", "path"), CT_PATHS.items())
def test_inclusion_proofs_of_the_reference_tree(case: tuple[int, int], path: list[str]) -> None:
    index, size = case
    assert [node.hex() for node in inclusion_proof(CT_LEAVES[:size], index)] == path
    proof = [bytes.fromhex(node) for node in path]
    assert is_included(CT_LEAVES[index], index, size, proof, bytes.fromhex(CT_ROOTS[size]))


@pytest.mark.parametrize(("case", "path"), CT_PROOFS.items())
def test_consistency_proofs_of_the_reference_tree(case: tuple[int, int], path: list[str]) -> None:
    old, new = case
    assert [node.hex() for node in consistency_proof(CT_LEAVES[:new], old)] == path
    proof = [bytes.fromhex(node) for node in path]
    assert is_consistent(old, new, bytes.fromhex(CT_ROOTS[old]), bytes.fromhex(CT_ROOTS[new]), proof)


# RFC 6962 section 2.1 word for word, on the data itself; shares nothing with the code under test.
def mth(data: list[bytes]) -> bytes:
    if not data:
        return hashlib.sha256().digest()
    if len(data) == 1:
        return hashlib.sha256(b"\x00" + data[0]).digest()
    k = largest_power_below(len(data))
    return hashlib.sha256(b"\x01" + mth(data[:k]) + mth(data[k:])).digest()


def path(m: int, data: list[bytes]) -> list[bytes]:
    if len(data) == 1:
        return []
    k = largest_power_below(len(data))
    return [*path(m, data[:k]), mth(data[k:])] if m < k else [*path(m - k, data[k:]), mth(data[:k])]


def subproof(m: int, data: list[bytes], whole: bool) -> list[bytes]:
    if m == len(data):
        return [] if whole else [mth(data)]
    k = largest_power_below(len(data))
    if m <= k:
        return [*subproof(m, data[:k], whole), mth(data[k:])]
    return [*subproof(m - k, data[k:], False), mth(data[:k])]


def largest_power_below(n: int) -> int:
    return max(power for power in (2**exponent for exponent in range(n.bit_length())) if power < n)


TREES = st.lists(st.binary(max_size=40), min_size=1, max_size=70)


@given(TREES, st.data())
def test_proofs_are_those_of_the_definitions_and_check(data: list[bytes], draw: st.DataObject) -> None:
    leaves = [leaf_hash(item) for item in data]
    root = root_of(leaves)
    assert root == mth(data)
    index = draw.draw(st.integers(0, len(data) - 1))
    proof = inclusion_proof(leaves, index)
    assert proof == path(index, data)
    assert is_included(leaves[index], index, len(data), proof, root)
    old = draw.draw(st.integers(1, len(data)))
    proof = consistency_proof(leaves, old)
    assert proof == subproof(old, data, True)
    assert is_consistent(old, len(data), root_of(leaves[:old]), root, proof)


def test_every_proof_of_every_small_tree_checks_and_no_other_does() -> None:
    leaves = [leaf_hash(bytes([number])) for number in range(20)]
    roots = [root_of(leaves[:size]) for size in range(21)]
    for size in range(1, 21):
        for index in range(size):
            proof = inclusion_proof(leaves[:size], index)
            fits = [at for at in range(22) if is_included(leaves[index], at, size, proof, roots[size])]
            assert fits == [index]
        for old in range(size + 1):
            proof = consistency_proof(leaves[:size], old)
            fits = [other for other in range(22) if is_consistent(other, size, roots[old], roots[size], proof)]
            assert fits == [old]


@given(st.integers(1, 40), st.data())
def test_a_proof_with_one_thing_changed_is_refused(size: int, draw: st.DataObject) -> None:
    leaves = [leaf_hash(bytes([number])) for number in range(size)]
    root, index = root_of(leaves), draw.draw(st.integers(0, size - 1))
    proof = inclusion_proof(leaves, index)
    for wrong in mangled(proof, root):
        assert not is_included(leaves[index], index, size, wrong, root)
    assert not is_included(leaf_hash(b"other"), index, size, proof, root)
    assert not is_included(leaves[index], index, size, proof, EMPTY_ROOT)
    old = draw.draw(st.integers(1, size))
    old_root, proof = root_of(leaves[:old]), consistency_proof(leaves, old)
    for wrong in mangled(proof, root):
        assert not is_consistent(old, size, old_root, root, wrong)
    assert not is_consistent(old, size, EMPTY_ROOT, root, proof)
    assert not is_consistent(old, size, old_root, EMPTY_ROOT, proof)


def mangled(proof: list[bytes], root: bytes) -> list[list[bytes]]:
    """As proof/verify_test.go of transparency-dev/merkle corrupts its proofs."""
    wrong = [[*proof, root], [root, *proof], [*proof, b""], [b"", *proof]]
    for at in range(len(proof)):
        flipped = bytes([proof[at][0] ^ 8]) + proof[at][1:]
        wrong += [[*proof[:at], flipped, *proof[at + 1 :]], proof[:at] + proof[at + 1 :]]
    return wrong


def test_an_empty_tree_is_the_beginning_of_every_tree() -> None:
    assert consistency_proof(CT_LEAVES, 0) == []
    root = root_of(CT_LEAVES)
    assert is_consistent(0, 8, EMPTY_ROOT, root, [])
    assert not is_consistent(0, 8, root, root, [])
    assert is_consistent(0, 0, EMPTY_ROOT, EMPTY_ROOT, [])
    assert not is_consistent(8, 7, root, root, [])


def test_what_is_not_in_a_tree_has_no_proof() -> None:
    for index in (-1, 8):
        with pytest.raises(IndexError):
            inclusion_proof(CT_LEAVES, index)
    for old in (-1, 9):
        with pytest.raises(IndexError):
            consistency_proof(CT_LEAVES, old)


def test_a_leaf_never_passes_for_a_node() -> None:
    left, right = CT_LEAVES[:2]
    assert leaf_hash(left + right) != node_hash(left, right)


@given(TREES, st.integers(0, 70))
def test_a_tree_goes_on_from_its_right_edge(data: list[bytes], cut: int) -> None:
    leaves = [leaf_hash(item) for item in data]
    first = CompactRange()
    for leaf in leaves[:cut]:
        first.append(leaf)
    second = CompactRange(first.size, first.edge)
    for leaf in leaves[cut:]:
        second.append(leaf)
    assert (second.size, second.root()) == (len(data), mth(data))
    assert first.root() == mth(data[:cut])  # it was not changed


def test_an_edge_that_does_not_fit_its_size_is_refused() -> None:
    node = bytes(32)
    bad = [(-1, []), (1, []), (0, [node]), (3, [node]), (4, [node, node]), (1, [b"short"])]
    for size, edge in bad:
        with pytest.raises(ValueError, match="does not fit"):
            CompactRange(size, edge)
    assert all(CompactRange(size, [node] * size.bit_count()).size == size for size in itertools.chain(range(9), [255]))
