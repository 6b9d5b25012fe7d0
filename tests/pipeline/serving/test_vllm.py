"""The real server, started once for this file by a process of its own, which is killed in the end."""

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from safetensors.numpy import save_file

from pipeline.serving.config import ServerConfig
from pipeline.serving.metrics import read_metrics
from pipeline.serving.own import OwnServer
from pipeline.serving.probing import root_of
from tests.model_cache import model_cache
from tests.pipeline.replay.processes import is_gone, lives, living_below
from tests.pipeline.serving.owners import ROOT, line_of

RUBRIC = "You judge traces. " * 30
OWNER = """
import json, sys, time
from pathlib import Path
from pipeline.serving.config import ServerConfig
from pipeline.serving.own import OwnServer

config, cache, logs = sys.argv[1:]
server = OwnServer(ServerConfig.model_validate_json(config), cache=Path(cache), logs=Path(logs), say=lambda line: None)
endpoint = server.endpoint()
print(json.dumps([server.identity, endpoint.base_url, endpoint.model, endpoint.api_key, endpoint.log]), flush=True)
time.sleep(600)
"""


@dataclass(frozen=True)
class Owned:
    """A server, seen from outside."""

    owner: subprocess.Popen[str]
    identity: str
    base_url: str
    model: str
    api_key: str
    log: str

    def ask(self, **changes: Any) -> httpx.Response:
        """Its answer to a yes/no question, with `changes` to the request."""
        content = {
            "model": self.model,
            "messages": [{"role": "system", "content": RUBRIC}, {"role": "user", "content": "Is 2 + 2 = 4?"}],
            "temperature": 0,
            "max_tokens": 4,
            "logprobs": True,
            "top_logprobs": 20,
            "structured_outputs": {"choice": ["yes", "no"]},
            **changes,
        }
        headers = {"Authorization": f"Bearer {self.api_key}"}
        return httpx.post(f"{self.base_url}/chat/completions", json=content, headers=headers, timeout=60)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_cache(tmp_path_factory)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA of the embedded model's queries that moves its answers, in no useful direction."""
    folder = tmp_path_factory.mktemp("adapter")
    told = {"peft_type": "LORA", "r": 8, "lora_alpha": 64, "target_modules": ["q_proj"], "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(told))
    random = np.random.default_rng(0)
    weights: dict[str, np.ndarray] = {}
    for layer in range(30):
        name = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        weights[f"{name}.lora_A.weight"] = random.normal(size=(8, 576)).astype(np.float32)
        weights[f"{name}.lora_B.weight"] = random.normal(size=(576, 8)).astype(np.float32)
    save_file(weights, folder / "adapter_model.safetensors")
    return folder


@pytest.fixture(scope="module")
def server(cache: Path, adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Owned]:
    config = ServerConfig(max_model_len=1024, adapters={"moved": str(adapter)})
    told = [config.model_dump_json(), str(cache), str(tmp_path_factory.mktemp("logs"))]
    with subprocess.Popen([sys.executable, "-c", OWNER, *told], stdout=subprocess.PIPE, text=True, cwd=ROOT) as owner:
        yield Owned(owner, *json.loads(line_of(owner)))
        owner.kill()


def first_token(answer: httpx.Response) -> dict[str, float]:
    """What could have been said first, and how likely it was."""
    (choice,) = answer.raise_for_status().json()["choices"]
    return {each["token"]: math.exp(each["logprob"]) for each in choice["logprobs"]["content"][0]["top_logprobs"]}


def test_it_answers_one_of_the_choices_and_how_sure_it_is(server: Owned) -> None:
    answer = server.ask()
    assert answer.json()["choices"][0]["message"]["content"] in ("yes", "no")
    shares = first_token(answer)
    begun = [share for token, share in shares.items() if "yes".startswith(token) or "no".startswith(token)]
    assert sum(begun) == pytest.approx(1, abs=1e-3)


def test_the_adapter_is_served_beside_the_model(server: Owned) -> None:
    moved, plain = first_token(server.ask(model="moved")), first_token(server.ask())
    assert abs(moved["yes"] - plain["yes"]) > 1e-3


def test_the_identity_is_that_of_the_weights_and_needs_no_server(server: Owned, cache: Path, tmp_path: Path) -> None:
    assert server.identity == OwnServer(ServerConfig(), cache=cache, logs=tmp_path, say=print).identity
    assert server.identity.startswith("smollm2-135m-instruct-")
    assert list(tmp_path.iterdir()) == []


def test_a_shared_prefix_is_found_in_the_cache_and_counted(server: Owned) -> None:
    server.ask()
    before = read_metrics(server.base_url)
    server.ask(messages=[{"role": "system", "content": RUBRIC}, {"role": "user", "content": "Is 1 + 1 = 3?"}])
    change = {name: value - before[name] for name, value in read_metrics(server.base_url).items()}
    assert change["requests"] == 1
    assert change["prompt_tokens"] == change["prefix_cache_queries"] > 100
    assert change["prefix_cache_hits"] / change["prefix_cache_queries"] > 0.7


@pytest.mark.parametrize("path", ["/v1/models", "/invocations", "/tokenize", "/openapi.json", "/load"])
def test_nobody_else_is_answered(server: Owned, path: str) -> None:
    root = root_of(server.base_url)
    assert [httpx.get(root + path).status_code, httpx.post(root + path, json={}).status_code] == [401, 401]
    assert httpx.get(f"{root}/health").status_code == 200


def test_it_listens_on_loopback_only(server: Owned) -> None:
    listened = listened_on(living_below(server.owner.pid))
    port = int(server.base_url.removesuffix("/v1").rpartition(":")[2])
    assert ("0100007F", port) in listened
    assert {address for address, _ in listened} == {"0100007F"}


def listened_on(processes: set[int]) -> set[tuple[str, int]]:
    """Addresses, as the kernel writes them in hexadecimal, and ports."""
    sockets: set[str] = set()
    for pid in processes:
        for held in Path(f"/proc/{pid}/fd").iterdir():
            try:
                sockets.add(str(held.readlink()))
            except FileNotFoundError:
                continue  # closed meanwhile
    found: set[tuple[str, int]] = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                address, port = fields[1].split(":")
                found.add((address, int(port, 16)))
    return found


def test_of_a_killed_owner_no_process_port_or_memory_is_left(server: Owned) -> None:
    below = living_below(server.owner.pid)
    assert len(below) >= 4
    shared = memory_of(below)
    assert shared
    os.kill(server.owner.pid, signal.SIGKILL)
    assert all(is_gone(pid, within_s=30) for pid in below)
    assert not any(path.exists() for path in shared)
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.base_url)


def memory_of(processes: set[int]) -> set[Path]:
    """The files of shared memory that they have mapped."""
    maps = "".join(Path(f"/proc/{pid}/maps").read_text() for pid in processes)
    return {Path(line.split()[5]) for line in maps.splitlines() if "/dev/shm/psm_" in line and "(deleted)" not in line}


@pytest.mark.slow
def test_a_closed_server_is_gone_soon_and_in_order(cache: Path, tmp_path: Path) -> None:
    server = OwnServer(ServerConfig(), cache=cache, logs=tmp_path / "logs", say=print)
    endpoint = server.endpoint()
    below = living_below(os.getpid())
    shared = memory_of(below)
    server.close()
    assert not any(lives(pid) for pid in below)
    assert not any(path.exists() for path in shared)
    assert "Application shutdown complete" in Path(str(endpoint.log)).read_text()
