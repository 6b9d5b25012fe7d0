"""What is wrong with a policy's server is said of the policy's settings, and never of the judge's."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import ModelServerError
from pipeline.serving.config import ServerConfig
from pipeline.serving.existing import ExistingServer
from pipeline.serving.log_reading import why_ended
from pipeline.serving.own import OwnServer
from pipeline.serving.recipe import Seat, vllm_launch
from pipeline.serving.role import POLICY
from tests.pipeline.serving.owners import tiny
from tests.pipeline.serving.test_existing import models, serving


def existing(url: str, model: str | None = None) -> ExistingServer:
    return ExistingServer(url, model=model, api_key=None, revision="", role=POLICY)


def own(folder: Path, *behaviour: str, **config: object) -> OwnServer:
    held = ServerConfig.model_validate({"model": "some/model", "start_timeout_s": 20, **config})
    places = {"cache": folder / "cache", "logs": folder / "logs"}
    return OwnServer(held, **places, say=lambda _line: None, recipe=tiny(*behaviour), role=POLICY)


@pytest.mark.parametrize(
    ("status", "body", "model", "told"),
    [
        (200, models("a"), "b", "name one in TOOLWISE_POLICY_MODEL"),
        (200, models("a", "b"), None, "say which one to ask in TOOLWISE_POLICY_MODEL"),
        (401, "", "a", "set TOOLWISE_POLICY_API_KEY"),
        (404, "", "a", "TOOLWISE_POLICY_BASE_URL most often ends in"),
        (200, "[]", "a", "mend TOOLWISE_POLICY_BASE_URL"),
    ],
)
def test_an_existing_server_names_the_policys_variables(status: int, body: str, model: str | None, told: str) -> None:
    def answers(path: str, _key: str | None) -> tuple[int, str]:
        return (200, "") if path == "/health" else (status, body)

    with serving(answers) as url, pytest.raises(ModelServerError, match=told):
        existing(url, model).endpoint()


def test_an_address_that_is_none_or_where_nobody_is_names_the_policys_variable() -> None:
    with pytest.raises(ModelServerError, match=r"TOOLWISE_POLICY_BASE_URL: want http"):
        existing("localhost:8000")
    with pytest.raises(ModelServerError, match="or mend TOOLWISE_POLICY_BASE_URL"):
        existing("http://127.0.0.1:1/v1", "a").endpoint()


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda folder: own(folder, model=f"{folder}/no").identity, "attempts.policy.server.model: want a folder"),
        (
            lambda folder: own(folder, adapters={"a": "/no"}, served="a").identity,
            "attempts.policy.server.adapters.a: /no is no folder",
        ),
        (lambda folder: own(folder, "fails").endpoint(), "mend attempts.policy.server.flags"),
        (
            lambda folder: own(folder, "ill", start_timeout_s=0.5).endpoint(),
            "longer attempts.policy.server.start_timeout_s",
        ),
        (
            lambda folder: vllm_launch(ServerConfig(adapters={"a": "/no"}), Seat("m", 1, "key", folder, POLICY)),
            "attempts.policy.server.adapters.a: want a LoRA folder",
        ),
    ],
)
def test_a_server_of_our_own_names_the_policys_configuration(
    tmp_path: Path, ask: Callable[[Path], object], told: str
) -> None:
    with pytest.raises(ModelServerError, match=told) as e:
        ask(tmp_path)
    assert "judge" not in str(e.value).replace(str(tmp_path), "")


def test_a_log_is_read_for_the_policy(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("torch.OutOfMemoryError: CUDA out of memory\n")
    assert why_ended(log, 1, role=POLICY).startswith("it ran out of memory; lower attempts.policy.server.max_model_len")
    assert "attempts.policy.server" in why_ended(tmp_path / "none", 137, role=POLICY)
