"""Which token comes next: one drawn from each row of logits, with what the row's own stream of numbers says."""

import numpy as np
import torch

GREEDY_BELOW = 1e-5
"""Temperatures under this take the likeliest token, as vLLM does."""
_STEP, _FIRST, _SECOND = (np.uint64(each) for each in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def uniforms(seeds: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """float64 [B], 0 to below 1: number `indices[b]` of the stream that begins at `seeds[b]`, both uint64 [B].

    A row's numbers are its own: they do not depend on who else is in the batch.
    Source: SplitMix64, doi:10.1145/2660193.2660195, which is a function of seed and position.
    """
    mixed = seeds + (indices + np.uint64(1)) * _STEP
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _FIRST
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _SECOND
    mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(12)) * 2.0**-52


def draw(
    logits: torch.Tensor, uniform: torch.Tensor, temperatures: list[float], top_ps: list[float]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token int64 [B] and its log-probability at temperature 1, float32 [B], nats.

    Args:
        logits: floating [B, V].
        uniform: float64 [B], 0 to below 1.
        temperatures: B of them; under GREEDY_BELOW the likeliest token is taken, of equals the first.
        top_ps: B of them; the smallest set of likeliest tokens that holds this share is drawn from.
    """
    logprobs = logits.float().log_softmax(-1)
    heats = torch.tensor(temperatures, device=logits.device)
    is_greedy = heats < GREEDY_BELOW
    if all(each < GREEDY_BELOW for each in temperatures):
        tokens = logprobs.argmax(-1)
    else:
        is_plain = all(each == 1 for each in temperatures)
        scaled = logprobs if is_plain else (logprobs / heats.clamp_min(GREEDY_BELOW)[:, None]).log_softmax(-1)
        shares = scaled.exp()
        nucleus = [row for row, each in enumerate(top_ps) if each < 1]
        if nucleus:
            limits = torch.tensor([top_ps[row] for row in nucleus], device=logits.device)
            shares[nucleus] = _nucleus(shares[nucleus], limits)
        mass = shares.double().cumsum(-1)
        tokens = torch.searchsorted(mass, uniform[:, None] * mass[:, -1:], right=True)[:, 0]
        tokens = tokens.clamp_max(logits.shape[1] - 1)  # where logits are not numbers, neither is their sum
        if not is_plain:
            tokens = torch.where(is_greedy, logprobs.argmax(-1), tokens)
    return tokens, logprobs.gather(1, tokens[:, None])[:, 0]


def _nucleus(shares: torch.Tensor, top_ps: torch.Tensor) -> torch.Tensor:
    """`shares` [B, V], 0 for every token before which likelier ones already hold the share `top_ps` [B]."""
    ranked, order = torch.sort(shares, dim=-1, descending=True, stable=True)
    before = ranked.cumsum(-1) - ranked
    return shares.scatter(-1, order, ranked.where(before < top_ps[:, None], 0))
