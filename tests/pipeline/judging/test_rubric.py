"""Criteria are read from files, and whatever is wrong with one is said by file and key."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pipeline.errors import RubricError
from pipeline.judging.config import JudgeConfig
from pipeline.judging.criteria import Rubric
from pipeline.judging.rubric import load_rubric
from pipeline.reasons import Reason

ROOT = Path(__file__).parents[3]

POLITE = """
name = "polite"
version = 1
reason = "irrelevant"
question = "Is the agent polite to the user throughout?"
"""


def own(tmp_path: Path, text: str | bytes, name: str = "polite", rubric: str = "trajectories") -> JudgeConfig:
    """A configuration with one file of the user's."""
    folder = tmp_path / "rubrics" / rubric
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return JudgeConfig(rubrics=str(tmp_path / "rubrics"))


@pytest.mark.parametrize(
    ("rubric", "vision", "reasons"),
    [
        (
            "trajectories",
            False,
            {
                "coherent": Reason.INCOHERENT,
                "grounded": Reason.UNGROUNDED,
                "relevant": Reason.IRRELEVANT,
                "tool_rationale": Reason.TOOL_MISUSE,
            },
        ),
        (
            "trajectories",
            True,
            {
                "coherent": Reason.INCOHERENT,
                "grounded": Reason.UNGROUNDED,
                "relevant": Reason.IRRELEVANT,
                "tool_rationale": Reason.TOOL_MISUSE,
                "visual_relevance": Reason.IRRELEVANT,
            },
        ),
        (
            "prompts",
            False,
            {
                "answerable": Reason.UNANSWERABLE,
                "uncorrupted": Reason.CORRUPTED,
                "verifiable": Reason.UNVERIFIABLE,
                "well_posed": Reason.AMBIGUOUS,
            },
        ),
    ],
)
def test_the_shipped_criteria_come_in_order_of_name(rubric: Rubric, vision: bool, reasons: dict[str, Reason]) -> None:  # noqa: FBT001 - a table's column
    found = load_rubric(rubric, JudgeConfig(vision=vision))
    assert {each.name: each.reason for each in found} == reasons
    assert [each.name for each in found] == list(reasons)
    assert all(each.rubric == rubric for each in found)
    assert all(3 * len(each.question) < len(each.guidance) < 2000 for each in found), "the hard cases are told, shortly"


def test_only_the_calls_are_asked_about_one_by_one() -> None:
    found = {each.name: (each.grain, each.applies) for each in load_rubric("trajectories", JudgeConfig(vision=True))}
    assert found.pop("tool_rationale") == ("call", "calls_tools")
    assert found.pop("visual_relevance") == ("row", "has_images")
    assert set(found.values()) == {("row", "always")}


def test_a_file_adds_a_criterion_and_leaves_the_others(tmp_path: Path) -> None:
    found = load_rubric("trajectories", own(tmp_path, POLITE))
    assert [each.name for each in found] == ["coherent", "grounded", "polite", "relevant", "tool_rationale"]
    assert load_rubric("prompts", own(tmp_path, POLITE)) == load_rubric("prompts", JudgeConfig())


def test_a_file_of_a_shipped_name_replaces_ours_and_changes_its_version_alone(tmp_path: Path) -> None:
    ours = {each.name: each.rubric_version for each in load_rubric("trajectories", JudgeConfig())}
    config = own(tmp_path, POLITE.replace("polite", "relevant", 1), "relevant")
    theirs = {each.name: each.rubric_version for each in load_rubric("trajectories", config)}
    assert {name for name in ours if ours[name] != theirs[name]} == {"relevant"}


