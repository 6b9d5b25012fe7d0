"""ATIF, the Agent Trajectory Interchange Format of harbor: numbered steps with calls and observations together."""

from typing import Any

from pipeline.formats.base import Parsed, content_text, message, tool_call
from pipeline.formats.fields import dict_of, list_at, object_at, some, text_of, wanted, word_at
from pipeline.formats.outcomes import as_bool, as_number
from pipeline.formats.tool_schemas import openai_tools
from pipeline.schema import Message, ToolCall

_ROLES = {"system": "system", "user": "user", "agent": "assistant"}


class Atif:
    """One trajectory; `subagent_trajectories` inside it are records of their own, named in the parent's metadata.

    Steps with `is_copied_context` repeat another trajectory and MUST not be trained on: they are left out, and counted.
    """

    name = "atif"

    def detects(self, record: Any) -> bool:
        """Whether the record names an ATIF version and holds steps."""
        if not isinstance(record, dict) or "steps" not in record:
            return False
        version = record.get("schema_version")
        return isinstance(version, str) and version.startswith("ATIF-")

    def unpack(self, value: Any) -> list[Any] | None:
        """The parent without its subagents, then each subagent with `parent_trajectory_id`; None where none is held."""
        if not self.detects(value) or not value.get("subagent_trajectories"):
            return None
        records: list[Any] = []
        waiting: list[Any] = [value]
        while waiting:
            held = waiting.pop()
            if not isinstance(held, dict) or not held.get("subagent_trajectories"):
                records.append(held)
                continue
            records.append({key: part for key, part in held.items() if key != "subagent_trajectories"})
            told = {"schema_version": value["schema_version"]}, {"parent_trajectory_id": _own_id(held)}
            for sub in reversed(list_at(held, "subagent_trajectories", "atif")):
                waiting.append({**told[0], **sub, **told[1]} if isinstance(sub, dict) else sub)
        return records

    def parse(self, record: Any) -> Parsed:
        """The steps as messages, each step's results right after its call."""
        steps = list_at(record, "steps", "atif")
        pile = _pile(record)
        messages: list[Message] = []
        speakers: dict[str, str] = {}
        subagents: dict[str, Any] = {}
        copied = 0
        for index, step in enumerate(steps):
            step = dict_of(step, f"steps[{index}]")
            if step.get("is_copied_context") is True:
                copied += 1
                continue
            actor = _pile(step).get("actor")
            if isinstance(actor, str):
                speakers[str(len(messages))] = actor
            _append_step(messages, step, f"steps[{index}]", subagents)
        agent = object_at(record, "agent")
        outcome = object_at(pile, "outcome")
        return Parsed(
            messages=messages,
            tools=openai_tools(agent["tool_definitions"]) if agent.get("tool_definitions") is not None else None,
            reward=as_number(outcome.get("score")),
            success=as_bool(outcome.get("success")),
            metadata=some(
                schema_version=record.get("schema_version"),
                session_id=record.get("session_id"),
                trajectory_id=record.get("trajectory_id"),
                parent_trajectory_id=record.get("parent_trajectory_id"),
                agent=agent.get("name"),
                agent_version=agent.get("version"),
                model=agent.get("model_name"),
                copied_context_steps=copied,
                agent_of_message=speakers,
                subagents=subagents,
                notes=record.get("notes"),
                continued=record.get("continued_trajectory_ref"),
                final_metrics=record.get("final_metrics"),
                task=pile.get("task"),
                labels=pile.get("labels"),
            ),
        )


def _append_step(messages: list[Message], step: dict[str, Any], where: str, subagents: dict[str, Any]) -> None:
    """Append one step's message and what came back to it."""
    role = _ROLES.get(word_at(step, "source"))
    if role is None:
        raise wanted(f"{where}.source", "system, user or agent", step.get("source"))
    text, images = content_text(step.get("message"))
    calls = _calls(step, where)
    messages.append(
        message(role, text, reasoning=text_of(step.get("reasoning_content")), tool_calls=calls, images=images)
    )
    names = {call["id"]: call["name"] for call in calls}
    observation = step.get("observation")
    results = list_at(observation, "results", f"{where}.observation") if observation else []
    for k, result in enumerate(results):
        result = dict_of(result, f"{where}.observation.results[{k}]")
        text, images = content_text(result.get("content"))
        call_id = text_of(result.get("source_call_id"))
        refs = result.get("subagent_trajectory_ref")
        if refs:
            subagents[call_id or f"message_{len(messages)}"] = refs
        if call_id is None and len(calls) == 1:
            call_id = calls[0]["id"]
        # Without a call to answer it is the environment speaking, which the agent reads as a user's turn.
        tied = call_id is not None
        messages.append(
            message("tool" if tied else "user", text, tool_call_id=call_id, name=names.get(call_id), images=images)
        )


def _calls(step: dict[str, Any], where: str) -> list[ToolCall]:
    """The step's calls; arguments that could not be decoded stand as the model emitted them where that was kept."""
    raw = _pile(step).get("calls")
    calls: list[ToolCall] = []
    for k, call in enumerate(list_at(step, "tool_calls", where) if step.get("tool_calls") else ()):
        call = dict_of(call, f"{where}.tool_calls[{k}]")
        call_id, arguments = text_of(call.get("tool_call_id")), call.get("arguments")
        kept = raw.get(call_id) if isinstance(raw, dict) else None
        if isinstance(kept, dict) and kept.get("arguments_state") == "unparsed":
            arguments = kept.get("arguments_raw", arguments)
        calls.append(tool_call(text_of(call.get("function_name")), arguments, call_id))
    return calls


def _pile(holder: dict[str, Any]) -> dict[str, Any]:
    """What agentpile noted in `extra`; empty where it did not write the file."""
    extra = holder.get("extra")
    pile = extra.get("agentpile") if isinstance(extra, dict) else None
    return pile if isinstance(pile, dict) else {}


def _own_id(record: dict[str, Any]) -> Any:
    """What names a trajectory: its own id, in early versions its session's."""
    return record.get("trajectory_id") or record.get("session_id")


ATIF = Atif()
