"""Policies that act by a script, tools that misbehave, and a completions server, for tests of the engine."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson

from pipeline.formats.base import message, tool_call
from pipeline.replay.environment import Episode, Observation, Status
from pipeline.rollouts.config import Sampling
from pipeline.rollouts.rollout import Task, Tokens, Turn
from pipeline.rollouts.toolbox import Tooling, takes_names
from pipeline.schema import ToolCall

Course = Callable[[Task, list[str]], Turn]
"""What a policy does next, given the task and what its tools have shown so far."""


def tools(*names: str) -> tuple[dict[str, Any], ...]:
    """Schemas of tools that take anything."""
    return tuple({"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in names)


def make_task(number: int = 0, *names: str, truth: str | None = "42") -> Task:
    """A task with these tools."""
    return Task(f"task-{number}", (message("user", f"Question {number}?"),), tools(*(names or ("python",))), truth)


def says(text: str, *, num_tokens: int = 3, is_cut: bool = False) -> Turn:
    """A turn without a call."""
    return Turn(text, num_tokens=num_tokens, is_cut=is_cut)


def calls(*made: tuple[str | None, str]) -> Turn:
    """A turn that calls tools, each with its arguments as text."""
    return Turn(None, tool_calls=tuple(tool_call(name, arguments) for name, arguments in made), num_tokens=5)


def code(text: str) -> tuple[str, str]:
    """A call of python."""
    return "python", orjson.dumps({"code": text}).decode()


class ActingPolicy:
    """Acts by a course; every generation takes `latency_s`."""

    identity = "acting"

    def __init__(self, course: Course, *, latency_s: float = 0.0) -> None:
        self.course = course
        self.latency_s = latency_s
        self.num_flying = self.most_flying = self.num_turns = 0

    def begin(self, task: Task) -> "ActingDialogue":
        """A dialogue."""
        return ActingDialogue(self, task)

    async def close(self) -> None:
        """Nothing is held."""


class ActingDialogue:
    """One rollout of an acting policy."""

    tokens: Tokens | None = None

    def __init__(self, policy: ActingPolicy, task: Task) -> None:
        self._policy, self._task = policy, task
        self.shown: list[str] = []
        self.limits: list[int] = []

    async def turn(self, sampling: Sampling, *, max_tokens: int) -> Turn:
        """What the course says."""
        policy = self._policy
        policy.num_flying += 1
        policy.num_turns += 1
        policy.most_flying = max(policy.most_flying, policy.num_flying)
        try:
            await asyncio.sleep(policy.latency_s)
            return policy.course(self._task, self.shown)
        finally:
            policy.num_flying -= 1

    def observe(self, observations: list[tuple[ToolCall, Observation]]) -> None:
        """Remember what came back."""
        self.shown += [observation.text for _, observation in observations]


def in_turn(*turns: Turn) -> Course:
    """These turns one after the other, each after an observation more."""
    return lambda _task, shown: turns[min(len(shown), len(turns) - 1)]


class Counting:
    """An environment that counts its own calls, and hangs, breaks or dies where told to."""

    version = "1"
    opened: list["Counting"]

    def __init__(self, *, hangs_at: str = "hang", breaks: int = 0, pause_s: float = 0.0) -> None:
        self.hangs_at, self.breaks, self.pause_s = hangs_at, breaks, pause_s
        self.count = self.num_resets = 0
        self.seed: int | None = None
        self.threads: set[int] = set()
        self.freed = threading.Event()
        self.is_closed = False

    def reset(self, episode: Episode, seed: int) -> None:
        """From zero."""
        self.count, self.seed = 0, seed
        self.num_resets += 1

    def call(self, name: str, arguments: str) -> Observation:
        """The number of calls since the reset."""
        self.threads.add(threading.get_ident())
        if self.hangs_at in arguments:
            self.freed.wait(60)
        time.sleep(self.pause_s)
        if self.breaks:
            self.breaks -= 1
            return Observation("", Status.FAILED, "it broke")
        self.count += 1
        return Observation(str(self.count))

    def close(self) -> None:
        """Let whoever hangs go."""
        self.is_closed = True
        self.freed.set()


def counted(opened: list[Counting], *, in_process: bool = False, repeats: bool = True, **options: Any) -> Tooling:
    """A tooling of counting environments, each added to `opened`."""

    def open_one() -> Counting:
        opened.append(Counting(**options))
        return opened[-1]

    return Tooling(takes_names("count*"), open_one, in_process=in_process, repeats=repeats)


class FakeCompletions:
    """/v1/completions with token ids: after a prompt, so many tokens that follow from it; it fails as told.

    Chats are continued with the message that `speaks` makes of them, which may bring its own finish_reason.
    """

    def __init__(
        self,
        *,
        faults: Sequence[str] = (),
        die_after: int | None = None,
        latency_s: float = 0.0,
        speaks: Callable[[list[dict[str, Any]]], dict[str, Any]] = lambda _: {},
    ) -> None:
        self.speaks = speaks
        self.faults = list(faults)
        self.die_after = die_after
        self.latency_s = latency_s
        self.bodies: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True

    def __enter__(self) -> "FakeCompletions":
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def base_url(self) -> str:
        """Ends in /v1."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @staticmethod
    def tokens_after(prompt: list[int], limit: int) -> list[int]:
        """What it says: three tokens that follow from the prompt, and the end, 0."""
        return [(sum(prompt) + place) % 90 + 5 for place in range(3)][:limit] + ([0] if limit > 3 else [])

    def _reply(self, body: dict[str, Any]) -> dict[str, Any]:
        if "messages" in body:
            spoken = {"role": "assistant", "content": None, **self.speaks(body["messages"])}
            choice = {"index": 0, "finish_reason": spoken.pop("finish_reason", "stop"), "message": spoken}
            usage = {"completion_tokens": 5, "total_tokens": 10 * len(body["messages"]) + 5}
            return {"choices": [choice], "usage": usage}
        ids = self.tokens_after(body["prompt"], body["max_tokens"])
        ended = "stop" if ids[-1] == 0 else "length"
        choice = {
            "index": 0, "text": "", "finish_reason": ended, "token_ids": ids,
            "logprobs": {"token_logprobs": [-0.5 - 0.25 * place for place in range(len(ids))]},
        }  # fmt: skip
        return {"choices": [choice], "usage": {"completion_tokens": len(ids)}}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._tell(200, b"{}") if not fake.is_dead else self._cut()

            def do_POST(self) -> None:
                body = orjson.loads(self.rfile.read(int(self.headers["content-length"])))
                time.sleep(fake.latency_s)
                with fake._lock:
                    fake.bodies.append(body)
                    fault = fake.faults.pop(0) if fake.faults else ""
                if fake.is_dead or fault == "cut":
                    self._cut()
                elif fault.isdigit():
                    self._tell(int(fault), b'{"error": {"message": "maximum context length is 8 tokens"}}')
                elif fault == "garbage":
                    self._tell(200, b'{"choices": [{"token_ids": null')
                elif fault == "no tokens":
                    self._tell(200, b'{"choices": [{"text": "hm", "finish_reason": "stop"}]}')
                else:
                    self._tell(200, orjson.dumps(fake._reply(body)))

            def _tell(self, status: int, data: bytes) -> None:
                self.send_response(status)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def _cut(self) -> None:
                self.close_connection = True
                self.connection.close()

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        return Handler

    @property
    def is_dead(self) -> bool:
        """Whether it has answered all it ever will."""
        return self.die_after is not None and len(self.bodies) > self.die_after
