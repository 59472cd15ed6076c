"""Encoders that see visible cells only: what SparK needs of them, over every encoder.

The masked form is held against the plain network and against loops; the packed form against
the masked one.
"""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from maskwise.encoders import ENCODERS
from maskwise.encoders.contract import Encoder
from maskwise.encoders.sparse import SparseEncoder, masked
from maskwise.encoders.sparse.course import Step, record
from maskwise.encoders.sparse.encoder import FORMS, Form
from maskwise.encoders.sparse.rows import put, read, readers_of, taken
from maskwise.encoders.sparse.visible import Visible
from maskwise.encoders.tokens import TokenEncoder
from maskwise.errors import UserError

Case = tuple[str, dict[str, Any], tuple[int, int]]
CASES: dict[str, Case] = {
    "context_cnn": ("context_cnn", {"widths": (8, 16, 24), "convolutions": (1, 2, 1)}, (6, 4)),
    "context_cnn strided": (
        "context_cnn",
        {"widths": (8, 16), "convolutions": (1, 2), "stride": 16, "norm": "batch"},
        (3, 4),
    ),
    "context_cnn bare": (
        "context_cnn",
        {"widths": (8, 8), "convolutions": (2, 1), "closing": "none", "norm": "batch"},
        (3, 3),
    ),
    "resnet18": ("resnet18", {"width": 8, "stride": 32}, (3, 2)),
    "resnet18 group": ("resnet18", {"width": 8, "stride": 16, "norm": "group"}, (3, 3)),
    "resnet18 dilated": ("resnet18", {"width": 8, "keep_by": "dilation"}, (4, 4)),
    "resnet34": ("resnet34", {"width": 8, "stride": 16}, (2, 3)),
    "resnet50": ("resnet50", {"width": 8, "stride": 16}, (3, 2)),
    "efficientnet_lite0": ("efficientnet_lite0", {"stride": 32}, (3, 2)),
    "efficientnet_lite0 dilated": ("efficientnet_lite0", {"stride": 8}, (4, 3)),
}
cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
forms = pytest.mark.parametrize("form", FORMS)


def test_every_encoder_with_something_to_learn_is_among_the_cases() -> None:
    built = {name: config().build(1) for name, config in ENCODERS.items()}
    learning = {
        name
        for name, encoder in built.items()
        if list(encoder.parameters()) and not isinstance(encoder, TokenEncoder)
    }
    assert learning == {name for name, _, _ in CASES.values()}


def build(case: Case, channels: int = 3) -> Encoder:
    """Return the encoder in float64, with weights and biases of norms that are not 1 and 0."""
    name, options, _ = case
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = ENCODERS[name](**options).build(channels).double().train()
        for parameter in encoder.parameters():
            if parameter.ndim == 1:
                nn.init.uniform_(parameter, 0.5, 1.5)
    return encoder


def images(case: Case, encoder: Encoder, batch: int = 2) -> Tensor:
    height, width = (cells * encoder.strides[-1] for cells in case[2])
    generator = torch.Generator().manual_seed(1)
    return torch.randn(
        batch, encoder.inputs, height, width, dtype=torch.float64, generator=generator
    )


