"""Which packages come along, and what the version of an environment depends on."""

import os
import sys
from importlib.metadata import distributions, version
from pathlib import Path

import pytest

from pipeline.replay.config import PythonSandbox
from pipeline.replay.sandbox.limits import NUM_PROCESSES, process_limit
from pipeline.replay.sandbox.packages import closure, environment_version, files_of, installation


def make_distribution(site: Path, name: str, files: dict[str, str], *, requires: tuple[str, ...] = ()) -> None:
    """A distribution as pip leaves one."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    needs = "".join(f"Requires-Dist: {line}\n" for line in requires)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{needs}")
    for path, text in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(text)
    listed = [*files, f"{info.name}/METADATA", "../../../bin/tool"]
    (info / "RECORD").write_text("".join(f"{path},,\n" for path in listed))


def test_requirements_come_along_and_nothing_else(tmp_path: Path) -> None:
    make_distribution(
        tmp_path, "Top_Level", {"top/__init__.py": ""}, requires=("middle>=1", "not-there", "soft; extra == 'x'")
    )
    make_distribution(tmp_path, "middle", {"middle.py": ""}, requires=("old; python_version < '3'", "deep.est"))
    make_distribution(tmp_path, "deep-est", {"deep.py": ""}, requires=("top-level", "*** no requirement"))
    make_distribution(tmp_path, "soft", {"soft.py": ""})
    make_distribution(tmp_path, "old", {"old.py": ""})
    taken, absent = closure(("top.level", "Nowhere"), [str(tmp_path)], python_version="3.11.7")
    assert [distribution.metadata["Name"] for distribution in taken] == ["deep-est", "middle", "Top_Level"]
    assert absent == ("Nowhere",)


def test_a_marker_is_read_for_the_interpreter_that_runs(tmp_path: Path) -> None:
    make_distribution(tmp_path, "top", {}, requires=("new; python_version >= '3.11'",))
    make_distribution(tmp_path, "new", {})
    assert len(closure(("top",), [str(tmp_path)], python_version="3.10.2")[0]) == 1
    assert len(closure(("top",), [str(tmp_path)], python_version="3.11.0")[0]) == 2


def test_shared_folders_path_files_and_programs_are_not_taken(tmp_path: Path) -> None:
    files = {
        "whole/__init__.py": "", "whole/part.py": "", "shared/mine/__init__.py": "", "shared/mine/a.py": "",
        "shared/alone.py": "", "single.py": "", "evil.pth": "import os",
    }  # fmt: skip
    make_distribution(tmp_path, "mine", files)
    make_distribution(tmp_path, "theirs", {"shared/theirs/__init__.py": ""})
    mine = next(each for each in distributions(path=[str(tmp_path)]) if each.metadata["Name"] == "mine")
    assert dict(files_of(mine)) == {
        name: tmp_path / name for name in ("whole", "shared/mine", "shared/alone.py", "single.py", "mine-1.0.dist-info")
    }


def test_our_own_packages_are_found_by_their_versions() -> None:
    found = installation(PythonSandbox(packages=("pandas", "no-such-distribution")))
    assert found.absent == ("no-such-distribution",)
    python = ".".join(str(part) for part in sys.version_info[:3])
    assert found.version.startswith(f"cpython {python}, numpy {version('numpy')}, pandas {version('pandas')}, ")
    targets = {target for _, target in found.binds}
    assert {"/opt/site/numpy", "/opt/site/pandas", "/opt/site/dateutil"} <= targets
    assert not any("polars" in target or "toolwise" in target for target in targets)


def test_a_version_follows_what_results_depend_on_and_nothing_else() -> None:
    base = PythonSandbox()
    changed = [PythonSandbox(packages=("numpy",)), PythonSandbox(memory_bytes=2**20), PythonSandbox(timeout_s=1)]
    same = [PythonSandbox(), PythonSandbox(tools=("x",), recycle_after=1), PythonSandbox(interpreter=sys.executable)]
    assert {environment_version(config) for config in same} == {environment_version(base)}
    assert len({environment_version(config) for config in (base, *changed)}) == 4


@pytest.mark.parametrize("release", ["6.18.44-fc-v657", "5.14.0-427.el9.x86_64"])
def test_a_sandbox_has_its_processes_counted_by_itself(release: str) -> None:
    assert process_limit(release, os.getuid()) == NUM_PROCESSES


@pytest.mark.parametrize("release", ["5.13.19", "4.18.0-553.el8"])
def test_where_the_kernel_counts_all_of_a_users_processes_those_come_on_top(release: str) -> None:
    assert process_limit(release, os.getuid()) > NUM_PROCESSES
