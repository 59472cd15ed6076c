"""Attention by landmarks and by few combinations: what it must be equal to, and may not mix."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from maskwise.pretrain.objectives.linear_attention import (
    Layout,
    LinformerAttention,
    NystromAttention,
    blocks_of,
    pseudo_inverse,
)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=Generator().manual_seed(seed))


def made(**options: Any) -> NystromAttention:
    values: dict[str, Any] = {"width": 16, "heads": 2, "grid": (4, 6), "in_front": 1}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return NystromAttention(**{**values, **options})


def softmax_attention(attention: NystromAttention, tokens: Tensor) -> Tensor:
    b, n, width = tokens.shape
    q, k, v = attention.qkv(tokens).reshape(b, n, 3, attention.heads, -1).unbind(2)
    scores = torch.einsum("bihd,bjhd->bhij", q, k) / (width / attention.heads) ** 0.5
    answer = torch.einsum("bhij,bjhd->bihd", scores.softmax(3), v).reshape(b, n, width)
    result: Tensor = attention.proj(answer)
    return result


@pytest.mark.parametrize("layout", ["grid", "raster"])
def test_as_many_landmarks_as_tokens_are_softmax_attention(layout: Layout) -> None:
    attention = made(
        in_front=0, landmarks=24, iterations=20, residual=False, layout=layout
    ).double()
    tokens = drawn(3, 24, 16).double()
    assert (attention(tokens) - softmax_attention(attention, tokens)).abs().max() < 1e-4


@pytest.mark.parametrize("wild", [1.0, 100.0])
def test_an_image_s_answer_does_not_depend_on_its_neighbours(wild: float) -> None:
    attention, tokens = made(landmarks=6), drawn(3, 25, 16)
    tokens[1:] *= wild
    assert (attention(tokens)[:1] - attention(tokens[:1])).abs().max() < 1e-5


def test_in_the_release_it_does() -> None:
    attention, tokens = made(landmarks=5, layout="raster", iterations=2), drawn(3, 25, 16)
    before = attention(tokens)[0]
    tokens[1] *= 8
    assert (attention(tokens)[0] - before).abs().max() > 1e-5


def slowly(attention: NystromAttention, tokens: Tensor) -> Tensor:
    """Compute one image's answer head by head and place by place, in NumPy."""
    n, width = tokens.shape
    heads, m = attention.heads, attention.landmarks
    e = width // heads
    joined = attention.qkv(tokens).detach().numpy().reshape(n, 3, heads, e)
    filters = attention.get_parameter("convolution.weight").detach().numpy()
    answers, parts = np.zeros((n, heads, e)), []
    for head in range(heads):
        q, k, v = (joined[:, part, head] for part in range(3))
        q = q / e**0.5
        if attention.layout == "grid":
            groups = blocks_by_hand(attention)
        else:
            # Zeros in front until the length is a multiple; they are in no mean.
            run, ahead = -(-n // m), -n % m
            ends = [(max(0, i * run - ahead), (i + 1) * run - ahead) for i in range(m)]
            groups = [list(range(*each)) for each in ends]
        alive = [i for i, group in enumerate(groups) if group]
        few_q, few_k = (
            np.array([each[group].mean(0) if group else np.zeros(e) for group in groups])
            for each in (q, k)
        )
        first = masked_softmax(q @ few_k.T, alive)
        middle = np.full((m, m), 1 / m)  # a row of a landmark of nothing is even
        middle[alive] = masked_softmax(few_q[alive] @ few_k.T, alive)
        last = np.full((m, n), 1 / (n + (-n % m if attention.layout == "raster" else 0)))
        last[alive] = masked_softmax(few_q[alive] @ k.T, list(range(n)))
        parts.append((first, middle, last @ v, convolved(attention, v, filters[head, 0])))
    norms = [(middle.sum(0).max(), middle.sum(1).max()) for _, middle, _, _ in parts]
    largest = max(one for one, _ in norms) * max(other for _, other in norms)
    for head, (first, middle, values, neighbours) in enumerate(parts):
        own = norms[head][0] * norms[head][1]
        inverse = middle.T / (largest if attention.layout == "raster" else own)
        one = np.eye(m)
        for _ in range(attention.iterations):
            near = middle @ inverse
            inner = 7 * one - near
            inverse = inverse @ (13 * one - near @ (15 * one - near @ inner)) / 4
        answers[:, head] = first @ inverse @ values + neighbours
    result: Tensor = attention.proj(torch.from_numpy(answers.reshape(n, width)))
    return result


def blocks_by_hand(attention: NystromAttention) -> list[list[int]]:
    (rows, columns), (h, w) = attention.blocks, attention.grid
    return [
        [
            attention.in_front + y * w + x
            for y in range(i * h // rows, -(-(i + 1) * h // rows))
            for x in range(j * w // columns, -(-(j + 1) * w // columns))
        ]
        for i in range(rows)
        for j in range(columns)
    ]


def masked_softmax(scores: np.ndarray, seen: list[int]) -> np.ndarray:
    weights = np.zeros_like(scores)
    weights[:, seen] = np.exp(scores[:, seen])
    answer: np.ndarray = weights / weights.sum(1, keepdims=True)
    return answer


def convolved(attention: NystromAttention, v: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """Add neighbours up: 33 along the sequence, or 3 x 3 on the grid, nothing in front."""
    answer = np.zeros_like(v)
    front, (h, w) = attention.in_front, attention.grid
    for place in range(len(v)):
        if attention.layout == "raster":
            for tap in range(33):
                if 0 <= place + tap - 16 < len(v):
                    answer[place] += taps[tap, 0] * v[place + tap - 16]
            continue
        if place < front:
            continue
        y, x = divmod(place - front, w)
        for dy in range(3):
            for dx in range(3):
                if 0 <= y + dy - 1 < h and 0 <= x + dx - 1 < w:
                    answer[place] += taps[dy, dx] * v[front + (y + dy - 1) * w + x + dx - 1]
    return answer


@pytest.mark.parametrize("places", [5, 7, 8, 24])
@pytest.mark.parametrize("layout", ["grid", "raster"])
def test_it_is_what_a_loop_over_heads_places_and_landmarks_computes(
    places: int, layout: Layout
) -> None:
    grid = (4, 6) if places == 24 else (1, places)
    attention = made(grid=grid, landmarks=8 if layout == "raster" else 4, layout=layout)
    if layout == "grid":
        attention.landmarks = attention.blocks[0] * attention.blocks[1]
    attention, tokens = attention.double(), drawn(1, places + 1, 16).double()
    expected = slowly(attention, tokens[0])
    assert (attention(tokens)[0] - expected).abs().max() < 1e-8


@pytest.mark.parametrize("layout", ["grid", "raster"])
def test_images_in_another_order_are_answered_in_that_order(layout: Layout) -> None:
    attention, tokens = made(landmarks=6, layout=layout), drawn(4, 25, 16)
    order = torch.tensor([2, 0, 3, 1])
    assert torch.allclose(attention(tokens[order]), attention(tokens)[order], atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_finite(dtype: torch.dtype) -> None:
    attention, tokens = made(landmarks=6), drawn(2, 25, 16)
    with torch.autocast("cpu", dtype=dtype):
        assert attention(tokens).isfinite().all()


@pytest.mark.parametrize("layout", ["grid", "raster"])
def test_its_gradient_is_that_of_differences(layout: Layout) -> None:
    attention = made(
        width=4, grid=(3, 4), in_front=0, landmarks=4, layout=layout, iterations=3
    ).double()
    tokens = drawn(1, 12, 4).double().requires_grad_()
    assert torch.autograd.gradcheck(attention, tokens)


def test_landmarks_are_means_of_blocks_of_the_image_not_of_rows() -> None:
    attention = made(grid=(4, 4), landmarks=4)
    places = torch.arange(16.0).reshape(1, 1, 16, 1).expand(1, 2, 16, 8)
    front = torch.full((1, 2, 1, 8), 99.0)
    tokens = torch.cat([front, places], 2)
    few, _, _ = attention._landmarks(tokens, tokens, torch.ones(17, dtype=torch.bool))
    assert few[0, 0, :, 0].tolist() == [2.5, 4.5, 10.5, 12.5]


@pytest.mark.parametrize(
    ("grid", "landmarks", "blocks"),
    [
        ((16, 16), 64, (8, 8)),
        ((28, 28), 64, (7, 7)),
        ((8, 32), 64, (4, 16)),
        ((5, 7), 64, (5, 7)),
        ((5, 7), 6, (2, 3)),
        ((34, 34), 64, (8, 8)),
    ],
)
def test_a_grid_is_cut_into_as_many_square_blocks_as_allowed(
    grid: tuple[int, int], landmarks: int, blocks: tuple[int, int]
) -> None:
    assert blocks_of(grid, landmarks) == blocks


def test_the_pseudo_inverse_comes_nearer_with_each_turn() -> None:
    matrices = drawn(3, 64, 64).softmax(2).double()
    errors = []
    for turns in (2, 6, 12):
        inverse = pseudo_inverse(matrices, turns)
        off = matrices @ inverse @ matrices - matrices
        errors.append(float(off.norm() / matrices.norm()))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-3


def test_the_release_s_layout_is_the_package_that_it_uses() -> None:
    package = pytest.importorskip("nystrom_attention", reason="nystrom-attention is not here")
    theirs = package.NystromAttention(16, dim_head=8, heads=2, num_landmarks=8)
    ours = made(grid=(4, 6), landmarks=8, layout="raster")
    ours.load_state_dict(
        {
            "qkv.weight": theirs.to_qkv.weight,
            "proj.weight": theirs.to_out[0].weight,
            "proj.bias": theirs.to_out[0].bias,
            "convolution.weight": theirs.res_conv.weight,
        }
    )
    tokens = drawn(2, 25, 16)
    mask = torch.ones(2, 25, dtype=torch.bool)
    assert ours(tokens).equal(theirs(tokens, mask=mask))


def test_linformer_attends_to_few_combinations_of_one_head_of_keys() -> None:
    torch.manual_seed(0)
    attention, tokens = LinformerAttention(16, 4, 9, 3), drawn(2, 9, 16)
    keys = torch.stack([attention.combine.T @ attention.keys(each) for each in tokens])
    queries = attention.queries(tokens).reshape(2, 9, 4, 4)
    scores = torch.einsum("bihd,bkd->bhik", queries, keys) / 2
    answer = torch.einsum("bhik,bkd->bihd", scores.softmax(3), keys).reshape(2, 9, 16)
    assert torch.allclose(attention(tokens), attention.proj(answer), atol=1e-6)