def test_a_skipped_criterion_is_not_asked(tmp_path: Path) -> None:
    config = own(tmp_path, POLITE).model_copy(update={"skip": ("grounded", "polite", "verifiable")})
    assert [each.name for each in load_rubric("trajectories", config)] == ["coherent", "relevant", "tool_rationale"]
    assert [each.name for each in load_rubric("prompts", config)] == ["answerable", "uncorrupted", "well_posed"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (POLITE + "tone = 3\n", "tone: want one of name, version, rubric, reason,"),
        (POLITE.replace("version = 1\n", ""), "version: want a value, found none"),
        (POLITE.replace("version = 1", "version = 0"), "version: want be greater than or equal to 1, found 0"),
        (POLITE.replace("version = 1", 'version = "new"'), "found 'new'"),
        (POLITE.replace("irrelevant", "rude"), "reason: want one of ungrounded, incoherent, tool_misuse, irrelevant,"),
        (POLITE.replace("irrelevant", "judge_failed"), "found 'judge_failed'"),
        (POLITE.replace("irrelevant", "ambiguous"), "found 'ambiguous'"),
        (POLITE.replace('"polite"', '"courteous"'), "name: want 'polite' as the file is called, found 'courteous'"),
        (POLITE + 'rubric = "prompts"\n', "rubric: want 'trajectories' as the folder is called, found 'prompts'"),
        (POLITE + 'grain = "turn"\n', "grain: want one of row, call, found 'turn'"),
        (POLITE + 'grain = "call"\n', "applies: want calls_tools with grain 'call', found 'always'"),
        (POLITE + 'applies = "often"\n', "applies: want one of always, calls_tools, has_observations, has_images"),
        (POLITE.replace('"Is the agent polite to the user throughout?"', '"Polite?"'), "question: want"),
        (POLITE.replace('"Is the agent', '"Is\\nthe agent'), "question: want one line, found several"),
        ("name = polite", "want TOML, found something else"),
        (b"name = '\xff'", "want TOML, found something else"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_by_file_and_key(tmp_path: Path, text: str | bytes, told: str) -> None:
    config = own(tmp_path, text)
    with pytest.raises(RubricError) as raised:
        load_rubric("trajectories", config)
    assert f"{tmp_path / 'rubrics' / 'trajectories' / 'polite.toml'}: " in str(raised.value)
    assert told in str(raised.value)


@pytest.mark.parametrize(
    ("line", "told"),
    [('grain = "call"\n', "grain: want 'row'"), ('applies = "calls_tools"\n', "applies: want always or")],
)
def test_a_prompt_is_not_asked_about_calls(tmp_path: Path, line: str, told: str) -> None:
    config = own(tmp_path, POLITE.replace("irrelevant", "ambiguous") + line, rubric="prompts")
    with pytest.raises(RubricError, match=told):
        load_rubric("prompts", config)


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    own(tmp_path, POLITE.replace("irrelevant", "rude") + "tone = 3\n")
    config = own(tmp_path, "no toml", "second").model_copy(update={"skip": ("gruonded",)})
    with pytest.raises(RubricError) as raised:
        load_rubric("trajectories", config)
    for told in ("found 'rude'", "tone: ", "second.toml: ", "judge.skip: want one of answerable, coherent,"):
        assert told in str(raised.value)


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ([], "found none at"),
        (["trajectories"], "found no criterion"),
        (["polite.toml"], "polite.toml: want criteria in trajectories/"),
        (["trajectory/polite.toml"], "polite.toml: want criteria in trajectories/"),
    ],
)
def test_a_folder_in_which_nothing_would_be_found_is_an_error(tmp_path: Path, made: list[str], told: str) -> None:
    folder = tmp_path / "rubrics"
    for name in made:
        path = folder / name
        (path.parent if path.suffix else path).mkdir(parents=True)
        if path.suffix:
            path.write_text(POLITE)
    with pytest.raises(RubricError, match=told):
        load_rubric("trajectories", JudgeConfig(rubrics=str(folder)))


def test_the_installed_package_has_the_rubrics(tmp_path: Path) -> None:
    copy, installed = tmp_path / "copy", tmp_path / "installed"
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        copy.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    shutil.copytree(ROOT / "pipeline", copy / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    build = "from setuptools.build_meta import build_wheel; print(build_wheel('.'))"
    built = subprocess.run([sys.executable, "-c", build], cwd=copy, capture_output=True, text=True, check=True)
    zipfile.ZipFile(copy / built.stdout.split()[-1]).extractall(installed)
    load = (
        "from pipeline.judging.rubric import SHIPPED, load_rubric; from pipeline.judging.config import JudgeConfig;"
        "print(SHIPPED, *(c.name for r in ('trajectories', 'prompts') for c in load_rubric(r, JudgeConfig())))"
    )
    found = subprocess.run(
        [sys.executable, "-c", load], cwd=installed, env={"PYTHONPATH": str(installed)}, capture_output=True, check=True
    )
    shipped, *names = found.stdout.decode().split()
    assert Path(shipped).is_relative_to(installed)
    assert len(names) == 8
