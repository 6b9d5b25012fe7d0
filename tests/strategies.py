"""Hypothesis strategies for trajectories, as clean and as broken as real ones."""

from typing import Any

from hypothesis import strategies as st

from pipeline.formats.base import message
from pipeline.reasons import Reason
from tests.factories import make_trajectory

TEXTS = st.sampled_from(
    [
        None,
        "",
        " \n",
        "How far is the moon?",
        "It is 384400 km away.",
        "```python\nprint(1)",
        "<tool_call>{",
        "<think>so</think> <answer>4</answer>",
        "Thanks, bye!",
        "Mail jane.doe@acme.io or call (212) 555-1234.",
        "key AKIAIOSFODNN7ABCDEFG",
        "Observation: 4",
        "\ud7ff\U0001f600 é",
    ]
)
"""Contents that one gate or another has something to say about, and some that none has."""

CALL_IDS = st.sampled_from([None, "", "c0", "c1", "c2"])
TOOL_NAMES = st.sampled_from([None, "", "search", "finish", "unheard_of"])
ARGUMENTS = st.sampled_from(
    [None, "", "{}", '{"query":"moon"}', '{ "query": "moon" }', '{"query": 3}', "[1]", '{"query": "mo', "not json"]
)
TOOLS = st.sampled_from(
    [
        None,
        "[]",
        "not json",
        '[{"type":"function","function":{"name":"search","parameters":{"type":"object","properties":{"query":{"type":"string"}},"required":["query"]}}},{"name":"finish"}]',
        '[{"name":"search","input_schema":{"type":"nonsense"}}]',
    ]
)


def tool_calls() -> st.SearchStrategy[list[dict[str, Any]] | None]:
    """Null, no, or up to two calls."""
    call = st.fixed_dictionaries({"id": CALL_IDS, "name": TOOL_NAMES, "arguments": ARGUMENTS})
    return st.none() | st.lists(call, max_size=2)


def messages() -> st.SearchStrategy[Any]:
    """One message of any role, any of its fields null."""
    return st.builds(
        message,
        st.sampled_from(["system", "user", "assistant", "tool"]),
        TEXTS,
        reasoning=TEXTS,
        tool_calls=tool_calls(),
        tool_call_id=CALL_IDS,
        name=TOOL_NAMES,
    )


def trajectories() -> st.SearchStrategy[dict[str, Any]]:
    """One row of the trajectories table: null, no or some messages, and a reason already on some rows."""
    return st.builds(
        lambda held, **columns: make_trajectory(held or [], **columns) | ({"messages": None} if held is None else {}),
        st.none() | st.lists(messages(), max_size=6),
        tools=TOOLS,
        num_tokens=st.none() | st.sampled_from([0, 32_768, 32_769]),
        success=st.none() | st.booleans(),
        reward=st.none() | st.sampled_from([0.0, 0.5, 1.0]),
        final_answer=TEXTS,
        ground_truth=TEXTS,
        metadata=st.sampled_from(
            [None, "{}", "not json", '{"finish_reason":"length"}', '{"info":{"exit_status":"submitted"}}']
        ),
        reason=st.none() | st.sampled_from([Reason.UNPARSABLE.value, Reason.NOT_A_TRACE.value]),
    )
