"""Learning the world: AdamW over lessons drawn as they are needed."""

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy
from transformers import Qwen3ForCausalLM

from training.world.lessons import Author, Habits, Lesson
from training.world.tasks import Kind, draw_tasks

IGNORED = -100


@dataclass(frozen=True, slots=True)
class Course:
    """How long and how fast one author's lessons are learned."""

    habits: Habits
    num_steps: int
    learning_rate: float
    batch_size: int = 64
    warmup_steps: int = 50
    weight_decay: float = 0.01
    shares: dict[Kind, float] | None = None
    """Of the tasks the lessons are about; None: the world's own."""


def learn(
    model: Qwen3ForCausalLM, author: Author, course: Course, seed: int, say: Callable[[str], None], *, pad_id: int
) -> None:
    """Train the model in place; the learning rate falls along a cosine to a tenth."""
    rng = random.Random(seed)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=course.learning_rate, betas=(0.9, 0.98), weight_decay=course.weight_decay
    )
    model.train()
    begun, total = time.monotonic(), 0.0
    for step in range(course.num_steps):
        for group in optimizer.param_groups:
            group["lr"] = course.learning_rate * _warmth(step, course)
        tasks = draw_tasks(course.batch_size, rng.getrandbits(48), split="train", **_shares(course))
        lessons = sorted(
            (author.write(task, course.habits, rng) for task in tasks), key=lambda each: len(each.token_ids)
        )
        num_trained = sum(sum(lesson.is_trained) for lesson in lessons)
        half = len(lessons) // 2
        # Short and long ones apart: little padding, one step all the same.
        loss = sum(_backward(model, part, num_trained, pad_id) for part in (lessons[:half], lessons[half:]) if part)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        total += loss
        if (step + 1) % 100 == 0:
            say(f"step {step + 1} of {course.num_steps}: loss {total / 100:.3f}, {time.monotonic() - begun:.0f} s")
            total = 0.0
    model.eval()


def _backward(model: Qwen3ForCausalLM, lessons: list[Lesson], num_trained: int, pad_id: int) -> float:
    """Add the gradient of these lessons' share of the mean loss over trained tokens; that share."""
    longest = max(len(lesson.token_ids) for lesson in lessons)
    ids = torch.full((len(lessons), longest), pad_id)
    labels = torch.full((len(lessons), longest), IGNORED)
    for row, lesson in enumerate(lessons):
        told = torch.tensor(lesson.token_ids)
        ids[row, : len(told)] = told
        labels[row, : len(told)] = torch.where(torch.tensor(lesson.is_trained) == 1, told, IGNORED)
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    wanted = labels[:, 1:]
    # Only where a token trains: the head is a tenth of the work.
    logits = model.lm_head(hidden[wanted != IGNORED])
    loss = cross_entropy(logits, wanted[wanted != IGNORED], reduction="sum") / num_trained
    loss.backward()
    return float(loss.detach())


def _warmth(step: int, course: Course) -> float:
    if step < course.warmup_steps:
        return (step + 1) / course.warmup_steps
    done = (step - course.warmup_steps) / max(course.num_steps - course.warmup_steps, 1)
    return 0.1 + 0.45 * (1 + math.cos(math.pi * done))


def _shares(course: Course) -> dict[str, dict[Kind, float]]:
    return {} if course.shares is None else {"shares": course.shares}
