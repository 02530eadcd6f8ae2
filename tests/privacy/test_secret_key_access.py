from __future__ import annotations

import re
from pathlib import Path

import privacy

ROOT = Path(privacy.__file__).parents[1]


def test_only_these_modules_may_release_key_bytes() -> None:
    importers = set()
    for package in ("privacy", "features", "training", "serving", "mlproject"):
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text()
            if re.search(r"from [.\w]*secret_key_access import[^\n]*\brelease\b", text) or re.search(
                r"from [.\w]*secret_key_access import \([^)]*\brelease\b", text
            ):
                importers.add(path.relative_to(ROOT).as_posix())
    assert importers == {
        "privacy/ciphers.py",
        "privacy/cmac.py",
        "privacy/keyring.py",
        "privacy/keyset.py",
        "privacy/tokens.py",
        "privacy/vault_records.py",
    }


def test_the_block_permutation_stays_private_to_its_module() -> None:
    users = [path.name for path in (ROOT / "privacy").glob("*.py") if re.search(r"\bmodes\.ECB\b", path.read_text())]
    assert sorted(users) == ["cmac.py", "tokens.py"]


def test_exports_are_sorted_and_exist() -> None:
    assert privacy.__all__ == sorted(privacy.__all__)
    for name in privacy.__all__:
        assert getattr(privacy, name).__name__ == name