def hidden(case: Case, batch: int = 2, seed: int = 2) -> Tensor:
    """Return masks that hide unlike numbers of cells, never all of an image."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(batch, *case[2], generator=generator) < 0.5
    mask[0, 0, 0], mask[1:, -1, -1] = False, False
    mask[0, -1, -1] = True
    return mask


def pixels(mask: Tensor, like: Tensor) -> Tensor:
    down, across = like.shape[2] // mask.shape[1], like.shape[3] // mask.shape[2]
    wide = mask.repeat_interleave(down, 1).repeat_interleave(across, 2)
    return wide[:, None].expand_as(like)


Answer = tuple[list[Tensor], dict[str, Tensor], Tensor, dict[str, Tensor]]


def answer(encoder: Encoder, given: Tensor, mask: Tensor, form: Form | None) -> Answer:
    """Return features, gradients of weights and of images, and buffers; None: the plain one."""
    encoder = copy.deepcopy(encoder)
    given = given.clone().requires_grad_()
    features = (
        encoder(given) if form is None else SparseEncoder(encoder)(given, Visible(mask), form)
    )
    generator = torch.Generator().manual_seed(3)
    torch.stack(
        [
            (each * torch.randn(each.shape, dtype=each.dtype, generator=generator)).sum()
            for each in features
        ]
    ).sum().backward()
    gradients = {
        name: parameter.grad
        for name, parameter in encoder.named_parameters()
        if parameter.grad is not None
    }
    assert given.grad is not None
    buffers = {name: buffer.double() for name, buffer in encoder.named_buffers()}
    return [each.detach() for each in features], gradients, given.grad, buffers


def assert_equal(one: Answer, other: Answer) -> None:
    close: Callable[[Any, Any], None] = lambda a, b: torch.testing.assert_close(  # noqa: E731
        a, b, rtol=1e-9, atol=1e-10
    )
    for mine, theirs in zip(one, other, strict=True):
        close(mine, theirs)


@cases
@forms
def test_with_all_visible_it_is_the_plain_network(case: Case, form: Form) -> None:
    encoder = build(case)
    given, nothing = images(case, encoder), torch.zeros(2, *case[2], dtype=torch.bool)
    assert_equal(answer(encoder, given, nothing, form), answer(encoder, given, nothing, None))


@cases
def test_the_packed_form_answers_as_the_masked_one(case: Case) -> None:
    encoder = build(case)
    given, mask = images(case, encoder), hidden(case)
    assert_equal(answer(encoder, given, mask, "packed"), answer(encoder, given, mask, "masked"))


@cases
def test_both_forms_agree_with_the_statistics_that_were_learnt(case: Case) -> None:
    encoder = build(case)
    encoder(images(case, encoder))  # statistics that are not 0 and 1
    encoder.eval()
    given, mask = images(case, encoder), hidden(case)
    nothing = torch.zeros_like(mask)
    plain = answer(encoder, given, nothing, None)
    for form in FORMS:
        assert_equal(answer(encoder, given, nothing, form), plain)
    assert_equal(answer(encoder, given, mask, "packed"), answer(encoder, given, mask, "masked"))


@cases
def test_what_is_frozen_is_so_in_both_forms(case: Case) -> None:
    encoder = build(case)
    encoder(images(case, encoder))
    encoder.freeze(2, statistics=True)
    given, mask = images(case, encoder), hidden(case)
    packed, masked_ = (answer(encoder, given, mask, form) for form in ("packed", "masked"))
    assert_equal(packed, masked_)
    learning = {name for name, each in encoder.named_parameters() if each.requires_grad}
    assert set(packed[1]) == learning
    for name, buffer in encoder.named_buffers():
        torch.testing.assert_close(packed[3][name], buffer.double())


@cases
@forms
def test_holes_are_0_in_every_feature_map_and_nothing_else_is(case: Case, form: Form) -> None:
    encoder = build(case)
    mask = hidden(case)
    for each in answer(encoder, images(case, encoder), mask, form)[0]:
        holes = pixels(mask, each)
        assert (each[holes] == 0).all()
        assert (each[~holes] != 0).any()


@cases
@forms
@pytest.mark.parametrize("secret", [1e6, float("nan"), float("inf")])
def test_what_hidden_pixels_hold_changes_not_one_bit(
    case: Case, form: Form, secret: float
) -> None:
    encoder = build(case)
    given, mask = images(case, encoder), hidden(case)
    spoilt = torch.where(pixels(mask, given), secret, given)
    one, other = (answer(encoder, each, mask, form) for each in (given, spoilt))
    assert all(a.equal(b) for a, b in zip(one[0], other[0], strict=True))
    assert all(one[1][name].equal(other[1][name]) for name in one[1])
    assert one[2].equal(other[2])
    assert all(one[3][name].equal(other[3][name]) for name in one[3])


@cases
@forms
def test_no_gradient_reaches_a_hidden_pixel(case: Case, form: Form) -> None:
    encoder = build(case)
    given, mask = images(case, encoder), hidden(case)
    gradient = answer(encoder, given, mask, form)[2]
    holes = pixels(mask, given)
    assert (gradient[holes] == 0).all()
    assert (gradient[~holes] != 0).any()


@forms
def test_gradients_are_those_of_finite_differences(form: Form) -> None:
    case: Case = ("context_cnn", {"widths": (8,), "convolutions": (1,), "stride": 8}, (2, 2))
    encoder, mask = build(case, channels=1), hidden(("", {}, (2, 2)))
    visible = Visible(mask)

    def features(given: Tensor) -> Tensor:
        return SparseEncoder(encoder)(given, visible, form)[-1]

    given = images(case, encoder).requires_grad_()
    assert torch.autograd.gradcheck(features, (given,), fast_mode=True)


def test_batch_norm_is_that_of_the_visible_places_as_rows() -> None:
    case = CASES["resnet18"]
    mask = hidden(case)
    maps = torch.randn(2, 5, *(4 * cells for cells in case[2]), dtype=torch.float64)
    maps = torch.where(pixels(mask, maps), 0.0, maps)
    norm, plain = nn.BatchNorm2d(5).double(), nn.BatchNorm1d(5).double()
    seen = ~pixels(mask, maps)[:, 0]
    answered = masked.batch_norm(norm, maps, Visible(mask)).permute(0, 2, 3, 1)
    torch.testing.assert_close(answered[seen], plain(maps.permute(0, 2, 3, 1)[seen]))
    torch.testing.assert_close(norm.running_var, plain.running_var)
    torch.testing.assert_close(norm.running_mean, plain.running_mean)


def test_group_norm_is_that_of_each_images_visible_places() -> None:
    mask = hidden(("", {}, (3, 4)), seed=5)
    maps = torch.randn(2, 8, 6, 8, dtype=torch.float64)
    maps = torch.where(pixels(mask, maps), 0.0, maps)
    norm = nn.GroupNorm(2, 8).double()
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    nn.init.uniform_(norm.bias, 0.5, 1.5)
    answered = masked.group_norm(norm, maps, Visible(mask))
    for image in range(2):
        seen = ~pixels(mask, maps)[image, 0]
        rows = maps[image][:, seen]  # (C, n)
        torch.testing.assert_close(answered[image][:, seen], norm(rows[None])[0])


@cases
@forms
def test_the_order_of_a_batch_does_not_matter(case: Case, form: Form) -> None:
    encoder = build(case)
    given, mask = images(case, encoder), hidden(case)
    features = answer(encoder, given, mask, form)[0]
    turned = answer(encoder, given.flip(0), mask.flip(0), form)[0]
    for one, other in zip(features, turned, strict=True):
        torch.testing.assert_close(one.flip(0), other)


@cases
@forms
def test_hidden_is_the_same_as_outside_the_image(case: Case, form: Form) -> None:
    encoder = build(case)
    given, mask = images(case, encoder), hidden(case)
    gh, gw = case[2]
    side = encoder.strides[-1]
    wide = torch.full((2, gh + 2, gw + 3), True)
    wide[:, 1 : gh + 1, 2 : gw + 2] = mask
    canvas = torch.full((2, given.shape[1], *(cells * side for cells in wide.shape[1:])), 7.0)
    canvas = canvas.double()
    canvas[:, :, side : side * (gh + 1), 2 * side : side * (gw + 2)] = given
    alone = answer(encoder, given, mask, form)[0]
    framed = answer(encoder, canvas, wide, form)[0]
    for one, other in zip(alone, framed, strict=True):
        down, across = one.shape[2] // gh, one.shape[3] // gw
        inner = other[:, :, down : down * (gh + 1), 2 * across : across * (gw + 2)]
        torch.testing.assert_close(one, inner, rtol=1e-9, atol=1e-10)


@cases
def test_the_answer_of_every_layer_is_0_in_holes(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, mask = build(case), hidden(case)
    seen: list[Tensor] = []
    plain = masked.apply

    def watched(step: Step, values: list[Tensor], visible: Visible) -> Tensor:
        seen.append(plain(step, values, visible))
        return seen[-1]

    monkeypatch.setattr(masked, "apply", watched)
    SparseEncoder(encoder)(images(case, encoder), Visible(mask), "masked")
    assert len(seen) == len(record(encoder).steps) - 1
    assert all((each[pixels(mask, each)] == 0).all() for each in seen)


class Strange(Encoder):
    """One layer of a test's own between image and features."""

    channels, strides, inputs = (4,), (1,), 4

    def __init__(self, layer: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.layer = layer

    def parts(self) -> list[list[nn.Module]]:
        return [[], [self]]

    def features(self, images: Tensor) -> list[Tensor]:
        return [self.layer(images)]


class Doubling(nn.ReLU):
    """Descends from a known layer, and computes something else."""

    def forward(self, maps: Tensor) -> Tensor:
        answer: Tensor = 2 * super().forward(maps)
        return answer


class Standardised(nn.Conv2d):
    """A convolution whose weights are changed before it is used."""

    def _conv_forward(self, maps: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        answer: Tensor = super()._conv_forward(maps, weight - weight.mean(), bias)
        return answer


def listened() -> nn.Module:
    layer = nn.Conv2d(4, 4, 1)
    layer.register_forward_hook(lambda module, given, answer: 2 * answer)
    return layer


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (nn.Conv2d(4, 4, 2), "layer.*not centred"),
        (nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), "layer.*no number of zeros"),
        (nn.Conv2d(4, 4, 3, padding="same"), "layer.*no number of zeros"),
        (Standardised(4, 4, 3, padding=1), "layer.*Standardised"),
        (Doubling(), "layer.*Doubling"),
        (listened(), "layer.*Conv2d of its own kind"),
        (nn.InstanceNorm2d(4), "layer.*InstanceNorm2d"),
        (nn.Sigmoid(), "layer.*Sigmoid"),
        (nn.Upsample(scale_factor=2), "layer.*Upsample"),
        (nn.AdaptiveAvgPool2d(1), "layer.*AdaptiveAvgPool2d"),
        (nn.LayerNorm((4, 4)), "layer.*more than channels"),
        (nn.LayerNorm(4), "layer.*channels in front of rows"),
        (nn.AvgPool2d(3, 1, 1), "layer.*counts its padding"),
        (nn.MaxPool2d(3, 1, 1, ceil_mode=True), "layer.*ceil_mode"),
        (nn.MaxPool2d(3, 1, 2, dilation=2), "layer.*dilation"),
        (nn.MaxPool2d((3, 1), 1, (1, 0)), "layer.*not square"),
        (nn.MaxPool2d(2, 1), "layer.*not centred"),
        (nn.AvgPool2d(2, divisor_override=1), "layer.*divisor_override"),
        (lambda maps: maps.mean((2, 3), keepdim=True), "mean"),
        (lambda maps: maps * 2, "mul"),
        (lambda maps: maps + 1, "add.*something else than feature maps"),
        (lambda maps: nn.functional.interpolate(maps, scale_factor=2.0), "interpolate"),
        (lambda maps: maps.permute(0, 3, 2, 1), "permutation"),
    ],
)
def test_a_layer_without_a_known_form_is_refused_by_name(
    layer: Callable[[Tensor], Tensor], named: str
) -> None:
    with pytest.raises(UserError, match=rf"encoder.name: the layer .*{named}"):
        record(Strange(layer))


