"""Berkeley function-calling questions, and replays of their ground-truth calls."""

from typing import Any

from pipeline.errors import FormatError
from pipeline.formats.base import Parsed, message, pair_by_position, tool_call
from pipeline.formats.chat_messages import looks_like_chat, read_messages
from pipeline.formats.outcomes import answer_text
from pipeline.formats.python_calls import parse_python_call
from pipeline.formats.tool_schemas import openai_tools
from pipeline.schema import Message


class BfclFormat:
    """A question: turns of user messages, the functions on offer, perhaps the wanted calls; no attempt at it."""

    name = "bfcl"

    def detects(self, record: Any) -> bool:
        """`question` is a list of turns, each a list of messages."""
        if type(record) is not dict:
            return False
        question = record.get("question")
        return type(question) is list and bool(question) and looks_like_chat(question[0])

    def parse(self, record: dict[str, Any]) -> Parsed:
        """The user's turns in order; their texts together are the task, since each adds to it."""
        messages: list[Message] = []
        for index, turn in enumerate(record["question"]):
            if not isinstance(turn, list):
                raise FormatError(f"question[{index}]: want a list of messages, found {type(turn).__name__}")
            messages += read_messages(turn, f"question[{index}]")
        asked = [item["content"] for item in messages if item["role"] == "user" and item["content"]]
        left = ("question", "function", "ground_truth")
        return Parsed(
            messages,
            prompt="\n\n".join(asked) or None,
            tools=openai_tools(record.get("function")),
            ground_truth=answer_text(record.get("ground_truth")),
            metadata={key: value for key, value in record.items() if key not in left},
            is_trace=False,
        )


class BfclReplayFormat:
    """`{id, turns: [{user, calls, outputs}]}`: Python calls and what the simulators gave back."""

    name = "bfcl_replay"

    def detects(self, record: Any) -> bool:
        """The first turn holds `user`, `calls` and `outputs`."""
        turns = record.get("turns") if type(record) is dict else None
        if type(turns) is not list or not turns or type(turns[0]) is not dict:
            return False
        return "user" in turns[0] and "calls" in turns[0] and "outputs" in turns[0]

    def parse(self, record: dict[str, Any]) -> Parsed:
        """Each call as a message of its own with its output: a call works on what the one before it left."""
        messages: list[Message] = []
        asked: list[str] = []
        for index, turn in enumerate(record["turns"]):
            where = f"turns[{index}]"
            if type(turn) is not dict:
                raise FormatError(f"{where}: want an object, found {type(turn).__name__}")
            user, calls, outputs = turn.get("user"), turn.get("calls"), turn.get("outputs")
            if not isinstance(user, list) or not isinstance(calls, list) or not isinstance(outputs, list):
                raise FormatError(f"{where}: want lists user, calls and outputs, found keys {sorted(map(str, turn))}")
            if len(outputs) > len(calls):
                raise FormatError(f"{where}.outputs: want one for each of {len(calls)} calls, found {len(outputs)}")
            said = read_messages(user, f"{where}.user")
            asked += [item["content"] for item in said if item["content"]]
            messages += said
            for k, call in enumerate(calls):
                name, arguments = parse_python_call(call, f"{where}.calls[{k}]")
                messages.append(message("assistant", tool_calls=[tool_call(name, arguments)]))
                if k < len(outputs):
                    output = outputs[k]
                    messages.append(message("tool", output if isinstance(output, str) else answer_text(output)))
        return Parsed(
            pair_by_position(messages),
            prompt="\n\n".join(asked) or None,
            metadata={key: value for key, value in record.items() if key != "turns"},
        )


BFCL = BfclFormat()
BFCL_REPLAY = BfclReplayFormat()
