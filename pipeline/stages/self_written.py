"""The gate on assistants that wrote a tool's reply themselves, in whatever protocol they speak."""

from collections.abc import Iterable, Mapping

import polars as pl

from pipeline.frames import mark
from pipeline.reasons import Reason

SNIPPET_CHARS = 200
_BAR = "\uff5c"
"""The full-width bar of DeepSeek's role tokens."""
_SNIPPET = rf"(?s:.{{0,{SNIPPET_CHARS - 40}}})"

_OBSERVATION = r"Observation[ \t]*\d*[ \t]*:"
_RESULT_LINE = (
    r"\**(?:Observation|(?i:tool|function)[ \t](?i:result|output|response)s?|Result)[ \t]*\d*[ \t]*(?:\*\*)?:"
)
_RESULT_TAG = (
    r"<tool_response>|<tool_result>|<function_results?>|<function_response>|<information>|<obs>|<returncode>"
    r"|\[TOOL_RESULTS\]|<\|begin_of_documents\|>|<\|execution\|>|<\|observation\|>|✿RESULT✿"
    rf"|<{_BAR}tool▁outputs▁begin{_BAR}>"
    r"|<\|im_start\|>[ \t]*(?:tool|function|observation|ipython)\b|<\|start_header_id\|>[ \t]*(?:ipython|tool)\b"
    r"|```(?:tool_)?outputs?\b"
)

AFTER_OWN_CALL: dict[str, str] = {
    "codeact": rf"</execute>\s*(?:\d+\.\s*)?({_OBSERVATION}{_SNIPPET})",
    "react": (
        r"(?m)^[ \t]*Action[ \t]*\d*[ \t]*:[ \t]*\w[\w .-]*\[(?s:.*?)\][ \t.]*\s*"
        rf"(?:(?:Thought|[ \t]+)[^\n]*\s*)?({_OBSERVATION}{_SNIPPET})"
    ),
    "react_action_input": (rf"(?m)^[ \t]*Action[ _]Input[ \t]*\d*[ \t]*:(?s:.*?)^[ \t]*({_OBSERVATION}{_SNIPPET})"),
    "hermes": rf"(?s)</tool_call>.*?(<tool_response>{_SNIPPET}|<tool_result>{_SNIPPET})",
    "chatml": (
        r"(?s)(?:</tool_call>|</function>|<\|im_end\|>).*?"
        rf"(<\|im_start\|>[ \t]*(?:tool|function|observation|ipython)\b{_SNIPPET})"
    ),
    "fenced_output": (
        r"(?m)^[ \t]*```(?:python|py|tool_code|bash|sh|mswea_bash_command)[ \t]*\n(?s:.*?)^[ \t]*```[ \t]*\s*"
        rf"(^[ \t]*(?:```(?:tool_)?outputs?\b|<returncode>|<output>){_SNIPPET})"
    ),
    "search_tags": rf"</search>\s*((?:<information>|<result>|<documents?>|<observation>){_SNIPPET})",
    "query_tags": rf"<\|end_of_query\|>\s*(<\|begin_of_documents\|>{_SNIPPET})",
    "python_tags": rf"</python>\s*((?:<result>|<output>|<observation>){_SNIPPET})",
    "blocks": rf"(?s)<\|code\|>.*?(<\|execution\|>{_SNIPPET})",
    "llama": (
        r"(?s)(?:<\|python_tag\|>|<\|eom_id\|>|</function>).*?"
        rf"(<\|start_header_id\|>[ \t]*(?:ipython|tool)\b{_SNIPPET})"
    ),
    "mistral": rf"(?s)\[TOOL_CALLS\].*?(\[TOOL_RESULTS\]{_SNIPPET})",
    "qwen": rf"(?s)✿FUNCTION✿.*?(✿RESULT✿{_SNIPPET})",
    "deepseek": rf"(?s)<{_BAR}tool▁calls▁end{_BAR}>.*?(<{_BAR}tool▁outputs▁begin{_BAR}>{_SNIPPET})",
    "glm": rf"(?s)(?:<\|assistant\|>|</tool_call>).*?(<\|observation\|>{_SNIPPET})",
    "harmony": rf"(?s)<\|call\|>.*?(<\|start\|>[ \t]*(?:functions\.|python|browser|tool){_SNIPPET})",
    "xml_function_calls": rf"(?s)</(?:antml:)?(?:function_calls|invoke)>.*?(<function_results?>{_SNIPPET})",
    "toolrl": rf"(?s)</tool_call>.*?(<obs>{_SNIPPET})",
}
"""Protocol to the regular expression of a result behind a call in one assistant content; group 1 is the result."""

BESIDE_OWN_CALL: dict[str, str] = {
    "native_tag": rf"((?:{_RESULT_TAG}){_SNIPPET})",
    "native_line": rf"(?s)\A\s*\S.*?\n[ \t]*({_RESULT_LINE}{_SNIPPET})",
}
"""The same beside a native tool call: the call stands behind the content, so any result in it was made up.

Not where the content holds the call's own markup: there the expressions above know what stands behind it.
"""

LOOSER: dict[str, str] = {
    "codellama_step": rf"</execute>\s*<step>[^<]*?({_OBSERVATION}{_SNIPPET})",
    "codeact_output": rf"</execute>\s*((?:Output|Result)s?:{_SNIPPET})",
}
"""Forms that are made up as well, but lie outside the labelled list the gate is measured on; off unless asked for."""

_OPENING_LINE = rf"(?s)\A\s*({_RESULT_LINE}{_SNIPPET})"
"""A content that opens with a result: made up too, unless a tool spoke before and is being quoted."""

