"""The trivial answers, against a dense solution and by hand."""

import numpy as np
import pytest
import torch
from torch import Tensor

from maskwise.pretrain.diagnostics.fill import masked_error, smooth_fill


def dense_fill(image: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Solve "each hidden pixel is the mean of its neighbours" as one dense system."""
    h, w = image.shape
    unknown = {tuple(p): i for i, p in enumerate(np.argwhere(hidden))}
    matrix, right = np.zeros((len(unknown), len(unknown))), np.zeros(len(unknown))
    for (y, x), i in unknown.items():
        for ny, nx in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if not (0 <= ny < h and 0 <= nx < w):
                continue
            matrix[i, i] += 1
            if (ny, nx) in unknown:
                matrix[i, unknown[ny, nx]] -= 1
            else:
                right[i] += image[ny, nx]
    answer = image.copy()
    answer[hidden] = np.linalg.solve(matrix, right)
    return answer


def a_hole(*corner: tuple[int, int]) -> Tensor:
    hidden = torch.zeros(len(corner), 1, 24, 24, dtype=torch.bool)
    for i, (y, x) in enumerate(corner):
        hidden[i, 0, y : y + 10, x : x + 8] = True
    return hidden


def test_smooth_filling_solves_laplaces_equation_also_at_the_border() -> None:
    images = torch.randn(3, 2, 24, 24, generator=torch.Generator().manual_seed(0))
    hidden = a_hole((5, 6), (0, 0), (14, 16))
    filled = smooth_fill(images, hidden)
    for image, hole, answer in zip(images, hidden, filled, strict=True):
        for channel in range(2):
            slow = dense_fill(image[channel].double().numpy(), hole[0].numpy())
            np.testing.assert_allclose(answer[channel].numpy(), slow, atol=1e-4)


def test_a_slope_is_continued_and_what_is_visible_is_left_alone() -> None:
    ramp = torch.arange(24.0).expand(1, 1, 24, 24)
    torch.testing.assert_close(smooth_fill(ramp, a_hole((5, 6))), ramp, atol=1e-4, rtol=0)


def test_hidden_pixels_do_not_help_to_fill_the_hole() -> None:
    images = torch.randn(1, 1, 24, 24, generator=torch.Generator().manual_seed(0))
    hidden = a_hole((5, 6))
    changed = torch.where(hidden, 99.0, images)
    assert smooth_fill(images, hidden)[hidden].equal(smooth_fill(changed, hidden)[hidden])


def test_an_image_that_is_hidden_whole_is_filled_with_the_mean() -> None:
    whole = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    assert smooth_fill(torch.randn(1, 1, 8, 8), whole).abs().max() == 0


def test_the_error_is_the_mean_over_images_of_the_mean_over_hidden_pixels() -> None:
    images, answer = torch.zeros(2, 1, 24, 24), torch.ones(2, 1, 24, 24)
    hidden = a_hole((0, 0), (0, 0))
    answer[1] *= 3
    hidden[1, :, 2:] = False  # fewer pixels, the same weight
    assert masked_error(answer, images, hidden) == pytest.approx((1 + 9) / 2)
    nothing = hidden.clone()
    nothing[1] = False
    assert masked_error(answer, images, nothing) == pytest.approx(1.0)
