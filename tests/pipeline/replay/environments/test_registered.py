"""Registered classes in processes of their own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import EnvironmentUnavailableError
from pipeline.replay.config import RegisteredClass
from pipeline.replay.environment import Episode, Observation, Status
from pipeline.replay.environments.calls import MAX_RESULT_CHARS
from pipeline.replay.environments.registered import RegisteredEnvironment
from tests.pipeline.replay.environments.conftest import Register
from tests.pipeline.replay.processes import is_gone, lives

SHOP = '''
    import os, random, subprocess, sys, time
    from pathlib import Path

    class Shop:
        """A shop with every fault an environment may have."""

        version = "stock 3"

        def __init__(self, currency="EUR", closed_file=None):
            self.currency = currency
            self.closed_file = closed_file
            self.basket = []

        def reset(self, episode, seed):
            print("reset", episode.trajectory_id)
            if episode.metadata.get("hang"):
                time.sleep(60)
            if "basket" not in episode.metadata and episode.trajectory_id == "unknown":
                raise KeyError("basket")
            self.basket = list(episode.metadata.get("basket", []))

        def call(self, name, arguments):
            match name:
                case "add":
                    self.basket.append(arguments["item"])
                    return {"basket": self.basket, "currency": self.currency}
                case "text":
                    return arguments["text"]
                case "nothing":
                    return None
                case "raise":
                    raise ValueError(arguments["why"])
                case "bare":
                    raise RuntimeError
                case "memory":
                    raise MemoryError
                case "print":
                    print("on stdout")
                    sys.stdout.flush()
                    os.system("echo from a child")
                    return sys.stdin.read()
                case "sleep":
                    time.sleep(arguments["seconds"])
                    return "awake"
                case "crash":
                    print("about to crash", file=sys.stderr, flush=True)
                    os._exit(3)
                case "random":
                    return random.random()
                case "order":
                    return list({"pear", "apple", "plum", "fig", "kiwi", "lime", "date"})
                case "processes":
                    daemon = subprocess.Popen(["sleep", "600"], start_new_session=True)
                    return [os.getpid(), daemon.pid]
                case "forge":
                    os.write(int(arguments["descriptor"]), b"\\xff\\xff\\xff\\xffgarbage")
                    return "forged"
                case _:
                    raise NotImplementedError(name)

        def close(self):
            if self.closed_file:
                Path(self.closed_file).write_text("closed")
'''
ENTRY = "shop = shop:Shop"
TOO_LONG = Observation("", Status.CAPPED, "a result of more than 1048576 characters")
EPISODE = Episode("t1", "traces", "task", {"basket": ["pen"]})


@pytest.fixture
def shop(register: Register) -> Iterator[RegisteredEnvironment]:
    register(SHOP, ENTRY)
    environment = opened()
    yield environment
    environment.close()


def opened(**settings: object) -> RegisteredEnvironment:
    settings = {"kind": "registered", "name": "shop", "repeat": "reset", "timeout_s": 5.0, **settings}
    return RegisteredEnvironment("corner", RegisteredClass.model_validate(settings))


def call(environment: RegisteredEnvironment, name: str, **arguments: object) -> Observation:
    return environment.call(name, json.dumps(arguments))


@pytest.mark.parametrize(
    ("name", "arguments", "wanted"),
    [
        ("text", {"text": "as it is é"}, Observation("as it is é")),
        ("text", {"text": "half \ud83d pair"}, Observation("half ? pair")),
        ("add", {"item": "cup"}, Observation('{"basket": ["pen", "cup"], "currency": "EUR"}')),
        ("nothing", {}, Observation("null")),
        ("raise", {"why": "sold out"}, Observation("ValueError: sold out", alternatives=("sold out",))),
        ("bare", {}, Observation("RuntimeError", alternatives=("",))),
        ("memory", {}, Observation("", Status.MEMORY, "tool memory: out of memory")),
        ("nonesuch", {}, Observation("", Status.MISSING, "tool nonesuch")),
        ("print", {}, Observation("")),
        ("text", {"text": "x" * (MAX_RESULT_CHARS + 1)}, TOO_LONG),
    ],
)  # fmt: skip
def test_what_a_class_gives_or_raises_becomes_an_observation(
    shop: RegisteredEnvironment, name: str, arguments: dict[str, object], wanted: Observation
) -> None:
    shop.reset(EPISODE, 1)
    assert call(shop, name, **arguments) == wanted


@pytest.mark.parametrize("arguments", ["nonsense", "[1]", '"text"', "[" * 100_000])
def test_arguments_that_are_no_object_never_reach_the_class(shop: RegisteredEnvironment, arguments: str) -> None:
    shop.reset(EPISODE, 1)
    assert shop.call("text", arguments) == Observation("", Status.MISSING, "arguments are not a JSON object")


def test_state_lives_as_long_as_the_trajectory(shop: RegisteredEnvironment) -> None:
    shop.reset(EPISODE, 1)
    assert json.loads(call(shop, "add", item="cup").text)["basket"] == ["pen", "cup"]
    assert json.loads(call(shop, "add", item="mug").text)["basket"] == ["pen", "cup", "mug"]
    shop.reset(Episode("t2"), 1)
    assert json.loads(call(shop, "add", item="bag").text)["basket"] == ["bag"]


def test_a_hanging_call_is_killed_and_the_next_trajectory_finds_a_new_process(register: Register) -> None:
    register(SHOP, ENTRY)
    environment = opened(timeout_s=0.5)
    environment.reset(EPISODE, 1)
    pid, daemon = json.loads(call(environment, "processes").text)
    begun = time.monotonic()
    assert call(environment, "sleep", seconds=60) == Observation("", Status.TIMEOUT, "tool sleep: more than 0.5 s")
    assert time.monotonic() - begun < 3
    assert is_gone(pid)
    assert is_gone(daemon)
    assert call(environment, "add", item="cup") == Observation(
        "", Status.TIMEOUT, "the state was lost: tool sleep: more than 0.5 s"
    )
    environment.reset(EPISODE, 1)
    assert json.loads(call(environment, "add", item="cup").text)["basket"] == ["pen", "cup"]
    environment.close()


def test_a_hanging_reset_loses_its_trajectory_only(register: Register) -> None:
    register(SHOP, ENTRY)
    environment = opened(timeout_s=0.5)
    environment.reset(Episode("t1", metadata={"hang": True}), 1)
    assert call(environment, "text", text="a") == Observation("", Status.TIMEOUT, "reset: more than 0.5 s")
    environment.reset(EPISODE, 1)
    assert call(environment, "text", text="a") == Observation("a")
    environment.close()


def test_a_crash_is_tried_again_and_the_second_at_the_same_call_is_the_calls_own(shop: RegisteredEnvironment) -> None:
    died = "tool crash: its process ended (about to crash)"
    shop.reset(EPISODE, 1)
    assert call(shop, "crash") == Observation("", Status.FAILED, died)
    assert call(shop, "text", text="a") == Observation("", Status.FAILED, f"the state was lost: {died}")
    shop.reset(Episode("t2"), 1)
    assert call(shop, "crash") == Observation("", Status.FAILED, died)
    shop.reset(Episode("t2"), 1)
    assert call(shop, "crash") == Observation("", Status.CAPPED, f"crashed the environment: {died}")
    assert call(shop, "text", text="a").status is Status.CAPPED
    shop.reset(EPISODE, 1)
    assert call(shop, "text", text="a") == Observation("a")


def test_a_trajectory_without_its_state_says_so_at_every_call(shop: RegisteredEnvironment) -> None:
    shop.reset(Episode("unknown"), 1)
    for _ in range(2):
        assert call(shop, "text", text="a") == Observation("", Status.MISSING, "reset: KeyError: 'basket'")
    shop.reset(EPISODE, 1)
    assert call(shop, "text", text="a") == Observation("a")


def test_a_forged_reply_ends_the_process_and_not_us(shop: RegisteredEnvironment) -> None:
    shop.reset(EPISODE, 1)
    pid, _ = json.loads(call(shop, "processes").text)
    held = Path(f"/proc/{pid}/fd").iterdir()
    sockets = [int(each.name) for each in held if str(each.readlink()).startswith("socket:")]
    observation = call(shop, "forge", descriptor=max(sockets))
    assert observation.status is Status.FAILED
    assert observation.detail.startswith("tool forge: its process sent a frame of 4294967295 bytes")
    assert is_gone(pid)


def test_a_seed_fixes_random_numbers_and_the_order_of_sets_and_another_seed_changes_both(
    shop: RegisteredEnvironment,
) -> None:
    seen = []
    for seed in (1, 2, 1):
        shop.reset(EPISODE, seed)
        seen.append((call(shop, "random").text, call(shop, "order").text))
    assert seen[0] == seen[2]
    assert seen[0][0] != seen[1][0]
    assert seen[0][1] != seen[1][1]


def test_closing_lets_the_class_close_leaves_no_process_and_can_be_undone(register: Register, tmp_path: Path) -> None:
    register(SHOP, ENTRY)
    closed = tmp_path / "closed"
    environment = opened(options={"closed_file": str(closed)})
    environment.reset(EPISODE, 1)
    pids = json.loads(call(environment, "processes").text)
    environment.close()
    assert closed.read_text() == "closed"
    assert all(is_gone(pid) for pid in pids)
    assert call(environment, "text", text="a") == Observation("", Status.FAILED, "closed")
    environment.reset(EPISODE, 1)
    assert call(environment, "text", text="a") == Observation("a")
    environment.close()


def test_the_version_changes_with_the_class_its_own_version_its_code_and_its_options(register: Register) -> None:
    versions = []
    for source, options in [
        (SHOP, {}),
        (SHOP, {"currency": "USD"}),
        (SHOP.replace("stock 3", "stock 4"), {}),
        (SHOP, {}),
        (SHOP.replace('"awake"', '"awoken"'), {}),
    ]:
        register(source, ENTRY)
        environment = opened(options=options)
        environment.start()
        versions.append(environment.version)
        environment.close()
    assert versions[0].startswith("shop 2.1 shop.Shop stock 3 ")
    assert versions[2].startswith("shop 2.1 shop.Shop stock 4 ")
    assert versions[3] == versions[0]
    assert len(set(versions)) == 4


@pytest.mark.parametrize(
    ("source", "entry", "options", "message"),
    [
        (SHOP, "store = shop:Shop\nmarket = shop:Shop", {}, r"entry point 'shop' .*found (bfcl, )?market, store"),
        (SHOP, "shop = shop:Stall", {}, "found AttributeError: .*Stall.*; mend the class or `options`"),
        (SHOP, ENTRY, {"color": "red"}, "found TypeError: .*unexpected keyword argument 'color'"),
        ("import nonesuch", ENTRY, {}, "found ModuleNotFoundError: No module named 'nonesuch'"),
        ("import os; os.write(2, b'bad luck'); os._exit(1)", ENTRY, {}, r"found its process ended \(bad luck\)"),
        ("def (", ENTRY, {}, "found SyntaxError"),
    ],
)  # fmt: skip
def test_a_class_that_does_not_load_is_explained(
    register: Register, source: str, entry: str, options: dict[str, object], message: str
) -> None:
    register(source, entry)
    with pytest.raises(EnvironmentUnavailableError, match=rf"^replay\.environments\.corner: .*{message}"):
        opened(options=options).start()


def test_what_is_not_declared_repeatable_is_never_loaded(register: Register) -> None:
    register("raise RuntimeError('loaded')", ENTRY)
    environment = opened(repeat="never")
    environment.start()
    environment.reset(EPISODE, 1)
    assert call(environment, "text", text="a") == Observation("", Status.MISSING, "not declared read_only or reset")
    environment.close()


def test_nothing_is_left_when_we_are_killed(register: Register, tmp_path: Path) -> None:
    register(SHOP, ENTRY)
    host = tmp_path / "host.py"
    host.write_text(
        "import sys, time\n"
        f"sys.path[:] = {sys.path!r}\n"
        "from tests.pipeline.replay.environments.test_registered import EPISODE, call, opened\n"
        "environment = opened()\n"
        "environment.reset(EPISODE, 1)\n"
        "print(call(environment, 'processes').text, flush=True)\n"
        "call(environment, 'sleep', seconds=60)\n"
    )
    with subprocess.Popen([sys.executable, str(host)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        pids = json.loads(process.stdout.readline())
        assert all(map(lives, pids))
        os.kill(process.pid, signal.SIGKILL)
        assert all(is_gone(pid) for pid in pids)
