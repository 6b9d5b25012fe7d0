"""Questions for tests of whoever asks them."""

from pipeline.judging.config import JudgeConfig
from pipeline.judging.questions import Question
from tests.fake_completions import Messages, probability_by_hash

HASTY = JudgeConfig(timeout_s=3.0, backoff_s=0.01)
"""Waits that a test can wait for, and that a busy machine keeps."""


def make_question(number: int = 0, *, criterion: str = "grounded", version: str = "1-a", subject: str = "") -> Question:
    """A question whose rubric comes first and whose trace is told by its number."""
    messages: Messages = [
        {"role": "system", "content": f"{criterion} {version}: answer with yes or no."},
        {"role": "user", "content": f"trace {number}"},
    ]
    return Question(subject or f"t{number}", criterion, version, messages)


def make_questions(count: int, *, version: str = "1-a") -> list[Question]:
    """So many, of three criteria in turn; `version` is that of `grounded`."""
    criteria = ("grounded", "coherent", "relevant")
    versions = (version, "1-b", "1-c")
    return [make_question(n, criterion=criteria[n % 3], version=versions[n % 3]) for n in range(count)]


def healthy_scores(questions: list[Question]) -> list[float]:
    """What the fake judge gives when nothing fails."""
    return [probability_by_hash(question.messages) for question in questions]
