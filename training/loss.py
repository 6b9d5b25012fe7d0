"""The two-channel loss of HDPO: two clipped surrogates over one forward pass, which meet in a weighted sum."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Denominator = Literal["all", "signal"]
"""Tokens that the efficiency channel is averaged over: every trained one, or those of rollouts with a non-zero
efficiency advantage, as the released trainer does."""


@dataclass(frozen=True, slots=True)
class LossConfig:
    """Weights and clip range."""

    accuracy_weight: float = 1.0
    tool_weight: float = 0.15
    clip_low: float = 0.2
    clip_high: float = 0.2
    tool_loss_denominator: Denominator = "all"


@dataclass(frozen=True, slots=True)
class Denominators:
    """What each channel is divided by: counts over the whole optimizer batch, never a micro-batch's."""

    accuracy: float
    tool: float


@dataclass(frozen=True, slots=True)
class HdpoLoss:
    """The loss and its parts, each a scalar tensor."""

    total: Tensor
    accuracy: Tensor
    tool: Tensor
    accuracy_clip_fraction: Tensor
    """Share of trained tokens whose gradient the clip stopped, over this micro-batch."""
    tool_clip_fraction: Tensor


def denominators(mask: Tensor, tool_advantages: Tensor, config: LossConfig) -> Denominators:
    """The token counts of an optimizer batch.

    Args:
        mask: bool or uint8 [B, T], 1 where a token trains.
        tool_advantages: float [B].
        config: says what the efficiency channel counts.
    """
    per_row = mask.sum(-1)
    num_all = float(per_row.sum())
    num_signal = float(per_row[tool_advantages != 0].sum())
    return Denominators(
        max(num_all, 1.0), max(num_signal if config.tool_loss_denominator == "signal" else num_all, 1.0)
    )


def hdpo_loss(
    logprobs: Tensor,
    old_logprobs: Tensor,
    mask: Tensor,
    accuracy_advantages: Tensor,
    tool_advantages: Tensor,
    config: LossConfig,
    over: Denominators,
    token_weights: Tensor | None = None,
) -> HdpoLoss:
    """The loss of a micro-batch; those of an optimizer batch add up to the batch's.

    Args:
        logprobs: float [B, T], nats, of the sampled tokens under the policy that is trained.
        old_logprobs: float [B, T], nats, under the policy as it was when the batch was collected.
        mask: bool or uint8 [B, T], 1 where a token trains: never prompt, observation or padding.
        accuracy_advantages: float [B].
        tool_advantages: float [B].
        config: weights and clip range.
        over: token counts of the whole optimizer batch.
        token_weights: float [B, T] or None, importance weights where sampler and trainer disagree.

    Source: arXiv 2604.08545; clip as arXiv 1707.06347 section 3.
    """
    is_trained = mask.bool()
    # Behind the mask anything may stand, also infinities: it must not reach the gradient.
    change = torch.where(is_trained, logprobs - old_logprobs, 0)
    ratio = change.exp()
    clipped = ratio.clamp(1 - config.clip_low, 1 + config.clip_high)
    weights = is_trained.to(ratio.dtype)
    if token_weights is not None:
        weights = weights * token_weights
    accuracy, accuracy_clips = _surrogate(ratio, clipped, accuracy_advantages, weights, is_trained, over.accuracy)
    tool, tool_clips = _surrogate(ratio, clipped, tool_advantages, weights, is_trained, over.tool)
    total = config.accuracy_weight * accuracy + config.tool_weight * tool
    return HdpoLoss(total, accuracy, tool, accuracy_clips, tool_clips)


def _surrogate(
    ratio: Tensor, clipped: Tensor, advantages: Tensor, weights: Tensor, is_trained: Tensor, over: float
) -> tuple[Tensor, Tensor]:
    """A clipped surrogate loss, and the share of trained tokens that it clips."""
    advantage = advantages.unsqueeze(-1)
    free, bound = ratio * advantage, clipped * advantage
    loss = -(torch.minimum(free, bound) * weights).sum() / over
    is_clipped = (bound < free) & is_trained
    return loss, (is_clipped.sum() / is_trained.sum().clamp(min=1)).detach()
