"""AgentRewardBench's cleaned runs (BrowserGym): one page and one action a step."""

import ast
import re
from typing import Any

from pipeline.formats.base import Parsed, content_text, message, pair_by_position, tool_call
from pipeline.formats.fields import answer_last_call, dict_of, object_at, some, text_of, wanted
from pipeline.formats.outcomes import as_number
from pipeline.schema import Message

_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_CALL = re.compile(r"\s*([A-Za-z_]\w*)\s*\((.*)\)\s*\Z", re.DOTALL)
_MAX_ACTION = 100_000
# Names of the positional arguments. Source: BrowserGym, browsergym/core/action/functions.py.
_PARAMETERS = {
    "noop": ("wait_ms",),
    "scroll": ("delta_x", "delta_y"),
    "fill": ("bid", "value"),
    "select_option": ("bid", "options"),
    "click": ("bid", "button", "modifiers"),
    "dblclick": ("bid", "button", "modifiers"),
    "hover": ("bid",),
    "press": ("bid", "key_comb"),
    "focus": ("bid",),
    "clear": ("bid",),
    "check": ("bid",),
    "uncheck": ("bid",),
    "drag_and_drop": ("from_bid", "to_bid"),
    "upload_file": ("bid", "file"),
    "keyboard_press": ("key",),
    "keyboard_type": ("text",),
    "keyboard_insert_text": ("text",),
    "mouse_click": ("x", "y", "button"),
    "mouse_move": ("x", "y"),
    "goto": ("url",),
    "tab_focus": ("index",),
    "send_msg_to_user": ("text",),
    "report_infeasible": ("reason",),
}


class AgentRewardBench:
    """The goal with the first page, then actions, each answered by the page that came of it.

    An action that is no call stands as the assistant's words, and the page after it as a user's turn.
    """

    name = "agent_reward_bench"

    def detects(self, record: Any) -> bool:
        """Whether the record names a benchmark and holds steps with a page or an action."""
        if not isinstance(record, dict) or not isinstance(record.get("benchmark"), str):
            return False
        steps = _steps(record)
        if not steps:
            return steps is not None and "summary_info" in record
        return isinstance(steps[0], dict) and "action" in steps[0] and ("axtree" in steps[0] or "url" in steps[0])

    def parse(self, record: Any) -> Parsed:
        """The run, with the benchmark's cumulative reward."""
        steps = _steps(record)
        if steps is None:
            raise wanted("agent_reward_bench.steps", "a list", record.get("steps"))
        head = record["head"] if isinstance(record.get("head"), dict) else record
        goal, images = content_text(head.get("goal"))
        messages: list[Message] = []
        final: str | None = None
        failed: list[int] = []
        for index, step in enumerate(steps):
            step = dict_of(step, f"steps[{index}]")
            if index == 0:
                messages += _opening(step, goal, images)
            else:
                open_call = messages[-1]["tool_calls"] is not None
                page = _page(step, "tool" if open_call else "user")
                answer_last_call(messages, page) if open_call else messages.append(page)
            said = _action(step)
            if said is None:
                continue
            if step.get("last_action_error"):
                failed.append(index)
            messages.append(said)
            for call in said["tool_calls"] or ():
                if call["name"] == "send_msg_to_user":
                    final = _told(step["action"])
        summary = object_at(record, "summary_info")
        return Parsed(
            messages=pair_by_position(messages),
            prompt=goal,
            final_answer=final,
            reward=as_number(summary.get("cum_reward")),
            metadata=some(
                benchmark=record["benchmark"],
                agent=head.get("agent"),
                model=head.get("model") or record.get("model_name"),
                experiment=record.get("experiment"),
                task_id=record.get("task_id"),
                seed=record.get("seed"),
                valid=record.get("valid"),
                error=summary.get("err_msg"),
                truncated=summary.get("truncated"),
                steps_after_an_error=failed,
            ),
        )


def _steps(record: dict[str, Any]) -> list[Any] | None:
    """The steps, under `steps` or `records`."""
    found = record.get("steps", record.get("records"))
    return found if isinstance(found, list) else None


def _opening(step: dict[str, Any], goal: str | None, images: list[str]) -> list[Message]:
    """The system prompt where it was kept, and the task: the goal and the page it starts on."""
    chat = step.get("chat_messages")
    first = chat[0] if isinstance(chat, list) and chat and isinstance(chat[0], dict) else {}
    system = [message("system", content_text(first.get("content"))[0])] if first.get("role") == "system" else []
    page = _page(step, "user")
    text = "\n\n".join(part for part in (goal, page["content"]) if part) or None
    return [*system, message("user", text, images=[*images, *(page["images"] or ())])]


def _page(step: dict[str, Any], role: str) -> Message:
    """The page of a step: the last action's error, the accessibility tree, else the address."""
    error = text_of(step.get("last_action_error"))
    tree = text_of(step.get("axtree")) or text_of(step.get("url"))
    shot = step.get("screenshot_path")
    text = "\n\n".join(part for part in (error, tree) if part) or None
    return message(role, text, images=[shot] if isinstance(shot, str) and shot else None)


def _action(step: dict[str, Any]) -> Message | None:
    """What the agent did on a step; None where it did nothing, as on the page after its last action."""
    thought, action = text_of(step.get("reasoning")) or None, text_of(step.get("action"))
    if action is None or not action.strip():
        chat = step.get("chat_messages")
        said = [item for item in chat if isinstance(item, dict)] if isinstance(chat, list) else []
        text = next((item.get("content") for item in reversed(said) if item.get("role") == "assistant"), thought)
        return None if text is None else message("assistant", content_text(text)[0])
    plain = _COMMENT.sub("", action).strip()
    found = _CALL.match(plain) if len(plain) <= _MAX_ACTION else None
    if found is None:
        return message("assistant", "\n".join(part for part in (thought, action) if part))
    return message("assistant", thought, tool_calls=[tool_call(found.group(1), _arguments(plain, found))])


def _arguments(source: str, found: re.Match[str]) -> Any:
    """The arguments by name; the text between the parentheses where they are no literals."""
    name = found.group(1)
    try:
        tree = ast.parse(source, mode="eval").body
        if not isinstance(tree, ast.Call):
            return found.group(2)
        names = _PARAMETERS.get(name, ())
        arguments = {
            names[k] if k < len(names) else f"arg{k}": ast.literal_eval(held) for k, held in enumerate(tree.args)
        }
        return arguments | {held.arg or "kwargs": ast.literal_eval(held.value) for held in tree.keywords}
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return found.group(2)


def _told(action: str) -> str | None:
    """The text that `send_msg_to_user` sends."""
    plain = _COMMENT.sub("", action).strip()
    found = _CALL.match(plain)
    arguments = _arguments(plain, found) if found else None
    return text_of(arguments.get("text")) if isinstance(arguments, dict) else None


AGENT_REWARD_BENCH = AgentRewardBench()
