"""OpenHands event streams: actions and the observations they caused, as in an evaluation's output.jsonl."""

from collections import Counter
from typing import Any

from pipeline.formats.base import Parsed, content_text, message, pair_by_position, tool_call
from pipeline.formats.chat_messages import read_calls
from pipeline.formats.fields import dict_of, object_at, some, text_of, wanted
from pipeline.formats.tool_schemas import openai_tools
from pipeline.schema import Message, ToolCall

_SILENT_ACTIONS = frozenset(
    {"recall", "change_agent_state", "null", "condensation", "condensation_request", "loop_recovery", "start_hook"}
)
_SILENT_OBSERVATIONS = frozenset({"recall", "agent_state_changed", "null", "condense", "loop_detection"})
_BOOKKEEPING = frozenset(
    {
        "action", "thought", "source", "id", "timestamp", "message", "cause", "args", "action_risk", "is_confirmed",
        "confirmation_state", "keep_prompt", "kernel_init_code", "hidden", "blocking", "is_static", "is_input", "cwd",
        "impl_source", "tool_call_metadata", "llm_metrics", "security_risk", "include_extra", "set_hard_timeout",
        "return_axtree", "browsergym_send_msg_to_user",
    }
)  # fmt: skip
_METADATA_KEYS = ("instance_id", "error", "git_patch", "metrics", "result_explanation", "comment_success", "issue_type")


class OpenHands:
    """An event history; where the model's own response was kept with an action, the turn is read from that."""

    name = "openhands"

    def detects(self, record: Any) -> bool:
        """Whether the record is, or holds under `history`, events or (action, observation) pairs."""
        events = record.get("history") if isinstance(record, dict) else record
        if not isinstance(events, list) or not events:
            return False
        first = events[0][0] if isinstance(events[0], list) and events[0] else events[0]
        return _is_event(first) and (isinstance(record, dict) or "source" in first)

    def parse(self, record: Any) -> Parsed:
        """The conversation between user, agent and environment; bookkeeping events are counted in metadata."""
        holder = record if isinstance(record, dict) else {}
        reader = _EventReader()
        events = holder.get("history") if holder else record
        for index, event in enumerate(_flat(events)):
            reader.read(dict_of(event, f"history[{index}]"), f"history[{index}]")
        details = object_at(holder, "metadata")
        config = object_at(details, "llm_config")
        return Parsed(
            messages=pair_by_position(reader.messages),
            tools=reader.tools,
            final_answer=reader.final_answer,
            success=_resolved(holder),
            metadata=some(
                **{key: holder.get(key) for key in _METADATA_KEYS},
                # The issue resolver asks a model whether the issue looks solved: an opinion, not an outcome.
                guessed_success=holder.get("success") if "result_explanation" in holder else None,
                agent=details.get("agent_class"),
                model=config.get("model"),
                other_events=dict(sorted(reader.others.items())),
                error_call_ids=reader.error_call_ids,
            ),
        )


