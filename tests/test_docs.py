"""What the README says must be true: its commands parse, its descriptor loads, its links lead somewhere."""

from __future__ import annotations

import re
import shlex
from dataclasses import fields
from pathlib import Path

import click
import pytest
import yaml

from features.datasets.descriptor import load_descriptor
from mlproject.cli import cli
from mlproject.settings import Settings, load_settings
from privacy.classification import Sensitivity
from privacy.errors import BadInput
from privacy.masking import MASKS

ROOT = Path(__file__).parents[1]
PAGES = sorted(path.name for path in (ROOT / "docs").glob("*.md"))
README = (ROOT / "README.md").read_text("utf-8")


TUTORIAL = (ROOT / "docs" / "bring-your-own-data.md").read_text("utf-8")


def blocks(language: str, page: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def commands(page: str = README) -> list[str]:
    text = "\n".join(blocks("bash", page)).replace("\\\n", " ")
    return re.findall(r"custos (?:[a-z][^|&>#\n)`]*)", text)


SERVICES = (ROOT / "docs" / "services.md").read_text("utf-8")


@pytest.mark.parametrize("line", [*commands(), *commands(TUTORIAL), *commands(SERVICES)])
def test_every_command_of_readme_and_tutorial_parses(line: str) -> None:
    words = shlex.split(line)[1:]
    command: click.Command = cli
    while isinstance(command, click.Group):
        found = command.commands.get(words[0])
        assert found is not None, f"no command {words[0]}"
        command, words = found, words[1:]
    command.make_context(command.name, words)


def test_there_are_commands_to_check() -> None:
    assert len(commands()) >= 9
    assert len(commands(TUTORIAL)) >= 9


def test_the_readme_descriptor_loads(tmp_path: Path) -> None:
    (shop,) = blocks("yaml")
    path = tmp_path / "shop.yaml"
    path.write_text(shop, "utf-8")
    descriptor = load_descriptor(str(path))
    assert descriptor.name == "corner_shop"
    assert descriptor.targets.churn.active_within_days == 56


def test_the_tutorials_descriptor_loads_once_it_is_decided(tmp_path: Path) -> None:
    (shop,) = blocks("yaml", TUTORIAL)
    path = tmp_path / "shop.yaml"
    path.write_text(shop, "utf-8")
    with pytest.raises(BadInput, match=r"column 'customers.remarks' has no 'sensitivity'"):
        load_descriptor(str(path))
    path.write_text(shop.replace("{from: remarks}", "{from: remarks, sensitivity: sensitive}"), "utf-8")
    assert load_descriptor(str(path)).targets.clv.horizon_days == 98


def test_the_sources_of_the_descriptor_page_are_accepted(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "descriptor.md").read_text("utf-8")
    (source,) = re.findall(r"```\n(source:\n.*?)```", page, re.DOTALL)
    (shop,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    document = yaml.safe_load(shop)
    document["tables"]["transactions"] |= yaml.safe_load(source)
    path = tmp_path / "shop.yaml"
    path.write_text(yaml.safe_dump(document, allow_unicode=True), "utf-8")
    assert load_descriptor(str(path)).tables["transactions"].place == "postgresql://db.example.org/shop"


def test_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = re.findall(r"^make ([a-z]+)", "\n".join(blocks("bash")), re.MULTILINE)
    assert {"demo", "test", "check", "bench", "lock"} <= set(targets)
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


def test_the_descriptor_page_loads_and_names_every_mask_and_sensitivity(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "descriptor.md").read_text("utf-8")
    (shop,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    path = tmp_path / "shop.yaml"
    path.write_text(shop, "utf-8")
    assert load_descriptor(str(path)).tables["customers"].columns["born"].mask == "age_band"
    for word in (*MASKS, *Sensitivity):
        assert f"`{word}`" in page, word


def test_the_consents_of_the_descriptor_page_are_accepted(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "descriptor.md").read_text("utf-8")
    (consents,) = re.findall(r"```\n(consents:\n.*?)```", page, re.DOTALL)
    (shop,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    document = yaml.safe_load(shop)
    document["tables"] |= yaml.safe_load(consents)
    path = tmp_path / "shop.yaml"
    path.write_text(yaml.safe_dump(document, allow_unicode=True), "utf-8")
    assert load_descriptor(str(path)).tables["consents"].event_column == "at"


def test_the_settings_page_loads_and_names_every_setting(tmp_path: Path) -> None:
    examples = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "settings.md").read_text("utf-8"), re.DOTALL)
    path = tmp_path / "settings.yaml"
    for example in examples:
        path.write_text(example, "utf-8")
        load_settings(path)
    assert {line.split(":")[0] for line in examples[0].splitlines()} == {field.name for field in fields(Settings)}


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{name}" for name in PAGES)])
def test_links_lead_somewhere(page: str) -> None:
    folder = (ROOT / page).parent
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)\)", (ROOT / page).read_text("utf-8"))
    assert all((folder / link).exists() for link in links)


def test_every_room_of_the_architecture_page_exists() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    table = page.split("## Rooms")[1].split("Planned and not there yet")[0]
    for row in table.splitlines():
        if row.startswith("| `"):
            names = re.findall(r"`([^`]+)`", row.split("|")[1])
            folder = names[0].split("/")[0]
            for name in names:
                path = name if "/" in name else f"{folder}/{name}"
                options = (path, f"{folder}/{name}", f"{'/'.join(names[0].split('/')[:-1])}/{name}")
                assert any(list(ROOT.glob(option)) for option in options), name
