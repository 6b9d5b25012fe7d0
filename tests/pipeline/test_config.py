"""Configuration: every fault at once, and a hash that follows content."""

import re
from pathlib import Path

import pytest

from pipeline.config import CurationConfig
from pipeline.errors import ConfigError


def write(folder: Path, text: str) -> Path:
    path = folder / "toolwise.toml"
    path.write_text(text)
    return path


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    assert CurationConfig.from_toml(write(tmp_path, "")) == CurationConfig()


def test_every_fault_is_named_with_its_key_and_value(tmp_path: Path) -> None:
    path = write(tmp_path, "[length]\nmax_tokens = 0\n[answer]\nmin_f1 = 2\nmin_g1 = 1\n")
    message = (
        f"{path}: length.max_tokens: Input should be greater than 0, found 0; "
        "answer.min_f1: Input should be less than or equal to 1, found 2; "
        "answer.min_g1: Extra inputs are not permitted, found 1; see pipeline/config.py for the keys"
    )
    with pytest.raises(ConfigError, match=re.escape(message)):
        CurationConfig.from_toml(path)


@pytest.mark.parametrize(("text", "told"), [("[length", "not TOML"), ("a\x00 = 1", "not TOML")])
def test_a_file_that_is_no_toml_says_so(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        CurationConfig.from_toml(write(tmp_path, text))


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        CurationConfig.from_toml(tmp_path / "none.toml")


def test_the_hash_follows_values_and_the_content_of_named_files_not_their_place(tmp_path: Path) -> None:
    text = '[contamination.benchmarks]\nb = "bench.txt"\n'
    hashes = []
    for name, content in (("one", "q\n"), ("two", "q\n"), ("three", "other\n")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "bench.txt").write_text(content)
        hashes.append(CurationConfig.from_toml(write(folder, text)).content_hash())
    assert hashes[0] == hashes[1] != hashes[2]
    assert CurationConfig().content_hash() not in hashes


def test_a_benchmark_that_is_not_there_is_named(tmp_path: Path) -> None:
    config = CurationConfig.from_toml(write(tmp_path, '[contamination.benchmarks]\nb = "gone.txt"\n'))
    with pytest.raises(ConfigError, match=re.escape(f"{tmp_path}/gone.txt: cannot be read")):
        config.content_hash()


def test_folders_of_weights_lie_beside_the_file_and_names_of_models_stay_names(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    text = '[attempts.policy.server]\nmodel = "weights"\nadapters = { small = "lora" }\n'
    config = CurationConfig.from_toml(write(tmp_path, text + '[judge.server]\nmodel = "org/name"\n'))
    served = config.attempts.policy.server
    assert served is not None
    assert (served.model, served.adapters) == (f"{tmp_path}/weights", {"small": f"{tmp_path}/lora"})
    assert config.judge.server.model == "org/name"
    assert CurationConfig.from_toml(write(tmp_path, "")).attempts.policy.server is None


def test_another_policy_or_number_of_attempts_is_another_configuration(tmp_path: Path) -> None:
    texts = ("", "[attempts]\nnum_attempts = 4\n", '[attempts.policy]\nrevision = "2"\n')
    assert len({CurationConfig.from_toml(write(tmp_path, text)).content_hash() for text in texts}) == 3
