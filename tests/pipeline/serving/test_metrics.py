"""What vLLM counts is read under the names of its versions."""

import pytest

from pipeline.errors import ModelServerError
from pipeline.serving.metrics import parse_metrics, read_metrics

NEW = """\
# HELP vllm:prefix_cache_queries_total Prefix cache queries, in terms of number of queried tokens.
# TYPE vllm:prefix_cache_queries_total counter
vllm:prefix_cache_queries_total{engine="0",model_name="judge"} 100.0
vllm:prefix_cache_queries_total{engine="1",model_name="judge"} 20.0
vllm:prefix_cache_queries_created{engine="0",model_name="judge"} 1.79e+09
vllm:prefix_cache_hits_total{engine="0",model_name="judge"} 64.0
vllm:external_prefix_cache_hits_total{engine="0",model_name="judge"} 5.0
vllm:prompt_tokens_total{engine="0",model_name="judge"} 1.2e+02
vllm:prompt_tokens_by_source_total{engine="0",source="local"} 7.0
vllm:request_success_total{engine="0",finished_reason="stop",model_name="a } b"} 3.0
vllm:request_success_total{engine="0",finished_reason="length",model_name="a } b"} 1.0
vllm:num_requests_running{engine="0",model_name="judge"} 2.0
python_gc_objects_collected_total{generation="0"} 9.0
"""


def test_figures_are_summed_over_engines_and_reasons() -> None:
    assert parse_metrics(NEW.splitlines()) == {
        "prefix_cache_queries": 120,
        "prefix_cache_hits": 64,
        "prompt_tokens": 120,
        "requests": 4,
        "requests_running": 2,
    }


def test_names_of_earlier_versions_are_known() -> None:
    lines = ["vllm:gpu_prefix_cache_queries_total 10.0", 'vllm:gpu_prefix_cache_hits{engine="0"} 5.0 1700000000']
    assert parse_metrics(lines) == {"prefix_cache_queries": 10, "prefix_cache_hits": 5}


def test_a_server_without_metrics_is_told() -> None:
    with pytest.raises(
        ModelServerError, match=r"http://127\.0\.0\.1:1/metrics: want vLLM's metrics, found .*; is it vLLM\?"
    ):
        read_metrics("http://127.0.0.1:1/v1")
