"""One DICOM object of a run: a task of a worker process, which reads the scans for it.

Workers import this module: it knows nothing of torch or pandas.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from maskwise.artefacts.outlines import from_png
from maskwise.prediction.dicom.drawing import drawn
from maskwise.prediction.dicom.heading import Ids, read_header
from maskwise.prediction.dicom.objects import Author, capture, segmentation
from maskwise.scans.guarded import quiet, refusing
from maskwise.scans.pictures import MAX_PIXELS, read_frame
from maskwise.scans.reading import Reading
from maskwise.scans.reasons import RejectedError
from maskwise.workers import Loss


@dataclass(frozen=True)
class Way:
    """What all objects of a run share."""

    root: Path
    reading: Reading
    author: Author


@dataclass(frozen=True)
class Segmentation:
    """That of a whole series."""

    name: str
    """What its file will be called."""
    series: int
    """Place of its series among those of the run."""
    paths: tuple[str, ...]
    """Of the files of the series, in order."""
    outlines: tuple[bytes, ...]
    """Of its slices in order, PNG."""

    def content(self, way: Way) -> bytes:
        files = [read_header(way.root, path) for path in self.paths]
        classes = np.stack([from_png(outline) for outline in self.outlines])
        return segmentation(files, classes, way.author)


@dataclass(frozen=True)
class Capture:
    """That of one image of a series."""

    name: str
    series: int
    paths: tuple[str]
    frame: int
    first: Ids = field(repr=False)
    """Of the first file of the series."""
    place: int
    """In the series."""
    outline: bytes

    def content(self, way: Way) -> bytes:
        (path,) = self.paths
        pixels = read_frame(way.root, path, self.frame, MAX_PIXELS, way.reading)[1].pixels
        picture = drawn(pixels, from_png(self.outline), way.author)
        source = read_header(way.root, path)
        return capture(source, self.first, self.place, picture, way.author)


Task = Segmentation | Capture


@dataclass(frozen=True)
class Made:
    """What became of a task."""

    name: str
    series: int
    content: bytes = b""
    why: str = ""
    """Why there is no object; "" where there is one."""


def make(way: Way, task: Task) -> Made:
    """Return the object's file, or why a header breaks the standard so that there is none."""
    try:
        with (
            refusing(task.paths[0], "its header breaks the standard"),
            quiet("pydicom", "highdicom"),
        ):
            return Made(task.name, task.series, task.content(way))
    except RejectedError as error:
        return Made(task.name, task.series, why=error.reject.detail)


def unmade(task: Task, loss: Loss) -> Made:
    """Return what became of a task that no process could end."""
    advice = "; set predict.seconds_per_file higher" if loss.reason == "too_slow" else ""
    why = f"its object could not be made: {loss.detail}{advice}"
    return Made(task.name, task.series, why=why)
