"""The figures vLLM counts about itself."""

import re
from collections.abc import Iterable

import httpx

from pipeline.errors import ModelServerError
from pipeline.serving.probing import ask, root_of

_NAMES = {
    "prefix_cache_queries": ("prefix_cache_queries", "gpu_prefix_cache_queries"),
    "prefix_cache_hits": ("prefix_cache_hits", "gpu_prefix_cache_hits"),
    "prompt_tokens": ("prompt_tokens",),
    "generation_tokens": ("generation_tokens",),
    "requests": ("request_success",),
    "requests_running": ("num_requests_running",),
    "requests_waiting": ("num_requests_waiting",),
}
"""Ours to those of vLLM's versions, without `vllm:` before them and the `_total` that a counter may end in."""
_SAMPLE = re.compile(r"vllm[:_](?P<name>\w+?)(_total)?(\{.*\})? (?P<value>\S+)( \d+)?")


def read_metrics(base_url: str) -> dict[str, float]:
    """Counts since the server started, summed over its engines; a figure the server does not give is left out.

    Keys: prefix_cache_queries and prefix_cache_hits (tokens looked up in the prefix cache, and found), prompt_tokens,
    generation_tokens, requests (finished), requests_running, requests_waiting.

    Raises ModelServerError if the server does not tell its metrics.
    """
    url = f"{root_of(base_url)}/metrics"
    try:
        answer = ask(url).raise_for_status()
    except httpx.HTTPError as error:
        raise ModelServerError(
            f"{url}: want vLLM's metrics, found {error or type(error).__name__}; is it vLLM?"
        ) from error
    return parse_metrics(answer.text.splitlines())


def parse_metrics(lines: Iterable[str]) -> dict[str, float]:
    """The figures in the lines of a Prometheus exposition."""
    sums: dict[str, float] = {}
    for line in lines:
        if found := _SAMPLE.fullmatch(line.strip()):
            sums[found["name"]] = sums.get(found["name"], 0.0) + float(found["value"])
    told = {ours: next((sums[name] for name in names if name in sums), None) for ours, names in _NAMES.items()}
    return {name: value for name, value in told.items() if value is not None}
