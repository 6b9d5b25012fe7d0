"""Searches inline in one generation: R1-Searcher, Search-R1, Tool-Star; the engine's documents stand behind them."""

from typing import Any

from pipeline.errors import FormatError
from pipeline.formats.base import Parsed, message, tool_call
from pipeline.formats.inline import Mark, enclosed, inline_messages

_CALLS = {"<|begin_of_query|>": "search", "<search>": "search", "<python>": "python"}
_TAGS = {
    "<|begin_of_query|>": "<|end_of_query|>",
    "<search>": "</search>",
    "<python>": "</python>",
    "<|begin_of_documents|>": "<|end_of_documents|>",
    "<information>": "</information>",
    "<result>": "</result>",
}
_ANSWER = {"<answer>": "</answer>"}
_TEXT_KEYS = ("gen_text_store", "generated_text", "response", "output", "completion", "generation", "prediction")
_QUESTION_KEYS = ("question", "query", "problem", "prompt", "input", "instruction")


class SearchTagsFormat:
    """One text per attempt: a query is a call to `search`, its documents the observation, `<answer>` the answer."""

    name = "search_tags"

    def detects(self, record: Any) -> bool:
        """Whether the record holds a generation with search tags (or R1-Searcher's key for one)."""
        return isinstance(record, dict) and _generation(record) is not None

    def parse(self, record: Any) -> Parsed:
        """The attempt; grader outputs and the source's own extraction of the answer go to the metadata."""
        key = _generation(record)
        question = next((record[k] for k in _QUESTION_KEYS if isinstance(record.get(k), str) and record[k]), None)
        if key is None or question is None:
            raise FormatError("search_tags: want a question beside the generation, found none; add `question`")
        text = record[key]
        attempt = inline_messages(text, [_mark(*found) for found in enclosed(text, _TAGS)])
        answers = [body.strip() for _, _, _, body in enclosed(text, _ANSWER)]
        truth = record.get("answer", record.get("golden_answers", record.get("ground_truth", record.get("gt"))))
        if isinstance(truth, list) and len(truth) == 1:
            truth = truth[0]
        used = {key, "answer", "golden_answers", "ground_truth", "gt"}
        verdict = record.get("gpt4o_output")
        return Parsed(
            messages=[message("user", question), *attempt],
            prompt=question,
            final_answer=answers[-1] or None if answers else None,
            ground_truth=truth if isinstance(truth, str) else None,
            success={"true": True, "false": False}.get(str(verdict).strip().lower()),
            metadata={k: v for k, v in record.items() if k not in used and v != question}
            | ({} if truth is None or isinstance(truth, str) else {"answers": truth}),
        )


def _mark(start: int, end: int, opening: str, body: str) -> Mark:
    """The call or observation of one tag."""
    tool = _CALLS.get(opening)
    if tool is None:
        return Mark(start, end, observation=body.strip())
    arguments = {"code": body.strip()} if tool == "python" else {"query": body.strip()}
    return Mark(start, end, call=tool_call(tool, arguments))


def _generation(record: dict[str, Any]) -> str | None:
    """The key of the generated text: R1-Searcher's own, or one whose text holds a call and its documents."""
    if isinstance(record.get("gen_text_store"), str):
        return "gen_text_store"
    for key in _TEXT_KEYS:
        value = record.get(key)
        if isinstance(value, str) and (
            ("<search>" in value and "</search>" in value)
            or "<|begin_of_query|>" in value
            or ("<python>" in value and "<result>" in value)
        ):
            return key
    return None


SEARCH_TAGS = SearchTagsFormat()
