"""The measured program: datatrove doing what it can of the same job, on one core.

Run by `benchmarks.curation` as `python -m benchmarks.curate_with_datatrove OUT RECORDS fastest|documented`. Both read
the same text of a record (task and attempt), drop the empty and the overlong, remove exact and then near duplicates,
mask e-mail and IP addresses, and write what is left with its messages and tools as JSON Lines.

`fastest` spares datatrove whatever it can be spared: words are split at white space, which is the least a word
tokenizer can do, and of the text normalisation only case and punctuation are folded, as toolwise does. Its buckets and
hashes are toolwise's bands and rows. `documented` is what datatrove's own minhash example runs: spaCy's English
tokenizer, the whole normalisation, 14 buckets of 8 hashes; it needs the package spacy.

datatrove 0.10.1 hands its xxhash a text, which xxhash 4 refuses, so the benchmark encodes it first.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import xxhash
from datatrove.data import Document
from datatrove.executor.local import LocalPipelineExecutor
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.dedup.exact_dedup import (
    ExactDedupConfig,
    ExactDedupFilter,
    ExactDedupSignature,
    ExactFindDedups,
)
from datatrove.pipeline.dedup.minhash import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.filters import LambdaFilter
from datatrove.pipeline.formatters import PIIFormatter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils.hashing import HashConfig
from datatrove.utils.text import TextNormConfig
from datatrove.utils.word_tokenizers import WordTokenizer
from loguru import logger

from benchmarks.processes import Stages
from pipeline.config import DuplicateGate, LengthGate
from pipeline.dedup.signatures import band_shape

_CHARS_PER_TOKEN = 4
_ALL_AT_ONCE = -1
_HASH = HashConfig(precision=64, hash_fc="xxhash")


class SplitAtSpaces(WordTokenizer):
    """The cheapest words there are; datatrove has turned punctuation into spaces before."""

    def word_tokenize(self, text: str) -> list[str]:
        """The words."""
        return text.split()

    def sent_tokenize(self, text: str) -> list[str]:
        """The text as one sentence; minhash asks for none."""
        return [text]

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        """The span of that sentence."""
        return [(0, len(text))]


def task_and_attempt(_reader: JsonlReader, record: dict[str, Any], _path: str, _place: int | str) -> dict[str, Any]:
    """The document of an OpenAI-chat record: the text toolwise compares, the rest as metadata."""
    parts: list[str] = []
    for message in record["messages"]:
        if message["role"] == "system":
            continue
        if message.get("content"):
            parts.append(message["content"])
        for call in message.get("tool_calls") or ():
            parts.append(f"{call['function']['name']} {call['function']['arguments']}")
    held = {"messages": record["messages"], "tools": record.get("tools")}
    return {"text": "\n".join(parts), "id": record["id"], "metadata": held}


def folded(document: Document) -> bytes:
    """What exact duplicates share: the text but for case and white space."""
    return " ".join(document.text.lower().split()).encode()


def is_spoken(document: Document) -> bool:
    """Whether the assistant ever said or called anything."""
    return any(
        item["role"] == "assistant" and (item.get("content") or item.get("tool_calls"))
        for item in document.metadata["messages"]
    )


def is_short(document: Document) -> bool:
    """Whether the text is within toolwise's limit."""
    return len(document.text) <= LengthGate().max_tokens * _CHARS_PER_TOKEN


def only_id(_writer: JsonlWriter, document: Document) -> dict[str, Any]:
    """What is kept of a removed document."""
    return {"id": document.id}


def hash_of(text: str) -> int:
    """Datatrove's hash of a shingle, encoded for xxhash 4."""
    return xxhash.xxh64_intdigest(text.encode())


def steps(out: Path, records: Path, variant: str) -> Iterator[tuple[str, list[PipelineStep | Callable[..., Any]], int]]:
    """The pipelines in order, as datatrove's examples arrange them: name, steps and number of tasks."""
    gate = DuplicateGate()
    exact = ExactDedupConfig(content_getter=folded, hash_config=_HASH)
    if variant == "fastest":
        buckets, hashes = band_shape(gate.threshold, gate.num_permutations)
        norm = TextNormConfig(norm_numbers=False, norm_unicode_diacritics=False)
        near = MinhashConfig(gate.shingle_words, buckets, hashes, norm_config=norm, hash_config=_HASH)
        tokenizer: WordTokenizer | str = SplitAtSpaces()
    else:
        near = MinhashConfig(gate.shingle_words, hash_config=_HASH)
        tokenizer = "eng"

    def read() -> list[PipelineStep]:
        reader = JsonlReader(str(records), adapter=task_and_attempt, add_file_path=False)
        return [reader, LambdaFilter(is_spoken), LambdaFilter(is_short)]

    def folder(name: str) -> str:
        return str(out / name)

    def removed(name: str) -> JsonlWriter:
        return JsonlWriter(folder(name), compression=None, adapter=only_id)

    yield "exact signatures", [*read(), ExactDedupSignature(folder("exact_signatures"), exact)], 1
    find = ExactFindDedups(folder("exact_signatures"), folder("exact_found"), exact, lines_to_buffer=_ALL_AT_ONCE)
    yield "exact matches", [find], 1
    signature = MinhashDedupSignature(folder("signatures"), near, language=tokenizer)  # pyright: ignore[reportArgumentType] - takes a tokenizer too
    signature._hash_func = hash_of
    yield "near signatures", [*read(), ExactDedupFilter(folder("exact_found"), exact), signature], 1
    match = MinhashDedupBuckets(folder("signatures"), folder("matches"), config=near, lines_to_buffer=_ALL_AT_ONCE)
    yield "near matches", [match], near.num_buckets
    cluster = MinhashDedupCluster(folder("matches"), folder("clusters"), config=near, lines_to_buffer=_ALL_AT_ONCE)
    yield "near clusters", [cluster], 1
    last = [
        *read(),
        ExactDedupFilter(folder("exact_found"), exact, exclusion_writer=removed("exact_removed")),
        MinhashDedupFilter(folder("clusters"), exclusion_writer=removed("near_removed")),
        PIIFormatter(),
        JsonlWriter(folder("kept"), compression=None),
    ]
    yield "filter and write", last, 1


def main() -> None:
    """Curate the records under sys.argv[2] into sys.argv[1], in the variant sys.argv[3]."""
    stages = Stages()
    logger.remove()
    logger.disable("datatrove")
    out, records, variant = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    for name, pipeline, tasks in steps(out, records, variant):
        with stages.stage(name):
            logs = str(out / "logs" / name.replace(" ", "_"))
            LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, logging_dir=logs).run()
    stages.write_report(out)


if __name__ == "__main__":
    main()
