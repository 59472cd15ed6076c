"""What whoever runs an exported graph must do before and after, in sentences."""

from collections.abc import Iterator, Mapping

from maskwise.encoders.segmenter import Segmenter
from maskwise.exporting.answers import Network
from maskwise.exporting.prepared import divisor
from maskwise.exporting.programs import INPUT
from maskwise.preparation import Preparation


def inputs(preparation: Preparation, inside: bool) -> Mapping[str, str]:
    """Return the name of the input and what it takes."""
    if not inside:
        h, w, c = preparation.height, preparation.width, preparation.channels
        text = f"float32 (batch, {c}, {h}, {w}), prepared: (v - mean) / std of v in [0, 1]"
        return {INPUT: text}
    shape = f"float32 (batch, {preparation.takes}, height, width)"
    if preparation.intensity["name"] != "range":
        return {INPUT: f"{shape}, raw values in the units of the file, of any size"}
    if divisor(preparation) == 1:
        return {INPUT: f"{shape}, values in [0, 1], of any size"}
    largest = preparation.ranges[0]
    return {INPUT: f"{shape}, raw values from 0 to {largest}, of any size"}


def outside(preparation: Preparation, network: Network, inside: bool) -> list[str]:
    """Return what the graph leaves to others."""
    return [*_before(preparation, inside), *_after(network)]


def _before(preparation: Preparation, inside: bool) -> Iterator[str]:
    if not inside:
        yield (
            "All of the preparation (encoder.preparation): intensity, channels, geometry, mean "
            "and std; maskwise.load_encoder(...).prepare(array) does it."
        )
        return
    yield (
        "Reading the file: values as the standard means them (DICOM's rescaling, palettes and "
        "inverted greys), without an opacity channel."
    )
    yield f"Refusing scans of another modality than {preparation.modality}."
    if preparation.takes == 1:
        yield "Turning colour into grey: .299 red + .587 green + .114 blue."
    else:
        yield f"Giving a grey image {preparation.takes} equal channels."
    yield "Pixels that were not measured: give no image that has some."
    if preparation.intensity["name"] == "range" and divisor(preparation) == 1:
        yield "Dividing by the largest value that the file's pixel type can hold."
    for option, value in preparation.reading.items():
        yield f"Reading files as the training images were read: {option} = {value}."
    pad = preparation.geometry
    if pad["name"] == "pad" and pad.get("larger", "refuse") == "refuse":
        h, w = preparation.kept
        yield f"Refusing an image of more than {h} x {w} pixels; the graph would crop it."


def _after(network: Network) -> Iterator[str]:
    if isinstance(network, Segmenter):
        yield "Bringing the answer from the network's size back to the scan's."
