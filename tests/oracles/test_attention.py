"""Cross-frame attention, shared and joint: who sees whom. Oracle 15 of deflicker.md, and more."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor

from models.attention import FrameAttention, GroupAttention, Layout

ROWS, TOKENS, WIDTH = 5, 12, 16


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def attention() -> Attention:
    torch.manual_seed(0)
    return Attention(query_dim=WIDTH, heads=4, dim_head=4).eval().requires_grad_(False)


def layout(attend: list[list[int]]) -> Layout:
    return Layout(tuple(range(len(attend))), torch.tensor(attend), slice(0, len(attend)))


def run(attention: Attention, processor: object, x: Tensor, **kwargs: object) -> Tensor:
    attention.set_processor(processor)
    out: Tensor = attention(x, **kwargs)
    return out


NEIGHBOURS = [[0, 0, 0, 1], [0, 0, 1, 2], [0, 1, 2, 3], [0, 2, 3, 4], [0, 3, 4, 4]]


@pytest.mark.parametrize("groups", [1, 2])
def test_oracle_15_one_part_is_self_attention(attention: Attention, groups: int) -> None:
    x = randn(groups * ROWS, TOKENS, WIDTH)
    plain = run(attention, AttnProcessor2_0(), x)
    for attend in ([[r] for r in range(ROWS)], [[r, r] for r in range(ROWS)]):
        shared = run(attention, FrameAttention(), x, layout=layout(attend))
        torch.testing.assert_close(shared, plain, rtol=0, atol=1e-5)
    torch.testing.assert_close(run(attention, GroupAttention(1), x), plain, rtol=0, atol=1e-5)


def test_oracle_15_identical_frames_equal_self_attention(attention: Attention) -> None:
    x = randn(1, TOKENS, WIDTH).expand(ROWS, -1, -1)
    plain = run(attention, AttnProcessor2_0(), x)
    shared = run(attention, FrameAttention(), x, layout=layout(NEIGHBOURS))
    torch.testing.assert_close(shared, plain, rtol=0, atol=1e-5)
    torch.testing.assert_close(run(attention, GroupAttention(ROWS), x), plain, rtol=0, atol=1e-5)


def test_oracle_15_order_of_neighbours_changes_nothing(attention: Attention) -> None:
    x = randn(ROWS, TOKENS, WIDTH)
    whole = layout(NEIGHBOURS)
    shuffled = replace(whole, attend=whole.attend[:, [2, 0, 3, 1]])
    one, two = (run(attention, FrameAttention(), x, layout=way) for way in (whole, shuffled))
    torch.testing.assert_close(one, two, rtol=0, atol=1e-5)
    order = [0, 3, 1, 4, 2]
    joint = run(attention, GroupAttention(ROWS), x)
    torch.testing.assert_close(run(attention, GroupAttention(ROWS), x[order]), joint[order], rtol=0, atol=1e-5)


def test_neighbours_do_change_the_result(attention: Attention) -> None:
    x = randn(ROWS, TOKENS, WIDTH)
    plain = run(attention, AttnProcessor2_0(), x)
    assert (run(attention, FrameAttention(), x, layout=layout(NEIGHBOURS)) - plain).abs().max() > 1e-2


def test_a_row_sees_exactly_the_rows_it_attends_to(attention: Attention) -> None:
    """Perturb one row: those that attend to it change, the others keep their bits."""
    x = randn(2 * ROWS, TOKENS, WIDTH)
    before = run(attention, FrameAttention(), x, layout=layout(NEIGHBOURS))
    for row in range(ROWS):
        moved = x.clone()
        moved[row] += 1.0
        after = run(attention, FrameAttention(), moved, layout=layout(NEIGHBOURS))
        changed = {r for r in range(2 * ROWS) if not torch.equal(before[r], after[r])}
        assert changed == {r for r in range(ROWS) if row in NEIGHBOURS[r] or r == row}


def test_shared_equals_joint_for_one_layer_where_all_see_all(attention: Attention) -> None:
    """The published group mode and ours differ only across layers: in one layer, own query, same keys."""
    x = randn(ROWS, TOKENS, WIDTH)
    everyone = layout([list(range(ROWS))] * ROWS)
    shared = run(attention, FrameAttention(), x, layout=everyone)
    torch.testing.assert_close(shared, run(attention, GroupAttention(ROWS), x), rtol=0, atol=1e-5)


def test_attention_to_text_is_plain(attention: Attention) -> None:
    x, text = randn(ROWS, TOKENS, WIDTH), randn(ROWS, 7, WIDTH, seed=1)
    plain = run(attention, AttnProcessor2_0(), x, encoder_hidden_states=text)
    for processor in (FrameAttention(), GroupAttention(ROWS)):
        ours = run(attention, processor, x, encoder_hidden_states=text, layout=layout(NEIGHBOURS))
        torch.testing.assert_close(ours, plain, rtol=0, atol=1e-6)


def test_pictures_with_group_norm_and_residual_match_diffusers() -> None:
    """`AttnDownBlock2D` and the like attend on [B, C, h, w]."""
    torch.manual_seed(0)
    attention = Attention(
        WIDTH, heads=4, dim_head=4, norm_num_groups=4, residual_connection=True, rescale_output_factor=2.0
    )
    x = randn(ROWS, WIDTH, 3, 4)
    plain = run(attention, AttnProcessor2_0(), x)
    torch.testing.assert_close(run(attention, FrameAttention(), x), plain, rtol=0, atol=1e-6)
    torch.testing.assert_close(run(attention, GroupAttention(1), x), plain, rtol=0, atol=1e-6)


def test_a_batch_of_half_a_group_is_refused(attention: Attention) -> None:
    with pytest.raises(ValueError, match="whole number of groups of 5"):
        run(attention, FrameAttention(), randn(7, TOKENS, WIDTH), layout=layout(NEIGHBOURS))