class _EventReader:
    """Reads events one by one into messages."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.others: Counter[str] = Counter()
        self.tools: list[dict[str, Any]] | None = None
        self.final_answer: str | None = None
        self.error_call_ids: list[str] = []
        self._responses: set[str] = set()
        self._call_of_event: dict[Any, str | None] = {}
        self._open = 0

    def read(self, event: dict[str, Any], where: str) -> None:
        """Take in one event. Raises FormatError for one that is neither action nor observation."""
        action, observation = event.get("action"), event.get("observation")
        if isinstance(action, str):
            if action == "system":
                self._system(event)
            elif action == "message":
                self._message(event)
            elif action in _SILENT_ACTIONS:
                self.others[f"action {action}"] += 1
            else:
                self._act(event, action)
        elif isinstance(observation, str):
            if observation in _SILENT_OBSERVATIONS:
                self.others[f"observation {observation}"] += 1
            else:
                self._observe(event, observation)
        else:
            raise wanted(where, "an event with `action` or `observation`", sorted(event))

    def _system(self, event: dict[str, Any]) -> None:
        args = _args(event)
        self.messages.append(message("system", text_of(args.get("content") or event.get("content"))))
        if args.get("tools") is not None:
            self.tools = openai_tools(args["tools"])

    def _message(self, event: dict[str, Any]) -> None:
        args = _args(event)
        source = event.get("source")
        if source is None:
            # Older files name no source: the first message is the task, after that speakers alternate.
            answered = bool(self.messages) and self.messages[-1]["role"] != "assistant"
            source = "agent" if answered else "user"
        text, images = content_text(args.get("content", event.get("content")))
        images = images + (_texts(args.get("image_urls")) or _texts(event.get("images_urls")))
        self.messages.append(message("assistant" if source == "agent" else "user", text, images=images))

    def _act(self, event: dict[str, Any], action: str) -> None:
        """An assistant turn, unless another action of the same model response has brought it already."""
        args = _args(event)
        told = event.get("tool_call_metadata")
        finish = action == "finish"
        if finish:
            outputs = args.get("outputs")
            held = outputs.get("content") if isinstance(outputs, dict) else None
            self.final_answer = text_of(args.get("final_thought") or held) or None
        if isinstance(told, dict):
            response = object_at(told, "model_response")
            self._call_of_event[text_of(event.get("id"))] = text_of(told.get("tool_call_id"))
            said = _response_message(response)
            if said is None:
                arguments = {key: value for key, value in args.items() if key not in _BOOKKEEPING}
                call = tool_call(text_of(told.get("function_name")), arguments, text_of(told.get("tool_call_id")))
                self._say(text_of(args.get("thought")), [call])
                return
            response_id = text_of(response.get("id"))
            if response_id is None or response_id not in self._responses:
                self._responses.add(response_id or "")
                calls = read_calls(said.get("tool_calls") or [], "model_response.tool_calls")
                text, _ = content_text(said.get("content"))
                self._say(text, calls, text_of(said.get("reasoning_content")))
            return
        thought = text_of(args.get("thought")) or None
        if finish or action == "reject":
            self.messages.append(message("assistant", thought or self.final_answer))
            return
        arguments = {key: value for key, value in args.items() if key not in _BOOKKEEPING and value is not None}
        call_id = None if event.get("id") is None else f"event_{event['id']}"
        self._call_of_event[text_of(event.get("id"))] = call_id
        self._say(thought, [tool_call(action, arguments, call_id)])

    def _say(self, text: str | None, calls: list[ToolCall], reasoning: str | None = None) -> None:
        self._open = len(calls)
        self.messages.append(message("assistant", text, reasoning=reasoning, tool_calls=calls))

    def _observe(self, event: dict[str, Any], observation: str) -> None:
        """What the environment gave back; an error that answers no call is told to the agent as a user's turn."""
        extras = object_at(event, "extras")
        text, images = content_text(event.get("content"))
        images = images + _texts(extras.get("image_urls"))
        told = event.get("tool_call_metadata")
        call_id = text_of(told.get("tool_call_id")) if isinstance(told, dict) else None
        call_id = call_id or self._call_of_event.get(text_of(event.get("cause")))
        if call_id is None and self._open <= 0:
            self.messages.append(message("user", text, images=images))
            return
        self._open -= 1
        if observation == "error" and call_id:
            self.error_call_ids.append(call_id)
        name = text_of(told.get("function_name")) if isinstance(told, dict) else None
        self.messages.append(message("tool", text, tool_call_id=call_id, name=name, images=images))


def _flat(events: Any) -> list[Any]:
    """The events one after the other; older files keep them as (action, observation) pairs."""
    if not isinstance(events, list):
        raise wanted("openhands.history", "a list", events)
    return [event for entry in events for event in (entry if isinstance(entry, list) else (entry,))]


def _texts(value: Any) -> list[str]:
    """The texts in a list; none where it is no list."""
    return [held for held in value if isinstance(held, str)] if isinstance(value, list) else []


def _args(event: dict[str, Any]) -> dict[str, Any]:
    """An action's arguments; older files keep them in the event itself."""
    args = event.get("args")
    return args if isinstance(args, dict) else event


def _response_message(response: dict[str, Any]) -> dict[str, Any] | None:
    """The message of the model's raw response; None where it was not kept."""
    choices = response.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    held = first.get("message") if isinstance(first, dict) else None
    return held if isinstance(held, dict) and held.get("tool_calls") else None


def _resolved(record: dict[str, Any]) -> bool | None:
    """Whether the tests passed, where a report or the record says so."""
    for holder in (record, record.get("report"), record.get("test_result")):
        while isinstance(holder, dict):
            if isinstance(holder.get("resolved"), bool):
                return holder["resolved"]
            holder = holder.get("report")
    return None


def _is_event(value: Any) -> bool:
    """Whether a value looks like an event: an action or observation by name, and no chat role."""
    return (
        isinstance(value, dict)
        and "role" not in value
        and (isinstance(value.get("action"), str) or isinstance(value.get("observation"), str))
        and any(key in value for key in ("args", "source", "content", "thought", "extras"))
    )


OPENHANDS = OpenHands()
