"""Chat completions as vLLM gives them: tokens, their logprobs and those of the alternatives, for every constraint."""

import hashlib
import math
from collections.abc import Callable, Mapping
from typing import Any

import orjson

Messages = list[dict[str, Any]]
Probability = Callable[[Messages], float]
"""The probability of yes that the judge gives to a prompt."""

MASKED = -9999.0
"""vLLM's logprob of a token that the constraint forbids."""
_TOP = 20
_PARTS = {"yes": {"yes": 0.6, "y": 0.3, "ye": 0.1}, "no": {"no": 0.75, "n": 0.25}}
"""How a label's mass splits over the tokens it may begin with, under guided choice."""
_FREE = {"yes": {" Yes": 0.5, "Yes": 0.3, " yes": 0.2}, "no": {" No": 0.6, "No": 0.4}}
_FORBIDDEN = ["<empty_output>", "<issue_start>", '"', "#", "<|im_start|>", "<reponame>", "!", "<gh_stars>"]

Position = tuple[str, dict[str, float]]
"""The token that was emitted, and the probability of each alternative."""


def digest_of(messages: Messages) -> str:
    """Names a prompt."""
    return hashlib.sha256(orjson.dumps(messages, option=orjson.OPT_SORT_KEYS)).hexdigest()


def probability_by_hash(messages: Messages) -> float:
    """Between 0.02 and 0.98, by the hash of the prompt."""
    return 0.02 + 0.96 * int(digest_of(messages)[:12], 16) / 16**12


def completion(body: Mapping[str, Any], probability: float) -> dict[str, Any]:
    """What the server replies to a request whose prompt it answers with yes at this probability."""
    if "response_format" in body:
        positions = _json_positions(body["response_format"]["json_schema"]["schema"], probability)
    elif "structured_outputs" in body:
        positions = _choice_positions(probability)
    else:
        positions = _free_positions(probability)
    limit = body.get("max_tokens") or body.get("max_completion_tokens") or len(positions)
    kept = positions[:limit]
    content = "".join(token for token, _ in kept if token != "<|im_end|>")
    return {
        "id": "chatcmpl-fake",
        "object": "chat.completion",
        "created": 0,
        "model": body.get("model"),
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": content, "refusal": None, "reasoning": None},
                "logprobs": {"content": [_told(each) for each in kept]} if body.get("logprobs") else None,
                "finish_reason": "length" if len(kept) < len(positions) else "stop",
                "stop_reason": None,
            }
        ],
        "usage": {"prompt_tokens": 1, "total_tokens": 1 + len(kept), "completion_tokens": len(kept)},
    }


def _choice_positions(probability: float) -> list[Position]:
    masses = _masses(_PARTS, probability)
    token = max(masses, key=lambda each: masses[each])
    label = "yes" if token in _PARTS["yes"] else "no"
    rest = label.removeprefix(token)
    return [(token, masses), *([(rest, {rest: 1.0})] if rest else []), ("<|im_end|>", {"<|im_end|>": 1.0})]


def _json_positions(schema: Mapping[str, Any], probability: float) -> list[Position]:
    ((name, _),) = schema["properties"].items()
    before: list[Position] = [
        ('{"', {'{"': 0.8, "{": 0.2}),
        (name, {name: 1.0}),
        ('":', {'":': 0.9, '"': 0.1}),
        (' "', {' "': 0.7, '"': 0.3}),
    ]
    value = _choice_positions(probability)[:-1]
    return [*before, *value, ('"}', {'"}': 0.9, '"': 0.1}), ("<|im_end|>", {"<|im_end|>": 1.0})]


def _free_positions(probability: float) -> list[Position]:
    masses = {token: 0.9 * mass for token, mass in _masses(_FREE, probability).items()} | {"The": 0.06, " It": 0.04}
    token = max(masses, key=lambda each: masses[each])
    return [(token, masses), (".", {".": 0.8, ",": 0.2}), ("<|im_end|>", {"<|im_end|>": 1.0})]


def _masses(parts: Mapping[str, Mapping[str, float]], probability: float) -> dict[str, float]:
    held = {"yes": probability, "no": 1 - probability}
    return {token: held[label] * share for label, tokens in parts.items() for token, share in tokens.items()}


def _told(position: Position) -> dict[str, Any]:
    token, masses = position
    ordered = sorted(masses.items(), key=lambda each: -each[1])
    top = [_token(each, math.log(mass) if mass > 0 else MASKED) for each, mass in ordered]
    top += [_token(each, MASKED) for each in _FORBIDDEN][: _TOP - len(top)]
    return {**_token(token, math.log(masses[token])), "top_logprobs": top}


def _token(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode())}
