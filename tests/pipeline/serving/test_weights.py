"""A model's identity changes with whatever changes its answers, and with nothing else."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import ModelServerError
from pipeline.serving.weights import folder_digest
from tests.pipeline.serving.owners import own, tiny

SIZE = 3 * 2**20


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "judge-7b"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "model.safetensors").write_bytes(bytes(SIZE))
    (folder / "README.md").write_text("a model")
    return folder


def identity(model: Path | str, **config: object) -> str:
    return own(Path("unused"), tiny(), model=str(model), **config).identity


def write_at(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"x")


def test_the_identity_names_the_folder_and_its_weights(model: Path) -> None:
    assert identity(model) == f"judge-7b@{folder_digest(model)}"


@pytest.mark.parametrize(
    "change",
    [
        lambda model: (model / "config.json").write_text('{"model_type": "qwen"}'),
        lambda model: (model / "chat_template.jinja").write_text("{{ messages }}"),
        lambda model: (model / "model.safetensors").write_bytes(bytes(SIZE + 1)),
        lambda model: write_at(model / "model.safetensors", 100),
        lambda model: write_at(model / "model.safetensors", SIZE - 1),
        lambda model: (model / "more.safetensors").write_bytes(b""),
        lambda model: (model / "model.safetensors").rename(model / "other.safetensors"),
    ],
)
def test_it_changes_with_the_weights(model: Path, change: Callable[[Path], object]) -> None:
    before = identity(model)
    change(model)
    assert identity(model) != before


@pytest.mark.parametrize(
    "change",
    [
        lambda model: (model / "README.md").write_text("the same model"),
        lambda model: os.utime(model / "model.safetensors", (1, 1)),
        lambda model: (model / "checkpoint").mkdir(),
    ],
)
def test_it_stays_where_the_weights_do(model: Path, change: Callable[[Path], object]) -> None:
    before = identity(model)
    change(model)
    assert identity(model) == before


def test_a_model_by_name_is_its_name() -> None:
    assert identity("org/model") == "org/model"
    assert identity("org/model", flags={"revision": "abc"}) == 'org/model;revision="abc"'


@pytest.mark.parametrize(
    ("flags", "suffix"),
    [
        ({"quantization": "fp8", "dtype": "half"}, ';dtype="half";quantization="fp8"'),
        ({"tensor_parallel_size": 2, "gpu-memory-utilization": 0.5, "enforce-eager": True}, ""),
        ({"quantization": False}, ""),
        ({"a-flag-to-come": ["x", "y"]}, ';a-flag-to-come=["x","y"]'),
    ],
)
def test_flags_that_may_change_answers_are_part_of_it(flags: dict[str, object], suffix: str) -> None:
    assert identity("org/model", flags=flags) == f"org/model{suffix}"


def test_of_a_file_that_a_flag_names_the_content_counts(tmp_path: Path) -> None:
    template = tmp_path / "template.jinja"
    template.write_text("one")
    before = identity("m", flags={"chat-template": str(template)})
    template.write_text("two")
    assert identity("m", flags={"chat-template": str(template)}) != before
    assert str(tmp_path) not in before


def test_the_adapter_that_is_asked_is_part_of_it_and_one_that_is_not_is_none(model: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_bytes(b"one")
    adapters = {"strict": str(adapter)}
    assert identity(model, adapters=adapters) == identity(model)
    before = identity(model, adapters=adapters, served="strict")
    assert before == f"{identity(model)}+strict@{folder_digest(adapter)}"
    (adapter / "adapter_model.safetensors").write_bytes(b"two")
    assert identity(model, adapters=adapters, served="strict") != before


def test_what_is_not_there_is_told(tmp_path: Path, model: Path) -> None:
    with pytest.raises(
        ModelServerError, match=f"judge.server.model: want a folder of weights, found nothing at {tmp_path}/no"
    ):
        identity(tmp_path / "no")
    with pytest.raises(ModelServerError, match=r"want weights \(\*\.safetensors\), found none"):
        identity(tmp_path)
    with pytest.raises(ModelServerError, match=r"judge\.server\.adapters\.a: .* is no folder"):
        identity(model, adapters={"a": str(tmp_path / "no")}, served="a")
