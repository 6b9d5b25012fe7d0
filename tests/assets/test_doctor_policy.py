"""`toolwise doctor` says whether the policy could be asked; to have none is no fault."""

from pathlib import Path

import pytest

from assets.cli.doctor import Finding, _policy
from assets.settings import load_settings
from tests.assets.answering import MODEL, FakePolicy


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLWISE_CACHE", str(tmp_path / "cache"))
    put_config(tmp_path, monkeypatch, "")


def put_config(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    path = folder / "toolwise.toml"
    path.write_text(text)
    monkeypatch.setenv("TOOLWISE_CONFIG", str(path))


def look() -> Finding:
    (finding,) = _policy(load_settings())
    return finding


def test_none_is_told_with_what_would_name_one_and_is_not_needed() -> None:
    finding = look()
    assert (finding.works, finding.needed, finding.told) == (False, False, "none: nothing is attempted")
    assert "TOOLWISE_POLICY_BASE_URL" in finding.mend
    assert "[attempts.policy.server]" in finding.mend


def test_one_that_answers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakePolicy(str) as policy:
        monkeypatch.setenv("TOOLWISE_POLICY_BASE_URL", policy.base_url)
        assert look() == Finding("policy", works=True, told=f"{policy.base_url} answers, with {MODEL}")


def test_one_that_does_not_answer_is_needed_once_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLWISE_POLICY_BASE_URL", "http://127.0.0.1:1/v1")
    finding = look()
    assert (finding.works, finding.needed) == (False, True)
    assert "mend TOOLWISE_POLICY_BASE_URL" in finding.told
    assert "attempt_failed" in finding.mend


def test_a_server_of_our_own_is_told_with_its_weights_and_not_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "config.json").write_text("{}")
    (weights / "model.safetensors").write_bytes(b"held")
    put_config(tmp_path, monkeypatch, '[attempts.policy.server]\nmodel = "weights"\n')
    finding = look()
    assert finding.works
    assert finding.told.startswith("a server of our own, vllm")
    assert " with weights@" in finding.told
    put_config(tmp_path, monkeypatch, '[attempts.policy.server]\nmodel = "./no"\n')
    assert look().told.startswith("attempts.policy.server.model: want a folder of weights")


def test_one_that_is_switched_off_is_not_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_config(tmp_path, monkeypatch, "[attempts]\nenabled = false\n")
    finding = look()
    assert (finding.told, finding.needed) == ("switched off: nothing is attempted", False)