def test_an_encoder_whose_course_depends_on_the_image_is_refused() -> None:
    with pytest.raises(UserError, match="Strange does depends on what it is shown"):
        record(Strange(lambda maps: maps if maps.sum() > 0 else -maps))


class ChannelsLast(nn.Module):
    """A ConvNeXt's parts: depthwise convolution, layer norm over channels, linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(4, 4, 7, padding=3, groups=4)
        self.norm = nn.LayerNorm(4)
        self.widen = nn.Conv2d(4, 8, 1)
        self.narrow = nn.Conv2d(8, 4, 1)

    def forward(self, maps: Tensor) -> Tensor:
        unit = self.norm(self.depthwise(maps).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        answer: Tensor = maps + self.narrow(nn.functional.gelu(self.widen(unit)))
        return answer


@pytest.mark.parametrize(
    "layer",
    [
        ChannelsLast(),
        nn.MaxPool2d(3, 1, 1),
        nn.MaxPool2d((3, 3), 1, 1),
        nn.AvgPool2d(3, 1, 1, count_include_pad=False),
        nn.Sequential(nn.ReLU(), nn.MaxPool2d(3, 1, 1)),
        nn.LeakyReLU(0.2),
        nn.Conv2d(4, 8, 5, padding=4, dilation=2, groups=4),
        nn.Conv2d(4, 6, 3, padding=1, groups=2),
        nn.GELU(),
    ],
    ids=lambda layer: type(layer).__name__,
)
@pytest.mark.parametrize("side", [1, 2, 4])
def test_layers_beside_those_of_the_encoders_are_alike_in_both_forms(
    layer: nn.Module, side: int
) -> None:
    encoder = Strange(layer).double()
    case: Case = ("", {}, (3, 4))
    mask = hidden(case)
    given = torch.randn(2, 4, 3 * side, 4 * side, dtype=torch.float64)
    assert_equal(answer(encoder, given, mask, "packed"), answer(encoder, given, mask, "masked"))


@forms
def test_a_pooled_maximum_or_mean_is_one_of_visible_places(form: Form) -> None:
    mask = torch.tensor([[[False, True]]])
    given = torch.tensor([[-1.0, -2.0, 9.0, 9.0]]).expand(2, 4)[None, None].clone()

    def pooled(layer: nn.Module) -> Tensor:
        encoder = Strange(layer)
        encoder.inputs = 1
        return SparseEncoder(encoder)(given, Visible(mask), form)[0][0, 0, 0]

    assert pooled(nn.MaxPool2d(3, 1, 1)).tolist() == [-1.0, -1.0, 0.0, 0.0]
    assert pooled(nn.AvgPool2d(3, 1, 1, count_include_pad=False)).tolist() == [
        -1.5,
        -1.5,
        0.0,
        0.0,
    ]


def test_all_cells_of_an_image_hidden_are_refused() -> None:
    mask = torch.tensor([[[True, False]], [[True, True]]])
    with pytest.raises(UserError, match="all cells of an image are hidden"):
        Visible(mask)


def test_cells_that_are_no_whole_number_of_places_are_refused() -> None:
    with pytest.raises(UserError, match=r"grid of 3 x 4 .* features of 8 x 8"):
        Visible(torch.zeros(1, 3, 4, dtype=torch.bool)).at(torch.zeros(1, 1, 8, 8))


@forms
def test_batch_norm_of_one_visible_place_is_refused(form: Form) -> None:
    encoder = Strange(nn.BatchNorm2d(4))
    mask = torch.tensor([[[False, True]]])
    with pytest.raises(UserError, match="two or more visible places"):
        SparseEncoder(encoder)(torch.randn(1, 4, 1, 2), Visible(mask), form)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.integers(0, 10**6))
def test_rows_are_read_as_indexing_does_and_so_are_their_gradients(
    wanted: list[int], seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(5, 3, dtype=torch.float64, generator=generator)
    table = torch.tensor(wanted)  # 5 = zeros
    weights = torch.randn(len(wanted), 3, dtype=torch.float64, generator=generator)
    mine, plain = rows.clone().requires_grad_(), rows.clone().requires_grad_()
    found = read(mine, readers_of(table, 5))
    expected = torch.cat([plain, torch.zeros(1, 3, dtype=torch.float64)])[table]
    assert found.equal(expected)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    assert mine.grad is not None
    torch.testing.assert_close(mine.grad, plain.grad)


def test_places_that_are_taken_and_put_back_are_where_they_were() -> None:
    maps = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    places = torch.randperm(40)[:17]
    again = put(taken(maps, places), places, (2, 4, 5))
    kept = torch.zeros(40, dtype=torch.bool)
    kept[places] = True
    there = kept.reshape(2, 1, 4, 5).expand_as(maps)
    assert again.equal(torch.where(there, maps, 0.0))
    again.sum().backward()
    assert maps.grad is not None
    assert maps.grad.equal(there.double())
