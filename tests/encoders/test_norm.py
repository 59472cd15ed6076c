"""Batch norm in groups: as many devices, on one."""

import pytest
import torch
from torch import Tensor, nn

from maskwise.encoders.norm import BatchNorm, build_norm, learns_statistics, split_statistics
from maskwise.errors import UserError
from maskwise.ranks import Ranks, shared


def features(images: int = 6) -> Tensor:
    return torch.randn(images, 3, 4, 5, generator=torch.Generator().manual_seed(0))


def a_norm() -> BatchNorm:
    norm = BatchNorm(3)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, 2.0, 3.0]))
        norm.bias.copy_(torch.tensor([0.0, 1.0, -1.0]))
    return norm


def test_groups_are_as_many_separate_calls() -> None:
    norm, plain = a_norm(), a_norm()
    with split_statistics(norm, 3):
        together = norm(features())
    apart = torch.cat([plain(part) for part in features().chunk(3)])
    torch.testing.assert_close(together, apart)


def test_one_group_is_the_norm_as_it_was() -> None:
    norm, plain = a_norm(), a_norm()
    with split_statistics(norm, 1):
        assert norm(features()).equal(plain(features()))
    assert norm.running_var is not None
    assert plain.running_var is not None
    assert norm.running_var.equal(plain.running_var)


def test_running_statistics_move_once_towards_the_mean_over_groups() -> None:
    norm = a_norm()
    with split_statistics(norm, 3):
        norm(features())
    parts = [part.transpose(0, 1).flatten(1) for part in features().chunk(3)]
    mean = torch.stack([part.mean(1) for part in parts]).mean(0)
    variance = torch.stack([part.var(1) for part in parts]).mean(0)
    torch.testing.assert_close(norm.running_mean, 0.1 * mean)
    torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * variance)
    assert norm.num_batches_tracked == 1


def test_an_order_of_the_batch_changes_nothing_without_groups_and_something_with_them() -> None:
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    for groups, alike in ((1, True), (3, False)):
        norm = a_norm()
        with split_statistics(norm, groups):
            ordered = norm(features()[order])[order.argsort()]
            assert torch.allclose(ordered, norm(features()), atol=1e-6) is alike


def test_gradients_are_those_of_separate_calls() -> None:
    slopes = []
    for separate in (False, True):
        norm, given = a_norm(), features().requires_grad_()
        if separate:
            answer = torch.cat([norm(part) for part in given.chunk(2)])
        else:
            with split_statistics(norm, 2):
                answer = norm(given)
        answer.pow(3).sum().backward()
        slopes.append((given.grad, norm.weight.grad))
    for one, other in zip(*slopes, strict=True):
        torch.testing.assert_close(one, other)


def test_outside_the_block_and_in_eval_mode_there_are_no_groups() -> None:
    norm, plain = a_norm(), a_norm()
    with split_statistics(norm, 3):
        pass
    assert norm(features()).equal(plain(features()))
    norm, plain = a_norm().eval(), a_norm().eval()
    with split_statistics(norm, 4):  # which does not divide 6
        assert norm(features()).equal(plain(features()))


def test_groups_that_do_not_divide_the_batch_are_an_error() -> None:
    norm = a_norm()
    with (
        split_statistics(norm, 4),
        pytest.raises(ValueError, match="4 groups do not divide 6 images"),
    ):
        norm(features())


def test_groups_that_processes_cannot_share_are_an_error_that_names_the_options() -> None:
    norm = a_norm()
    with (
        shared(norm, Ranks(0, 3)),
        split_statistics(norm, 2),
        pytest.raises(
            UserError,
            match=r"^2 groups of batch norm cannot be shared out over 3 processes; .*"
            r"\(objective\.norm_groups, pretrain\.processes\.devices\)$",
        ),
    ):
        norm(features())


def test_only_a_batch_norm_in_train_mode_learns_statistics() -> None:
    assert learns_statistics(nn.Sequential(BatchNorm(3)))
    assert not learns_statistics(nn.Sequential(BatchNorm(3).eval()))
    assert not learns_statistics(nn.GroupNorm(1, 3))


def test_instance_norm_is_of_each_channel_of_each_image_and_needs_two_places() -> None:
    norm, images = build_norm("instance", 3), features()
    for image, normalised in zip(images, norm(images), strict=True):
        for channel, answer in zip(image, normalised, strict=True):
            expected = (channel - channel.mean()) / (channel.var(correction=0) + 1e-5).sqrt()
            torch.testing.assert_close(answer, expected)
    assert len(list(norm.parameters())) == 2
    with pytest.raises(UserError, match="instance norm needs two or more places per image"):
        norm(images[:, :, :1, :1])
