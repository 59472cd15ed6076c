"""An encoder with a decoder that outlines what is in the image. It needs torch only.

Images larger than the network's are seen through a window that slides over them, which is
MONAI's, imported where it is wanted.
"""

from typing import Any, cast

from numpy.typing import NDArray
from torch import Tensor, nn

from maskwise.encoders.contract import Encoder
from maskwise.encoders.decoder import Decoder
from maskwise.encoders.inputs import check_images, prepared
from maskwise.encoders.unet import LEAN, DecoderConfig, UnetDecoder
from maskwise.errors import UserError

WINDOWS_AT_ONCE = 16


class Segmenter(nn.Module):
    """A U-Net: the encoder, and a decoder past the features met on the way down.

    Args:
        encoder: whose features they are.
        classes: how many there are beside the background.
        size: height and width in pixels of the images that it is trained on.
        inputs: their channels.
        config: of the decoder.

    Raises:
        UserError: if encoder, decoder and size do not go together.
    """

    encoder: Encoder
    metadata: Any
    """Of one that was loaded: ``maskwise.artefacts.model.SegmenterMetadata``."""
    limits: Any = None
    """Of one that was loaded: ``maskwise.limits.record.Limits``; None = its file has none."""
    sha256: str = ""
    """Of the file that it was loaded from."""

    def __init__(
        self,
        encoder: Encoder,
        classes: int,
        size: tuple[int, int],
        inputs: int = 1,
        config: DecoderConfig = LEAN,
    ) -> None:
        super().__init__()
        strides = encoder.strides
        if any(side % strides[-1] for side in size):
            raise UserError(
                f"encoder.stride: {strides[-1]} does not divide an image of {size[0]} x "
                f"{size[1]} pixels, so its features cannot be turned back into one; choose "
                "another stride, or another size in the source's block `preprocess`"
            )
        self.encoder = encoder
        self.decoder: Decoder | UnetDecoder
        if config.layout == "unet":
            self.decoder = UnetDecoder(config, inputs, encoder.channels, strides, 1 + classes)
        else:
            self.decoder = Decoder("lean", True, encoder.channels, strides, 1 + classes)
        self.size = size
        # One level is not joined to a finer one, and is drawn larger as a whole.
        self._stride = strides[-1] if len(set(strides)) > 1 else 1

    def forward(self, images: Tensor) -> Tensor:
        """Turn normalised images ``(B, C, H, W)`` into logits ``(B, 1 + classes, H, W)``.

        The first channel is the background. The sides must be those of training, or other
        multiples of the encoder's stride.
        """
        features = self.encoder(images)
        if self._stride > 1 and any(side % self._stride for side in images.shape[2:]):
            raise UserError(
                f"images: {images.shape[2]} x {images.shape[3]} pixels were given, but sides "
                f"must be multiples of {self._stride}; probabilities(images) and "
                "outline(images) take any size"
            )
        if isinstance(self.decoder, UnetDecoder):
            return cast(Tensor, self.decoder(images, features))
        logits = cast(Tensor, self.decoder(features, features[-1]))
        if logits.shape[2:] != images.shape[2:]:
            # An encoder whose features have one size whatever the image's: `pixels`.
            logits = nn.functional.interpolate(logits, images.shape[2:], mode="bilinear")
        return logits

    def probabilities(self, images: Tensor) -> Tensor:
        """Return probabilities ``(B, 1 + classes, H, W)`` of images of any size.

        Images of another size than ``size`` are seen through a window of that size, which
        moves by half its side; where windows overlap, the middle of each counts most. One
        pixel must stand for as much as in training.
        """
        check_images(images, self)
        if tuple(images.shape[2:]) == self.size:
            return cast(Tensor, self(images)).softmax(dim=1)
        return self._through_a_window(images).softmax(dim=1)

    def outline(self, images: Tensor) -> Tensor:
        """Return the likeliest class of every pixel, int64 ``(B, H, W)``; 0 = background."""
        return self.probabilities(images).argmax(dim=1)

    def prepare(self, array: NDArray[Any], modality: str | None = None) -> Tensor:
        """Return a raw image as the model takes it, as ``Encoder.prepare`` does."""
        return prepared(self.encoder, self, array, modality)

    def _through_a_window(self, images: Tensor) -> Tensor:
        try:
            from monai.inferers.utils import sliding_window_inference
        except ModuleNotFoundError:
            raise UserError(
                f"an image of {images.shape[2]} x {images.shape[3]} pixels is not of the "
                f"network's size, {self.size[0]} x {self.size[1]}, and needs MONAI: pip "
                "install monai, or resize the image"
            ) from None
        found = sliding_window_inference(
            images, self.size, WINDOWS_AT_ONCE, self, overlap=0.5, mode="gaussian"
        )
        return cast(Tensor, found)
