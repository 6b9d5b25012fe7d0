"""What docs/design/judging.md tells can be done, and what it names exists."""

import re
import textwrap
import tomllib
from pathlib import Path
from typing import Any, get_args

import click
import orjson
import pytest

from assets.cli import toolwise
from pipeline.config import CurationConfig
from pipeline.judging.config import JudgeConfig
from pipeline.judging.criteria import Rubric
from pipeline.judging.label_files import read_label_files
from pipeline.judging.rubric import load_rubric
from pipeline.reasons import Reason
from tests.curating import put

PAGE = (Path(__file__).parents[1] / "docs/design/judging.md").read_text(encoding="utf-8")


def commands() -> list[list[str]]:
    """Every `toolwise` command of the page, comments left out."""
    told = re.findall(r"`toolwise ([^`]+)`", PAGE) + re.findall(r"^ +toolwise ([^#\n]+)", PAGE, flags=re.MULTILINE)
    return [each.split() for each in told]


def block_after(start: str) -> str:
    """The indented block behind a line."""
    rest = PAGE[PAGE.index(start) + len(start) :].lstrip("\n")
    lines = rest.splitlines()
    end = next(k for k, line in enumerate(lines) if line and not line.startswith("    "))
    return textwrap.dedent("\n".join(lines[:end]))


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_exists_with_the_options_it_is_shown_with(words: list[str]) -> None:
    verb = toolwise.get_command(click.Context(toolwise), words[0])
    assert verb is not None
    known = {option for parameter in verb.params for option in parameter.opts}
    assert {word for word in words[1:] if word.startswith("-")} <= known


def test_every_shipped_criterion_stands_in_the_table_with_its_reason() -> None:
    config = JudgeConfig(vision=True)
    for rubric in get_args(Rubric):
        for each in load_rubric(rubric, config):
            [row] = [line for line in PAGE.splitlines() if line.startswith("|") and f"`{each.name}`" in line]
            assert f"`{each.reason.value}`" in row
    named = re.findall(r"^\|[^|]*\| `(\w+)`", PAGE, flags=re.MULTILINE)
    assert len(named) == sum(len(load_rubric(rubric, config)) for rubric in get_args(Rubric))


def test_every_key_of_the_configuration_it_names_exists() -> None:
    for name in re.findall(r"`judge\.(\w+)`", PAGE):
        assert name in JudgeConfig.model_fields
    assert {reason for reason in ("low_confidence", "judge_failed") if f"`{reason}`" in PAGE} <= set(Reason)


def test_the_criterion_it_shows_can_be_used(tmp_path: Path) -> None:
    shown = block_after("Write `criteria/trajectories/concise.toml`:")
    put(tmp_path / "criteria/trajectories/concise.toml", shown.encode())
    config = put(tmp_path / "toolwise.toml", b'[judge]\nrubrics = "criteria"\n')
    found = {each.name: each for each in load_rubric("trajectories", CurationConfig.from_toml(config).judge)}
    assert found["concise"].reason is Reason.INCOHERENT
    assert len(found) == 1 + len(load_rubric("trajectories", JudgeConfig()))


def test_the_server_it_shows_can_be_configured(tmp_path: Path) -> None:
    shown = block_after("any vLLM flag:")
    assert tomllib.loads(shown)["judge"]["server"]["flags"]["tensor-parallel-size"] == 2
    held = CurationConfig.from_toml(put(tmp_path / "toolwise.toml", shown.encode()))
    assert held.judge.server.flags["quantization"] == "fp8"


def test_the_labels_it_shows_can_be_read(tmp_path: Path) -> None:
    lines = [line.strip() for line in PAGE.splitlines() if line.strip().startswith('{"')]
    told: list[dict[str, Any]] = [orjson.loads(line) for line in lines]
    assert len(told) == 2
    found = read_label_files([put(tmp_path / "gold.jsonl", "\n".join(lines).encode())])
    assert found["criterion"].to_list() == ["grounded", "coherent", "accept"]
