"""Maskwise: self-supervised pre-training for medical images that learns where to mask."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from os import PathLike
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from maskwise.encoders.classifier import Classifier
    from maskwise.encoders.contract import Encoder
    from maskwise.encoders.segmenter import Segmenter
    from maskwise.exporting.export import Exported
    from maskwise.scans.reading import Reading

__all__ = [
    "__version__",
    "embed",
    "export",
    "load_encoder",
    "load_model",
    "predict",
    "read",
]
__version__ = "0.1.0"

# torch takes seconds to import, and `kedro --help` imports this package: so imports are late.


def load_encoder(path: str | Path) -> Encoder:
    """Return the pre-trained encoder in ``path``; see ``maskwise.artefacts.encoder``."""
    from maskwise.artefacts.encoder import load_encoder

    return load_encoder(path)


def load_model(path: str | Path) -> Classifier | Segmenter:
    """Return the fine-tuned model in ``path``; see ``maskwise.artefacts.model``."""
    from maskwise.artefacts.model import load_model

    return load_model(path)


def read(
    path: str | Path,
    frame: int = 0,
    *,
    axis: str | None = None,
    volume: int | None = None,
    key: str | None = None,
    grey: bool = False,
    reading: Reading | Mapping[str, Any] | None = None,
) -> NDArray[Any]:
    """Return the raw values of one image, as ingest reads it: PNG to DICOM, NIfTI, ``.npz``.

    ``(h, w)``, or of colour ``(h, w, 3)``, in the units of the file (Hounsfield units of CT);
    ``encoder.prepare`` takes it as it is. Where the file says which pixels were not measured,
    it is a masked array. Needs the extra ``pipeline``.

    Args:
        path: the file.
        frame: which of its images, from 0, as a manifest and a table of predictions count
            them; one that there is not is refused with how many there are.
        axis: of a NIfTI file, ``axial``, ``coronal`` or ``sagittal``; frames then count the
            slices along it.
        volume: which volume of a 4-D NIfTI file, from 0.
        key: of an archive, ``train_images``, ``val_images`` or ``test_images``; frames then
            count what it holds.
        grey: take luminance alone where the file stores it apart (DICOM's YBR), as preprocess
            does for networks of one channel.
        reading: how ambiguous files are read, ``{"nan": "background"}``: the options
            of ``maskwise.scans.reading.Reading``.

    Raises:
        UserError: if there is no such image, or it would be rejected by ingest.
    """
    with _pipeline_extra("maskwise.read"):
        from maskwise.scans.one import read

        return read(
            path,
            frame,
            axis=axis,
            volume=volume,
            key=key,
            grey=grey,
            reading={} if reading is None else reading,
        )


def predict(
    paths: str | Path | Sequence[str | Path],
    model: str | Path | Classifier | Segmenter,
    **options: Any,
) -> pd.DataFrame:
    """Return what a model says about scans that nobody labelled, one row per image.

    The table is that of the stage ``predict``: ``path``, ``frame``, ``prediction``, then of a
    classifier ``p_<class>`` (calibrated), of one of several labels ``called_<label>`` as well,
    of a segmenter ``area_<class>``; with ``coverage`` sets of answers; ``typicality`` and
    ``unlike``, whether the scan is unlike those of training; and ``refused``, the reason why
    there is no prediction. With ``per`` it has one row per patient or volume. Needs the extra
    ``pipeline``.

    Args:
        paths: a folder, a table with a column of paths, a file, or a list of files.
        model: its file, or what ``load_model`` returned, which stays where and as it is.
        options: of ``maskwise.prediction.stage.PredictConfig``, such as ``colour="grey"``.

    Raises:
        UserError: if an option is wrong, there is no model or no scan, or all were refused.
    """
    with _pipeline_extra("maskwise.predict"):
        from maskwise.prediction.script import predict

        return predict(paths, model, options)


def embed(
    paths: str | Path | Sequence[str | Path],
    encoder: str | Path | Encoder,
    **options: Any,
) -> pd.DataFrame:
    """Return what an encoder makes of scans, one row per image that could be read.

    ``id``, ``path``, ``frame``, ``patient`` and ``group`` (of whom nothing is known, each scan
    stands for itself), ``split`` (null), the table's further columns or the ``folder``, and
    ``vector``, ``(F,)`` float32: ``numpy.stack(table["vector"])`` is ``(N, F)``.
    ``table.attrs["encoder"]`` is the fingerprint of the encoder, and ``table.attrs["refused"]``
    says of each scan without a row why there is none. Scans are found, read and refused as
    ``predict`` does. Needs the extra ``pipeline``.

    Args:
        paths: a folder, a table with a column of paths, a file, or a list of files.
        encoder: the file of an encoder, or of a fine-tuned model, whose encoder is taken; or
            what ``load_encoder`` returned, which stays where and as it is.
        options: of ``maskwise.embedding.config.EmbedConfig``, such as ``pooling="mean_max"``.

    Raises:
        UserError: if an option is wrong, there is no encoder or no scan, or all were refused.
    """
    with _pipeline_extra("maskwise.embed"):
        from maskwise.embedding.script import embed

        return embed(paths, encoder, options)


def export(
    model: str | Path | Encoder | Classifier | Segmenter,
    path: str | Path,
    *,
    images: Sequence[str | Path | NDArray[Any]] | None = None,
    opset: int | None = None,
    preparation: str = "inside",
    tolerance: float = 1e-4,
) -> Exported:
    """Write an encoder or a model for programs that have not this package; say how near it is.

    ``path`` ends in ``.onnx`` (needs the extra ``export``), or in ``.pt2`` for
    ``torch.export.load``. The graph takes raw images ``(batch, channels, height, width)`` of
    any batch and size and prepares them itself; what it leaves to its user stands in the
    file's metadata under ``maskwise``, JSON, beside all that our own file says. An encoder
    answers ``pooled`` and each ``stage_<i>``, a classifier ``probabilities`` and ``logits``,
    a segmenter ``probabilities`` of each pixel of the network.

    Before it is written, the graph is run over images and held against torch, which sees them
    prepared by ``prepare``. The same model gives the same bytes with the same versions of
    torch and onnx.

    Args:
        model: its file, or what ``load_encoder`` or ``load_model`` returned.
        path: what is written, whole or not at all.
        images: to check with: raw arrays ``(h, w)`` or ``(h, w, c)``, or files, which need the
            extra ``pipeline``; by default some are drawn.
        opset: of ONNX; by default the oldest that has all operators.
        preparation: ``inside`` the graph, or ``outside``: then it takes what ``prepare``
            returns.
        tolerance: the largest difference from torch, as a share of an answer's largest value.

    Raises:
        UserError: if the graph differs from torch by more, the opset lacks an operator, or the
            model's file is none.
    """
    with _extra("maskwise.export", "export"):
        from maskwise.exporting.export import export

        return export(model, path, _arrays(images), opset, preparation, tolerance)


def _arrays(images: Sequence[str | Path | NDArray[Any]] | None) -> list[NDArray[Any]] | None:
    """Read those of ``images`` that are files."""
    if images is None:
        return None
    return [read(each) if isinstance(each, str | PathLike) else each for each in images]


def _pipeline_extra(what: str) -> AbstractContextManager[None]:
    return _extra(what, "pipeline")


@contextmanager
def _extra(what: str, extra: str) -> Iterator[None]:
    from maskwise.errors import UserError

    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(
            f"{what} needs {error.name}, which is not installed: "
            f'pip install "maskwise[{extra}]"'
        ) from None
