"""Every file of a home, damaged in every way: one line that names it, exit status 4, and no word of surprise."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mlproject.home_paths import HomePaths
from mlproject.wiring import House
from tests.home import Home
from tests.shops import make_shop
from training.models.baselines import RateClv

pytestmark = pytest.mark.slow
Damage = Callable[[Path], object]


def a_directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


def changed_inside(file: Path) -> None:
    data = bytearray(file.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 40] = bytes(byte ^ 0x5A for byte in data[middle : middle + 40])
    file.write_bytes(data)


GONE: Damage = Path.unlink
DIRECTORY: Damage = a_directory
EMPTY: Damage = lambda file: file.write_bytes(b"")  # noqa: E731
HALF: Damage = lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])  # noqa: E731
GARBAGE: Damage = lambda file: file.write_bytes(b"\x80\xff garbage \x00" * 50)  # noqa: E731
FIVE: Damage = lambda file: file.write_text("5")  # noqa: E731
OTHER: Damage = lambda file: file.write_text('{"a": 1}')  # noqa: E731
DEEP: Damage = lambda file: file.write_text("[" * 100_000)  # noqa: E731
CHANGED: Damage = changed_inside

JSON = (EMPTY, HALF, FIVE, OTHER, DEEP, DIRECTORY)
BYTES = (EMPTY, HALF, GARBAGE, DIRECTORY)
SCORE = ("score", "clv", "--purpose", "value", "--out", "OUT")
FEATURES = ("features", "get", "clv_v1", "--purpose", "value", "TOKEN")
IDENTIFY = ("identify", "--purpose", "value", "--reason", "test", "--in", "SCORES", "--out", "OUT")
NOBODY = ("subject", "erase", "nobody")

CASES: tuple[tuple[str, tuple[Damage, ...], tuple[str, ...]], ...] = (
    ("state.json", (*JSON, GONE), SCORE),
    ("report.json", (*JSON, GONE), ("report",)),
    ("quality.jsonl", JSON, ("quality",)),
    ("datasets/*.yaml", (EMPTY, HALF, GARBAGE, OTHER, DIRECTORY, GONE), ("build",)),
    ("keys/keyring.json", (*JSON, CHANGED, GONE), IDENTIFY),
    ("keys/service.json", (*JSON, CHANGED), SCORE),
    ("keys/passphrase", (EMPTY, DIRECTORY, GONE), IDENTIFY),
    ("keys/service.passphrase", (EMPTY, DIRECTORY, GONE), SCORE),
    ("quarantine/*/*.sealed", (HALF, DIRECTORY), NOBODY),
    ("features/*/current", (DIRECTORY, FIVE), SCORE),
    ("features/*/snapshots/*/manifest.json", (*JSON, GONE), SCORE),
    ("features/*/snapshots/*/customer_features/*", (*BYTES, GONE), SCORE),
    ("features/*/snapshots/*/customer_features/*", (*BYTES, GONE), ("materialize",)),
    ("features/*/snapshots/*/order_events/*", (EMPTY, GONE), ("train", "clv", "--trials", "1")),
    ("protected/*/snapshots/*/manifest.json", (*JSON, GONE), ("build",)),
    ("protected/*/snapshots/*/people/*", (*BYTES, CHANGED, GONE), ("build",)),
    ("protected/*/snapshots/*/transactions/*", (*BYTES, GONE), ("build",)),
    ("protected/*/snapshots/*/customers/*", (EMPTY, GONE), NOBODY),
    ("feast/registry.db", (EMPTY, HALF, GARBAGE, DIRECTORY, GONE), SCORE),
    ("feast/online.db", (EMPTY, HALF, GARBAGE, DIRECTORY, GONE), FEATURES),
    ("mlflow/artifacts/**/model.json", (FIVE, GONE), SCORE),
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A small shop as `custos run` leaves it, with a plain champion in place of a trained one."""
    made = Home(tmp_path_factory.mktemp("damage"))
    shop = make_shop(made.folder / "shop", customers=30)
    lines = pq.read_table(shop.parent / "lines.parquet").to_pandas()
    lines.loc[[3, 5], "price"] = float("nan")
    lines.to_parquet(shop.parent / "lines.parquet")
    for command in (("ingest", str(shop)), ("build",), ("materialize",)):
        made.custos(*command)
    house = House(HomePaths(made.path), House.open(made.path).settings)
    with house.tracker.run("clv", "test", {}) as run:
        uri = run.model("naive", RateClv("naive", 56))
    version = house.registry.register("clv", uri, run.run_id, {"design": "naive"}, "A test.")
    house.registry.crown("clv", version)
    made.custos("score", "clv", "--purpose", "value", "--out", str(made.folder / "scores.parquet"))
    return made


@pytest.fixture
def put_back(home: Home) -> Iterator[None]:
    """Put every file back, so that cases can't disturb each other; databases that a command holds open stay."""
    kept = home.folder / "kept"
    home.let_go()
    shutil.copytree(home.path, kept, symlinks=True)
    yield
    home.let_go()
    for item in home.path.iterdir():
        if item.name != "mlflow":
            shutil.rmtree(item) if item.is_dir() else item.unlink()
    shutil.copytree(kept, home.path, symlinks=True, dirs_exist_ok=True)
    shutil.rmtree(kept)


@pytest.mark.usefixtures("put_back")
@pytest.mark.parametrize(("pattern", "damages", "command"), CASES, ids=[f"{case[2][0]} {case[0]}" for case in CASES])
def test_a_damaged_file_is_named_in_one_line(
    home: Home, pattern: str, damages: tuple[Damage, ...], command: tuple[str, ...]
) -> None:
    file = min(home.path.glob(pattern))
    whole, mode = file.read_bytes() if file.is_file() else b"", file.stat().st_mode
    token = str(pq.read_table(home.folder / "scores.parquet")["customer_token"][0])
    places = {"OUT": home.folder / "out.parquet", "SCORES": home.folder / "scores.parquet", "TOKEN": token}
    for damage in damages:
        damage(file)
        home.custos(*(str(places.get(word, word)) for word in command), expect=4)
        told = home.spoken[-1].decode()
        (line,) = [line for line in told.splitlines() if line.startswith("custos: ")]
        assert file.name in line or "no online features yet" in line, line
        assert "unforeseen" not in told
        assert "Traceback" not in told
        if file.is_dir():
            file.rmdir()
        if whole:
            file.write_bytes(whole)
            file.chmod(mode)
