"""What a format of exported files is, and torch's own; ONNX is in ``onnx_file``."""

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.export import ExportedProgram


class Made(Protocol):
    """A graph in one format, not written yet."""

    @property
    def opset(self) -> int | None:
        """Of ONNX."""

    def run(self, images: NDArray[np.float32]) -> Sequence[NDArray[Any]]:
        """Let the format's own program look at images, as a user will."""

    def content(self, metadata: Mapping[str, str]) -> bytes:
        """Return the file."""


class TorchFile:
    """``.pt2``, for ``torch.export.load``."""

    opset = None

    def __init__(self, program: ExportedProgram) -> None:
        self._program = program
        self._module = program.module()

    def run(self, images: NDArray[np.float32]) -> Sequence[NDArray[Any]]:
        with torch.inference_mode():
            return [each.numpy() for each in self._module(torch.from_numpy(images))]

    def content(self, metadata: Mapping[str, str]) -> bytes:
        buffer = io.BytesIO()
        extra: dict[str, Any] = {f"{name}.json": text for name, text in metadata.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch about itself
            torch.export.save(self._program, buffer, extra_files=extra)
        return buffer.getvalue()
