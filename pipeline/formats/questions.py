"""Question lists with answers: GSM8K, MATH, multiple choice and their like. Not traces; they become prompts."""

from typing import Any

from pipeline.formats.base import Parsed, message
from pipeline.formats.images import place_images
from pipeline.formats.outcomes import answer_text

_QUESTION = ("question", "problem", "prompt", "query", "instruction")
_ANSWER = (
    "answer",
    "ground_truth",
    "final_answer",
    "expected_answer",
    "golden_answers",
    "answerKey",
    "target",
    "solution",
)
# What only an attempt has; a record with one of these is a trace of a format not known here, or a broken one.
_ATTEMPT = frozenset(
    {
        "messages",
        "conversations",
        "conversation",
        "trajectory",
        "traj",
        "history",
        "steps",
        "trace",
        "spans",
        "tree",
        "tool_calls",
        "actions",
        "turns",
        "code",
        "output",
        "response",
        "completion",
        "generation",
        "chosen",
        "rejected",
    }
)
_CHOICES = ("choices", "options")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class QuestionsFormat:
    """A text under question, problem, prompt, query or instruction, and its answer beside it."""

    name = "questions"

    def detects(self, record: Any) -> bool:
        """A question text, an answer that is no object, and nothing that only an attempt has."""
        if type(record) is not dict:
            return False
        asked = next((key for key in _QUESTION if type(record.get(key)) is str), None)
        if asked is None or not record[asked].strip() or not _ATTEMPT.isdisjoint(record):
            return False
        return _answer_key(record) is not None

    def parse(self, record: dict[str, Any]) -> Parsed:
        """The question as the one user message, with its choices lettered, and the bare answer as ground truth."""
        asked = next(key for key in _QUESTION if type(record.get(key)) is str)
        key = _answer_key(record)
        prompt = record[asked]
        truth = None if key is None else _bare_answer(record[key])
        consumed = {asked}
        if key is not None and not (isinstance(record[key], str) and record[key] != truth):
            consumed.add(key)  # a worked solution stays beside its bare answer
        choices = next((name for name in _CHOICES if record.get(name)), None)
        if choices is not None:
            labels, texts = _labelled(record[choices])
            if texts:
                consumed.add(choices)
                prompt += "\n" + "\n".join(f"{label}. {text}" for label, text in zip(labels, texts, strict=False))
                place = record[key] if key is not None else None
                if isinstance(place, int) and not isinstance(place, bool) and 0 <= place < len(labels):
                    truth = labels[place]
        messages = [message("user", prompt)]
        if record.get("images") is not None:
            place_images(messages, record["images"])
            consumed.add("images")
        return Parsed(
            messages,
            prompt=prompt,
            ground_truth=truth,
            metadata={name: value for name, value in record.items() if name not in consumed},
            is_trace=False,
        )


def last_boxed(text: str) -> str | None:
    r"""What stands in the last `\boxed{…}` (or `\fbox{…}`, or `\boxed x`) of a text; None where there is none."""
    start = max(text.rfind("\\boxed"), text.rfind("\\fbox"))
    if start < 0:
        return None
    opening = text.find("{", start)
    if opening < 0 or text[start:opening].strip() not in ("\\boxed", "\\fbox"):
        bare = text[start:].split(maxsplit=1)
        return bare[1].split("$")[0].strip() or None if len(bare) == 2 else None
    depth = 0
    for position in range(opening, len(text)):
        if text[position] == "{":
            depth += 1
        elif text[position] == "}":
            depth -= 1
            if depth == 0:
                return text[opening + 1 : position].strip() or None
    return None


def _answer_key(record: dict[str, Any]) -> str | None:
    for key in _ANSWER:
        value = record.get(key)
        if value is None or value == "" or value == []:
            continue
        if type(value) is list and any(type(item) in (dict, list) for item in value):
            continue
        if type(value) is not dict:
            return key
    return None


def _bare_answer(value: Any) -> str | None:
    """The answer itself: after GSM8K's `####`, inside a solution's last box, else the whole."""
    if not isinstance(value, str):
        return answer_text(value)
    marked = value.rfind("####")
    if marked >= 0:
        return value[marked + 4 :].strip() or None
    return last_boxed(value) or value.strip() or None


def _labelled(choices: Any) -> tuple[list[str], list[str]]:
    """The labels and texts of choices given as a list, `{text, label}` lists, or a label-to-text object."""
    if isinstance(choices, dict):
        texts = choices.get("text")
        if isinstance(texts, list):
            labels = choices.get("label")
            named = [str(label) for label in labels] if isinstance(labels, list) else list(_LETTERS)
            return named, [str(text) for text in texts]
        return [str(label) for label in choices], [str(text) for text in choices.values()]
    if isinstance(choices, list) and all(isinstance(text, str | int | float) for text in choices):
        return list(_LETTERS[: len(choices)]), [str(text) for text in choices]
    return [], []


QUESTIONS = QuestionsFormat()
