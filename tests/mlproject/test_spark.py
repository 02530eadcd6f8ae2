"""A home whose settings say Spark: what docs/scale.md writes down, run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from features.build import EVENTS, FEATURES
from features.storage import TableStore
from tests.features.test_spark import assert_equal
from tests.home import Home
from tests.packages import command_of, module_of
from tests.shops import make_shop

PAGE = (Path(__file__).parents[2] / "docs" / "scale.md").read_text("utf-8")


@pytest.mark.slow
def test_the_commands_of_the_page_on_scale(tmp_path: Path) -> None:
    module_of("pyspark", "spark")
    command_of("java", "openjdk-17-jre-headless")
    home, features = Home(tmp_path), TableStore(tmp_path / "home" / "features" / "corner_shop")
    home.custos("ingest", str(make_shop(tmp_path / "shop", customers=12)))
    home.custos("build")
    before = {table: features.read(table) for table in (FEATURES, EVENTS)}
    [settings] = re.findall(r"```yaml\n(engine:.*?)```", PAGE, re.DOTALL)
    (home.path / "settings.yaml").write_text(settings)
    commands = re.findall(r"^custos (.*)$", PAGE, re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["build", "materialize"]
    for command in commands:
        told = home.custos(*shlex.split(command))
    assert "12 people" in told
    for table, rows in before.items():
        assert_equal(features.read(table), rows)
