"""Rewards, advantages and loss of HDPO: the worked example, gradients off the policy, and the laws."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from training.advantages import accuracy_advantage, has_signal, tool_advantage
from training.loss import LossConfig, denominators, hdpo_loss
from training.rewards import accuracy_reward, call_cost, tool_reward

GROUP = st.lists(st.tuples(st.booleans(), st.integers(0, 6), st.booleans()), min_size=2, max_size=16)


def advantages(group: list[tuple[bool, int, bool]], dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Both channels of one group of (correct, calls, format)."""
    correct = torch.tensor([[each[0] for each in group]])
    calls = torch.tensor([[each[1] for each in group]], dtype=dtype)
    formatted = torch.tensor([[each[2] for each in group]], dtype=dtype)
    return (
        accuracy_advantage(accuracy_reward(correct.to(dtype), formatted))[0],
        tool_advantage(tool_reward(correct, calls), correct)[0],
    )


def test_the_worked_group() -> None:
    accuracy, tool = advantages([(True, 0, True), (True, 2, True), (False, 0, True), (True, 2, True)])
    assert accuracy.tolist() == pytest.approx([0.5, 0.5, -1.5, 0.5], abs=1e-5)
    assert tool.tolist() == pytest.approx([1.1547, -0.5774, 0, -0.5774], abs=1e-4)


@pytest.mark.parametrize(
    "group",
    [
        [(True, 1, True)] * 7,
        [(False, number, True) for number in range(7)],
        [(True, 3, True)] + [(False, 0, True)] * 6,
        [(True, 3, False)] * 3,
    ],
)
def test_a_group_without_differences_in_a_channel_is_exactly_zero_there(group: list[tuple[bool, int, bool]]) -> None:
    _, tool = advantages(group)
    assert tool.tolist() == [0.0] * len(group)


def test_ties_that_float32_cannot_average_are_exactly_zero() -> None:
    rewards = torch.full((1, 7), 1 / 3)
    assert (rewards - rewards.mean()).abs().max() > 0 or rewards.mean() == rewards[0, 0]
    assert accuracy_advantage(rewards).tolist() == [[0.0] * 7]
    assert not has_signal(accuracy_advantage(rewards)).any()


@given(GROUP, st.randoms(use_true_random=False))
def test_the_order_of_a_group_does_not_matter(group: list[tuple[bool, int, bool]], random: object) -> None:
    order = list(range(len(group)))
    random.shuffle(order)  # type: ignore[attr-defined]
    for plain, shuffled in zip(advantages(group), advantages([group[place] for place in order]), strict=True):
        assert shuffled.tolist() == pytest.approx(plain[order].tolist(), abs=1e-4)


@given(GROUP)
def test_a_wrong_rollout_never_has_an_efficiency_advantage_and_fewer_calls_never_a_smaller_one(
    group: list[tuple[bool, int, bool]],
) -> None:
    _, tool = advantages(group)
    for (correct, calls, _), held in zip(group, tool.tolist(), strict=True):
        if not correct:
            assert held == 0
        for (other_correct, other_calls, _), other in zip(group, tool.tolist(), strict=True):
            if correct and other_correct and calls < other_calls:
                assert held > other


@given(GROUP)
def test_float64_agrees(group: list[tuple[bool, int, bool]]) -> None:
    for single, double in zip(advantages(group), advantages(group, torch.float64), strict=True):
        assert double.dtype == torch.float64
        assert single.tolist() == pytest.approx(double.tolist(), abs=1e-3)


@given(GROUP)
def test_a_channel_sums_to_zero(group: list[tuple[bool, int, bool]]) -> None:
    for channel in advantages(group, torch.float64):
        assert float(channel.sum()) == pytest.approx(0, abs=1e-9)


def test_prices_of_one_count_the_calls() -> None:
    calls = torch.tensor([[2, 0, 1], [0, 0, 0]])
    assert call_cost(calls, torch.ones(3)).tolist() == [3, 0]
    assert call_cost(calls, torch.tensor([0.5, 9.0, 2.0])).tolist() == [3, 0]


