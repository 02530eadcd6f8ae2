"""The index beside the database, seen through the vault: used when it fits, and never when it doesn't."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from privacy.keyring import Keyring
from privacy.vault import Vault
from privacy.vault_index import PUBLISH_ROWS
from tests.postgres import Server

from .conftest import Home, on_both

MANY = PUBLISH_ROWS + 904


@pytest.fixture(params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest) -> Server | None:
    return on_both(request)


def ids(first: int, last: int) -> pa.Array:
    return pa.array([f"person {number}" for number in range(first, last)])


def segments(home: Home) -> list[Path]:
    """As the manifest names them; nothing else may lie there."""
    manifest = json.loads((home.index / "manifest.json").read_text())
    named = [home.index / f"{name}.segment" for name in manifest["segments"]]
    there = {path.name for path in home.index.iterdir()}
    assert there == {".lock", "manifest.json", *(path.name for path in named)}
    return named


def blind(home: Home) -> None:
    """Empty the database's own table: whoever is still found was found in the index."""
    home.rows("vault", "DELETE FROM identities")


def test_a_new_process_finds_people_without_the_database(home: Home, vault: Vault) -> None:
    handles = vault.register(ids(0, MANY))
    assert len(segments(home)) == 1
    blind(home)
    other = home.open_vault()
    found, known = other.find(ids(0, MANY + 5))
    assert known.tolist() == [True] * MANY + [False] * 5
    assert (found[:MANY] == handles).all()
    other.close()


def test_few_people_wait_in_memory_until_the_vault_is_closed(home: Home) -> None:
    vault = home.open_vault()
    handles = vault.register(ids(0, 10))
    assert segments(home) == []
    other = home.open_vault()
    assert (other.find(ids(0, 10))[0] == handles).all()  # by the database
    vault.close()
    blind(home)
    assert (other.find(ids(0, 10))[0] == handles).all()  # the file is noticed
    other.close()


def test_who_comes_later_is_put_beside_the_base_and_the_base_stays(home: Home) -> None:
    home.open_vault().register(ids(0, 5 * PUBLISH_ROWS))
    (base,) = segments(home)
    number = base.stat().st_ino
    vault = home.open_vault()
    vault.register(ids(5 * PUBLISH_ROWS, 6 * PUBLISH_ROWS))
    kept, _ = segments(home)
    assert (kept, kept.stat().st_ino) == (base, number)
    vault.register(ids(6 * PUBLISH_ROWS, 7 * PUBLISH_ROWS))
    assert base not in segments(home)
    assert vault.find(ids(0, 7 * PUBLISH_ROWS))[1].all()
    vault.close()


DAMAGES = ["no manifest", "no JSON", "deep JSON", "no field", "absurd", "no segment", "cut", "header", "nothing"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_missing_or_damaged_index_is_made_anew(home: Home, vault: Vault, damage: str) -> None:
    handles = vault.register(ids(0, MANY))
    manifest, (segment,) = home.index / "manifest.json", segments(home)
    if damage == "no manifest":
        manifest.unlink()
    elif damage == "no JSON":
        manifest.write_text("{")
    elif damage == "deep JSON":
        manifest.write_text("[" * 100_000)
    elif damage == "absurd":
        manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "gone": 10**30}))
    elif damage == "no field":
        manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "segments": ["../x"]}))
    elif damage == "no segment":
        segment.unlink()
    elif damage == "cut":
        segment.write_bytes(segment.read_bytes()[:-7])
    elif damage == "header":
        segment.write_bytes(b"X" + segment.read_bytes()[1:])
    else:
        shutil.rmtree(home.index)
    other = home.open_vault()
    assert (other.find(ids(0, MANY))[0] == handles).all()
    other.close()
    assert damage in ("no segment",) or segments(home) != [segment]
    blind(home)
    third = home.open_vault()
    assert third.find(ids(0, MANY))[1].all()
    third.close()


def test_folders_among_its_files_are_in_nobodys_way(home: Home, vault: Vault) -> None:
    for name in ("a.segment", ".b.tmp"):
        (home.index / name).mkdir(parents=True)
    handles = vault.register(ids(0, MANY))
    other = home.open_vault()
    assert (other.find(ids(0, MANY))[0] == handles).all()
    other.close()


def test_damage_inside_is_covered_by_the_database(home: Home, vault: Vault) -> None:
    handles = vault.register(ids(0, MANY))
    (segment,) = segments(home)
    data = bytearray(segment.read_bytes())
    for place in np.random.default_rng(3).integers(64, len(data), 500).tolist():
        data[place] ^= 0x10
    segment.write_bytes(data)
    other = home.open_vault()
    assert (other.find(ids(0, MANY))[0] == handles).all()
    assert (other.register(ids(0, MANY + 3))[:MANY] == handles).all()
    assert len(other) == MANY + 3
    other.close()


