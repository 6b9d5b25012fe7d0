"""The score in a chat completion: the probability of yes, against that of no, at the position that decides."""

import math
import re
from collections.abc import Iterator
from typing import Any, Literal

from pipeline.errors import JudgeReplyError

LABELS = ("yes", "no")
ANSWER = "answer"
"""The key under which a JSON reply says yes or no."""
Constrain = Literal["choice", "json_schema", "none"]

_JSON = re.compile(rf'\s*\{{\s*"{ANSWER}"\s*:\s*"(yes|no)"\s*\}}\s*', re.IGNORECASE)
_CHOICE = re.compile(r"\s*(yes|no)\s*", re.IGNORECASE)
_FREE = re.compile(r"\W*(yes|no)\b(?!\s*(?:or\b|/))", re.IGNORECASE)
"""A reply that begins with its answer; `yes or no` and `yes/no` repeat the question."""
_SPACE = re.compile(r"\s+")
_BEFORE_LABEL = re.compile(r"^\W+")
_LEAST_MASS = 0.01
"""Of both labels together; a constrained reply has 1, a free one what other words leave."""
_ROUNDING = 1e-3
"""A logprob may be above 0 by that much."""


def score_of(reply: Any, *, constrain: Constrain, logprobs: bool) -> float:
    """The probability of yes, 0 to 1, in the body of a chat completion; without logprobs 1 for a yes, 0 for a no.

    A label may begin with several tokens (`yes`, `y`, `ye`, ` Yes`): the mass of all that begin it is summed, case and
    leading space folded, at the first position that tells the labels apart. In a JSON reply that is where the value
    begins.

    Raises: JudgeReplyError if there is no whole answer, or no logprobs that belong to it.
    """
    choice = _first_choice(reply)
    content = _content(choice)
    match = _answer(content, choice.get("finish_reason"), constrain)
    label = match[1].lower()
    if not logprobs:
        return float(label == "yes")
    squeezed = _squeezed(content)
    before = len(_squeezed(content[: match.start(1)]))
    masses: dict[str, float] = dict.fromkeys(LABELS, 0.0)
    for token, logprob in _alternatives(_deciding(choice, squeezed, before, label)):
        said = _label_begun(token)
        if said is not None:
            masses[said] += math.exp(min(logprob, 0.0))
    total = sum(masses.values())
    if total < _LEAST_MASS:
        raise JudgeReplyError(f"malformed reply: yes and no together have a probability of {total:.3g}")
    return masses["yes"] / total


def _first_choice(reply: Any) -> dict[str, Any]:
    choices = reply.get("choices") if isinstance(reply, dict) else None
    if not isinstance(choices, list):
        raise JudgeReplyError("malformed reply: no chat completion")
    if not choices or not isinstance(choices[0], dict):
        raise JudgeReplyError("empty reply: no choices")
    return choices[0]


def _content(choice: dict[str, Any]) -> str:
    message = choice.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, str) or not content.strip():
        raise JudgeReplyError("empty reply: no content")
    return content


def _answer(content: str, finish_reason: Any, constrain: Constrain) -> re.Match[str]:
    if constrain == "none":
        match = _FREE.match(content)
    else:
        match = (_JSON if constrain == "json_schema" else _CHOICE).fullmatch(content)
    if match is None and finish_reason == "length":
        raise JudgeReplyError(f"cut reply: {len(content)} characters without an answer")
    if match is None:
        raise JudgeReplyError(f"wrong choice: {len(content)} characters that are neither yes nor no")
    if finish_reason not in ("stop", "length"):
        raise JudgeReplyError("cut reply: the server gave up on it")
    return match


def _deciding(choice: dict[str, Any], squeezed: str, before: int, label: str) -> dict[str, Any]:
    """The position that emitted the first character of the label, `before` characters into the reply without spaces.

    Spaces do not count, for some tokenizers lose a leading one where a token is told alone.
    """
    held = choice.get("logprobs")
    positions = held.get("content") if isinstance(held, dict) else None
    if not isinstance(positions, list) or not positions:
        raise JudgeReplyError("malformed reply: no logprobs; for a server without them set judge.logprobs = false")
    done = ""
    for position in positions:
        token = position.get("token") if isinstance(position, dict) else None
        if not isinstance(token, str):
            break
        done += _squeezed(token)
        if len(done) <= before:
            continue
        if not _agree(done, squeezed) or _label_begun(token) != label:
            break
        return position
    raise JudgeReplyError("malformed reply: its logprobs are of other tokens")


def _alternatives(position: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Tokens the position could have had, with their logprobs; the emitted one is among them."""
    top = position.get("top_logprobs")
    listed = [each for each in top if isinstance(each, dict)] if isinstance(top, list) else []
    if all(each.get("token") != position["token"] for each in listed):
        listed.append(position)
    for each in listed:
        token, logprob = each.get("token"), each.get("logprob")
        if not isinstance(logprob, int | float) or math.isnan(logprob) or logprob > _ROUNDING:
            raise JudgeReplyError("malformed reply: a logprob is no logarithm of a probability")
        if isinstance(token, str):
            yield token, logprob


def _label_begun(token: str) -> str | None:
    """The label that the token begins or holds, None for any other."""
    text = _BEFORE_LABEL.sub("", token).casefold()
    for label in LABELS:
        if text and (label.startswith(text) or re.match(rf"{label}\b", text)):
            return label
    return None


def _agree(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


def _squeezed(text: str) -> str:
    return _SPACE.sub("", text)