class Batch:
    """Log-probabilities off the policy, with padding that holds rubbish."""

    def __init__(self, seed: int = 0, rows: int = 6, tokens: int = 9) -> None:
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        self.old = -draw(rows, tokens).abs() - 0.1
        self.new = self.old + 0.4 * draw(rows, tokens)
        self.mask = torch.rand(rows, tokens, generator=generator) < 0.7
        self.mask[:, 0] = True
        self.accuracy, self.tool = draw(rows), draw(rows)
        self.tool[::3] = 0

    def loss(self, config: LossConfig, rows: slice = slice(None), new: Tensor | None = None) -> Tensor:
        """The loss of some rows, divided as the whole batch's is."""
        over = denominators(self.mask, self.tool, config)
        new = self.new if new is None else new
        accuracy, tool = self.accuracy[rows], self.tool[rows]
        return hdpo_loss(new[rows], self.old[rows], self.mask[rows], accuracy, tool, config, over).total


@pytest.mark.parametrize("denominator", ["all", "signal"])
def test_gradients_off_the_policy_are_those_of_finite_differences(denominator: str) -> None:
    batch = Batch()
    config = LossConfig(tool_loss_denominator=denominator)  # type: ignore[arg-type]
    new = batch.new.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda each: batch.loss(config, new=each), (new,), eps=1e-7, atol=1e-6)


def test_by_hand_off_the_policy_the_channels_clip_apart() -> None:
    # One token, ratio 1.5, clip at 1.2: accuracy +1 is clipped, efficiency -1 is not.
    new, old = torch.tensor([[1.5]]).log(), torch.zeros(1, 1)
    config = LossConfig(tool_weight=0.5)
    mask, up, down = torch.ones(1, 1), torch.tensor([1.0]), torch.tensor([-1.0])
    told = hdpo_loss(new, old, mask, up, down, config, denominators(mask, down, config))
    assert (float(told.accuracy), float(told.tool)) == pytest.approx((-1.2, 1.5))
    assert float(told.total) == pytest.approx(-1.2 + 0.5 * 1.5)
    assert (float(told.accuracy_clip_fraction), float(told.tool_clip_fraction)) == (1, 0)


def test_on_the_policy_two_channels_are_one_with_the_advantages_added_and_off_it_they_are_not() -> None:
    config = LossConfig(tool_weight=0.3)
    batch = Batch(seed=3)
    joined = Batch(seed=3)
    joined.accuracy, joined.tool = batch.accuracy + 0.3 * batch.tool, torch.zeros_like(batch.tool)

    def gradient(each: Batch, at: Tensor) -> Tensor:
        new = at.clone().requires_grad_()
        return torch.autograd.grad(each.loss(config, new=new), new)[0]

    assert torch.allclose(gradient(batch, batch.old), gradient(joined, batch.old), atol=1e-12)
    assert not torch.allclose(gradient(batch, batch.new), gradient(joined, batch.new), atol=1e-4)


@pytest.mark.parametrize("denominator", ["all", "signal"])
@settings(max_examples=20, deadline=None)
@given(cut=st.integers(1, 5), seed=st.integers(0, 99))
def test_micro_batches_add_up_to_the_batch(denominator: str, cut: int, seed: int) -> None:
    batch, config = Batch(seed), LossConfig(tool_loss_denominator=denominator)  # type: ignore[arg-type]
    parts = batch.loss(config, slice(0, cut)) + batch.loss(config, slice(cut, None))
    assert float(parts) == pytest.approx(float(batch.loss(config)), abs=1e-12)


def test_what_stands_behind_the_mask_reaches_neither_loss_nor_gradient() -> None:
    batch, config = Batch(), LossConfig()
    rubbish = torch.where(batch.mask, batch.new, torch.full_like(batch.new, torch.inf))
    new = rubbish.clone().requires_grad_()
    loss = batch.loss(config, new=new)
    assert float(loss.detach()) == float(batch.loss(config))
    [gradient] = torch.autograd.grad(loss, new)
    assert gradient.isfinite().all()
    assert (gradient[~batch.mask] == 0).all()


def test_the_signal_denominator_counts_only_rows_with_an_efficiency_advantage() -> None:
    mask = torch.ones(4, 5)
    tool = torch.tensor([0.0, 1.0, -1.0, 0.0])
    over = denominators(mask, tool, LossConfig(tool_loss_denominator="signal"))
    assert (over.accuracy, over.tool) == (20, 10)
    assert denominators(mask, tool, LossConfig()).tool == 20
    assert denominators(mask, torch.zeros(4), LossConfig(tool_loss_denominator="signal")).tool == 1
