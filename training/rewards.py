"""Rewards of a rollout: one for accuracy, one for getting there with few tool calls."""

import torch
from torch import Tensor

CORRECT, FORMAT = 0.9, 0.1
"""Shares of the accuracy reward."""


def accuracy_reward(is_correct: Tensor, has_format: Tensor) -> Tensor:
    """0.9 for a right answer, and 0.1 for the right format.

    Args:
        is_correct: bool or float [...].
        has_format: bool or float [...], broadcast against it.

    Returns:
        float [...], 0 to 1; float32 unless an input is float64.

    Source: arXiv 2604.08545; the released trainer's reward manager.
    """
    return CORRECT * _float(is_correct) + FORMAT * _float(has_format)


def tool_reward(is_correct: Tensor, cost: Tensor) -> Tensor:
    """1 / (T + 1) for a right answer reached at cost T, 0 for a wrong one.

    Args:
        is_correct: bool or float [...].
        cost: int or float [...], the number of tool calls, or their weighted cost; not negative.

    Returns:
        float [...], 0 to 1.

    Source: arXiv 2604.08545.
    """
    cost = _float(cost)
    return torch.where(is_correct.bool(), 1 / (cost + 1), torch.zeros_like(cost))


def call_cost(num_calls: Tensor, prices: Tensor) -> Tensor:
    """The weighted cost of a rollout's calls; with all prices 1 it is their number.

    Args:
        num_calls: int or float [..., K], calls of each of K tools.
        prices: float [K], of one call, in any one unit (money, seconds, tokens); not negative.

    Returns:
        float [...], in the unit of the prices.
    """
    return (_float(num_calls) * prices).sum(-1)


def _float(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()