_STRAY = rf"(?m)(^[ \t]*{_OBSERVATION}{_SNIPPET}|(?:{_RESULT_TAG}|<result>){_SNIPPET})"
"""A result in formats whose real ones became tool messages: what is left in a content, the model wrote."""
_INLINE_FORMATS = ("tir", "search_tags", "blocks", "react_text", "react_alpaca")

_CALL_ENDS = ["</execute>", "</tool_call>", "</search>", "</python>", "<|end_of_query|>", "```mswea_bash_command"]
_HINTS = [
    "Observation", "<tool_response>", "<tool_result>", "<function_result", "<function_response>", "<information>",
    "<result>", "<document", "<observation>", "<obs>", "<returncode>", "<output>", "[TOOL_RESULTS]",
    "<|begin_of_documents|>", "<|execution|>", "<|observation|>", f"<{_BAR}tool▁outputs▁begin{_BAR}>", "✿RESULT✿",
    "<|im_start|>", "<|start_header_id|>", "<|start|>", "```output", "```tool_output", "Result", "result:", "results:",
    "utput:", "utputs:", "esponse:", "esponses:",
]  # fmt: skip
"""Every expression above contains one of these, so a content without any is not searched."""


def mark_self_written(trajectories: pl.LazyFrame, *, also: Mapping[str, str] | None = None) -> pl.LazyFrame:
    """Mark trajectories in which the assistant wrote the tool's reply itself, in place of the environment.

    A result counts only behind a call in the same message (or beside a native one): talk about observations, quotes
    and restated results do not. There is no unknown: a message without content passes. `also` adds expressions to
    `AFTER_OWN_CALL`, such as those of `LOOSER`.

    Grain: one row per trajectory, kept, in order.
    Reads: messages, format, reason, evidence.
    Writes: reason, evidence {message_index, pattern, offset (characters), snippet} of the first such message.
    """
    behind = AFTER_OWN_CALL | dict(also or {})
    # three passes, each element-wise: `list.eval` runs them once over all messages, but shares no subexpressions
    found = trajectories.with_columns(
        _hits=pl.col("messages").list.eval(_searched()).list.eval(_results(behind)).list.eval(_finding(behind)),
        _first_tool=_first(pl.col("messages").list.eval(pl.element().struct.field("role") == "tool")),
    )
    pattern = pl.element().struct.field("pattern")
    hits = pl.col("_hits").list
    found = found.with_columns(
        _behind=_first(hits.eval(~pattern.is_in(["native_opening", "stray"]))),
        _opening=_first(hits.eval(pattern == "native_opening")),
        _stray=_first(hits.eval(pattern == "stray")),
    )
    opens = (pl.col("_opening") < pl.col("_first_tool")).fill_null(value=True)
    index = pl.min_horizontal(
        "_behind",
        pl.when(opens).then("_opening"),
        pl.when(pl.col("format").is_in(_INLINE_FORMATS)).then("_stray"),
    )
    found = found.with_columns(_index=index)
    hit = pl.col("_hits").list.get(pl.col("_index"), null_on_oob=True).struct
    evidence = pl.struct(
        message_index=pl.col("_index"),
        pattern=hit.field("pattern"),
        offset=hit.field("offset"),
        snippet=hit.field("snippet"),
    )
    failed = pl.col("_index").is_not_null()
    marked = mark(found, failed, Reason.SELF_WRITTEN_OBSERVATION, evidence=evidence)
    return marked.drop("_hits", "_first_tool", "_behind", "_opening", "_stray", "_index")


def _first(flags: pl.Expr) -> pl.Expr:
    """The position of a list's first true value, null where it has none."""
    return pl.when(flags.list.any()).then(flags.list.arg_max())


def _searched() -> pl.Expr:
    """For an element of `messages`: the contents worth searching, of assistants and of those with native calls."""
    item = pl.element().struct
    is_assistant = item.field("role") == "assistant"
    content = pl.when(is_assistant & item.field("content").str.contains_any(_HINTS)).then(item.field("content"))
    return pl.struct(content=content, has_call=item.field("tool_calls").list.len() > 0)


def _results(behind: Mapping[str, str]) -> pl.Expr:
    """For a searched content: what each expression found in it."""
    content = pl.element().struct.field("content")
    native = pl.element().struct.field("has_call") & ~content.str.contains_any(_CALL_ENDS)
    beside = pl.when(native).then(content)
    found = [content.str.extract(pattern).alias(name) for name, pattern in behind.items()]
    found += [beside.str.extract(pattern).alias(name) for name, pattern in BESIDE_OWN_CALL.items()]
    opening = beside.str.extract(_OPENING_LINE).alias("native_opening")
    return pl.struct(content, *found, opening, content.str.extract(_STRAY).alias("stray"))


def _finding(names: Iterable[str]) -> pl.Expr:
    """For the results of one content: the first expression that fired, its kind, the result's place and first words."""
    item = pl.element().struct
    fired = [(name, item.field(name)) for name in (*names, *BESIDE_OWN_CALL, "native_opening", "stray")]
    snippet = pl.coalesce(*(result for _, result in fired))
    name = pl.coalesce(*(pl.when(result.is_not_null()).then(pl.lit(name)) for name, result in fired))
    content = item.field("content")
    before = content.cast(pl.Binary).bin.slice(0, content.str.find(snippet, literal=True))
    return pl.struct(pattern=name, offset=before.cast(pl.String).str.len_chars(), snippet=snippet)
