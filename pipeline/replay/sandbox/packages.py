"""Which files of a Python installation sandboxed code needs, and no others.

The interpreter, its standard library and the files of the configured distributions with whatever they require: those
are bound into the sandbox, read-only. The rest of site-packages, this repository among it, is not there.
"""

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import InvalidRequirement, Requirement

from pipeline.errors import SandboxUnavailableError
from pipeline.replay.config import PythonSandbox

PYTHON = "/opt/py"
SITE = "/opt/site"
_PROBE = """
import json, platform, sys, sysconfig
paths = sysconfig.get_paths()
print(json.dumps({
    "executable": getattr(sys, "_base_executable", None) or sys.executable,
    "prefix": sys.base_prefix,
    "platlibdir": getattr(sys, "platlibdir", "lib"),
    "stdlib": paths["stdlib"],
    "library": sysconfig.get_config_var("INSTSONAME") or "",
    "library_dir": sysconfig.get_config_var("LIBDIR") or "",
    "site": [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))],
    "version": platform.python_version(),
    "short": "%d.%d" % sys.version_info[:2],
    "implementation": platform.python_implementation(),
}))
"""


@dataclass(frozen=True, slots=True)
class Installation:
    """A Python and those of its packages that the sandbox shows."""

    executable: str
    """Path of the interpreter in the sandbox."""
    binds: tuple[tuple[str, str], ...]
    """Files and folders: where they are here, and in the sandbox."""
    masks: tuple[str, ...]
    """Folders inside the bound ones that are hidden: packages nobody asked for."""
    version: str
    """Of Python and every distribution taken, such as `python 3.11.7, numpy 2.3.5`."""
    absent: tuple[str, ...]
    """Configured distributions that are not installed."""


def installation(config: PythonSandbox) -> Installation:
    """What is bound for this configuration.

    Raises SandboxUnavailableError if the configured interpreter cannot be run.
    """
    return _installation(config.interpreter or sys.executable, config.packages)


@lru_cache(maxsize=8)
def _installation(interpreter: str, packages: tuple[str, ...]) -> Installation:
    found = _ask(interpreter)
    taken, absent = closure(packages, found["site"], python_version=found["version"])
    stdlib, executable = Path(found["stdlib"]).resolve(), Path(found["executable"]).resolve()
    standard = f"{PYTHON}/{found['platlibdir']}/python{found['short']}"
    program = f"{PYTHON}/bin/python{found['short']}"
    library = Path(found["library_dir"], found["library"])
    binds = [(str(executable), program), (str(stdlib), standard)]
    if Path(found["prefix"], "conda-meta").is_dir():
        # conda's packages link against libraries of its own, beside the standard library
        binds[1:] = [(str(stdlib.parent), str(Path(standard).parent))]
    elif found["library"].startswith("libpython") and ".so" in library.name and library.is_file():
        binds.append((str(library.resolve()), f"{PYTHON}/lib/{library.name}"))
    for distribution in taken:
        binds += [(str(source), f"{SITE}/{name}") for name, source in files_of(distribution)]
    versions = sorted(f"{_name(distribution)} {distribution.version}" for distribution in taken)
    return Installation(
        executable=program,
        binds=tuple(dict.fromkeys(binds)),
        masks=tuple(
            f"{standard}/{folder}" for folder in ("site-packages", "dist-packages") if (stdlib / folder).is_dir()
        ),
        version=", ".join([f"{found['implementation']} {found['version']}".lower(), *versions]),
        absent=absent,
    )


def _ask(interpreter: str) -> dict:
    try:
        asked = subprocess.run(
            [interpreter, "-I", "-c", _PROBE], capture_output=True, text=True, timeout=60, check=True, cwd="/", env={}
        )
        return json.loads(asked.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        wrong = getattr(error, "stderr", None) or error
        raise SandboxUnavailableError(
            f"interpreter {interpreter} does not run: {wrong}; name one that does, or leave `interpreter` out"
        ) from error


def closure(
    packages: tuple[str, ...], site: list[str], *, python_version: str
) -> tuple[list[Distribution], tuple[str, ...]]:
    """The named distributions with all they require, by name; and the names that are not installed."""
    installed: dict[str, Distribution] = {}
    for distribution in distributions(path=site):
        installed.setdefault(_name(distribution), distribution)
    environment = {**default_environment(), "python_full_version": python_version, "extra": ""}
    environment["python_version"] = ".".join(python_version.split(".")[:2])
    taken: dict[str, Distribution] = {}
    waiting = [_normalised(name) for name in packages]
    while waiting:
        name = waiting.pop()
        if name in taken or name not in installed:
            continue
        taken[name] = installed[name]
        waiting += _required(installed[name], environment)
    absent = tuple(name for name in packages if _normalised(name) not in taken)
    return [taken[name] for name in sorted(taken)], absent


def _required(distribution: Distribution, environment: dict) -> Iterator[str]:
    for line in distribution.requires or ():
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue  # an old package's metadata; what it needs can be named in the configuration
        if requirement.marker is None or requirement.marker.evaluate(environment):
            yield _normalised(requirement.name)


def files_of(distribution: Distribution) -> Iterator[tuple[str, Path]]:
    """The distribution's files in site-packages as few entries: top-level modules, packages and metadata.

    A folder without `__init__.py` may be shared with distributions that were not asked for, so it is not taken whole.
    """
    root = Path(str(distribution.locate_file("")))
    entries: dict[str, Path] = {}
    for file in distribution.files or ():
        if ".." in file.parts or file.is_absolute() or file.name.endswith(".pth"):
            continue
        for depth in range(1, len(file.parts) + 1):
            name = "/".join(file.parts[:depth])
            if name in entries:
                break
            here = root / name
            own = here.suffix in (".dist-info", ".egg-info", ".libs") or (here / "__init__.py").is_file()
            if own or depth == len(file.parts):
                if here.exists():
                    entries[name] = here
                break
    yield from entries.items()


def _name(distribution: Distribution) -> str:
    return _normalised(distribution.metadata["Name"] or "")


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@lru_cache(maxsize=1)
def code_version() -> str:
    """A hash of the code that runs inside the sandbox and of the code that isolates it."""
    hashed = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        hashed.update(file.name.encode() + b"\0" + file.read_bytes())
    return hashed.hexdigest()[:16]


def environment_version(config: PythonSandbox) -> str:
    """What results depend on: Python, the packages, our own code, and the configuration's limits."""
    settings = config.model_dump_json(exclude={"tools", "sources", "recycle_after", "interpreter"})
    return f"{installation(config).version}; {code_version()}; {hashlib.sha256(settings.encode()).hexdigest()[:16]}"