def test_the_index_of_another_vault_is_never_used(home: Home, vault: Vault, tmp_path: Path) -> None:
    handles = vault.register(ids(0, MANY))
    stranger = Home(tmp_path / "stranger", home.server)
    Keyring.create(stranger.key_file, stranger.kms())
    theirs = stranger.open_vault()
    theirs.register(ids(0, MANY))
    theirs.close()
    shutil.rmtree(home.index)
    shutil.copytree(stranger.index, home.index)
    other = home.open_vault()
    assert (other.find(ids(0, MANY))[0] == handles).all()
    other.close()


@pytest.mark.parametrize("since", [0, MANY])
def test_an_index_newer_than_a_restored_vault_is_never_used(home: Home, since: int) -> None:
    """Whoever was registered after the backup has no handle any more, also when as many came after the restore."""
    vault = home.open_vault()
    handles = vault.register(ids(0, MANY))
    vault.close()
    home.backup("vault")
    vault = home.open_vault()
    lost = vault.register(ids(MANY, 2 * MANY))
    vault.close()
    shutil.copytree(home.index, home.root / "newer")
    home.restore("vault")
    if since:
        shutil.rmtree(home.index)
        vault = home.open_vault()
        vault.register(ids(2 * MANY, 2 * MANY + since))
        vault.close()
        shutil.rmtree(home.index)
        shutil.copytree(home.root / "newer", home.index)
    vault = home.open_vault()
    found, known = vault.find(ids(0, 2 * MANY + since))
    assert (found[:MANY] == handles).all()
    assert known.tolist() == [True] * MANY + [False] * MANY + [True] * since
    assert not (vault.register(ids(MANY, 2 * MANY)) == lost).all(axis=1).any()
    vault.close()


def test_the_severed_are_overwritten_in_every_segment(home: Home) -> None:
    vault = home.open_vault()
    handles = vault.register(ids(0, 5 * PUBLISH_ROWS))
    later = vault.register(ids(5 * PUBLISH_ROWS, 6 * PUBLISH_ROWS))
    named = segments(home)
    assert len(named) == 2
    reader = home.open_vault()
    assert reader.find(ids(0, 6 * PUBLISH_ROWS))[1].all()
    gone = [handles[17].tobytes(), later[33].tobytes()]
    indexes = [vault.indexes_of(handle)[0] for handle in gone]
    for handle in gone:
        vault.sever(handle)
    assert segments(home) == named
    for path in named:
        for handle, index in zip(gone, indexes, strict=True):
            text = path.read_bytes()
            assert handle not in text
            assert index[:8][::-1] not in text
    expected = [number not in (17, 5 * PUBLISH_ROWS + 33) for number in range(6 * PUBLISH_ROWS)]
    assert reader.find(ids(0, 6 * PUBLISH_ROWS))[1].tolist() == expected
    vault.close()
    blind(home)
    assert reader.find(ids(0, 6 * PUBLISH_ROWS))[1].tolist() == expected  # and the index still counts
    reader.close()


def test_a_removal_that_the_index_did_not_see_makes_it_stale(home: Home) -> None:
    vault = home.open_vault()
    handles = vault.register(ids(0, MANY))
    vault.close()
    shutil.copytree(home.index, home.root / "older")
    vault = home.open_vault()
    vault.sever(handles[3].tobytes())
    vault.close()
    shutil.rmtree(home.index)
    shutil.copytree(home.root / "older", home.index)
    vault = home.open_vault()
    assert vault.find(ids(0, MANY))[1].tolist() == [number != 3 for number in range(MANY)]
    vault.close()


def test_two_places_for_the_index_of_one_vault_agree(home: Home) -> None:
    """As two machines have that share a server."""
    here, there = home.open_vault(), home.open_vault(index=home.root / "there")
    handles = here.register(ids(0, MANY))
    assert (there.register(ids(0, MANY)) == handles).all()
    there.sever(handles[5].tobytes())
    assert not here.find(ids(5, 6))[1].any()
    again = here.register(ids(5, 6))
    assert (there.find(ids(5, 6))[0] == again).all()
    assert (again != handles[5]).any()
    here.close()
    there.close()


def test_a_folder_that_cannot_be_written_is_done_without(home: Home) -> None:
    home.index.parent.mkdir(parents=True, exist_ok=True)
    home.index.write_text("a file where the folder should be")
    vault = home.open_vault()
    handles = vault.register(ids(0, MANY))
    assert (vault.find(ids(0, MANY))[0] == handles).all()
    other = home.open_vault()
    assert (other.find(ids(0, MANY))[0] == handles).all()
    other.close()
    vault.close()
