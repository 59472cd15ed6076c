"""``.onnx``: a program of ``torch.export`` in ONNX's operators, run by onnxruntime.

Needs the extra ``export``.
"""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import version_converter
from torch.export import ExportedProgram

from maskwise.errors import UserError, cut, listed
from maskwise.exporting.programs import INPUT

OPSET = 20
"""The oldest in which every network of the registry was written: its GELU is one operator."""
NEWEST = onnx.defs.onnx_opset_version()
AXES = ("batch", "channels", "height", "width")
DOMAIN = ""
"""Of ONNX's own operators."""


class OnnxFile:
    """A graph of ONNX's own operators, without a trace of the machine that made it."""

    def __init__(
        self, program: ExportedProgram, names: Sequence[str], opset: int | None, where: str
    ) -> None:
        """Write ``program`` in the operators of ``opset``; None = ``OPSET``.

        Raises:
            UserError: if an operator is missing there, or the network has something that ONNX
                cannot say.
        """
        self.opset = OPSET if opset is None else opset
        if not 1 <= self.opset <= NEWEST:
            raise UserError(f"opset: is {opset}, but the installed onnx knows 1 to {NEWEST}")
        self._model = _converted(_written(program, names, where), self.opset)
        _strip(self._model)
        self._session = onnxruntime.InferenceSession(
            self._model.SerializeToString(), providers=["CPUExecutionProvider"]
        )

    def run(self, images: NDArray[np.float32]) -> Sequence[NDArray[Any]]:
        answers: Sequence[NDArray[Any]] = self._session.run(None, {INPUT: images})
        return answers

    def content(self, metadata: Mapping[str, str]) -> bytes:
        onnx.helper.set_model_props(self._model, dict(metadata))
        content: bytes = self._model.SerializeToString(deterministic=True)
        return content


def _written(program: ExportedProgram, names: Sequence[str], where: str) -> "onnx.ModelProto":
    with _quiet():
        try:
            written = torch.onnx.export(
                program,
                (),
                input_names=[INPUT],
                output_names=list(names),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            reason = cut(str(error).strip().splitlines()[0], 300)
            raise UserError(
                f"{where}: ONNX cannot say all that the network does ({reason}); write .pt2 "
                "instead"
            ) from None
    if written is None:
        raise TypeError("torch.onnx.export returned nothing")
    model: onnx.ModelProto = written.model_proto
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what torch says of itself, and of torchvision, from whoever exports a network."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _converted(model: "onnx.ModelProto", opset: int) -> "onnx.ModelProto":
    written = next(each.version for each in model.opset_import if each.domain == DOMAIN)
    if opset == written:
        return model
    lacking = sorted(
        {
            node.op_type
            for node in _nodes(model)
            if not onnx.defs.has(node.op_type, max_inclusive_version=opset)
        }
    )
    if lacking:
        needed = max(map(_first_with, lacking))
        raise UserError(
            f"opset: ONNX's opset {opset} has no operator {listed(lacking)}, which this "
            f"network needs; choose {needed} or more, or leave opset out ({OPSET})"
        )
    try:
        converted: onnx.ModelProto = version_converter.convert_version(model, opset)
        onnx.checker.check_model(converted)
    except Exception as error:  # the converter raises what it meets
        reason = cut(str(error).strip().splitlines()[0], 200)
        raise UserError(
            f"opset: the graph cannot be turned into opset {opset} ({reason}); leave opset out "
            f"({OPSET}), or choose one nearer to it"
        ) from None
    return converted


def _first_with(operator: str) -> int:
    """Return the oldest opset that has an operator."""
    every = range(1, NEWEST + 1)
    return next(
        opset for opset in every if onnx.defs.has(operator, max_inclusive_version=opset)
    )


def _nodes(model: "onnx.ModelProto") -> Iterator[Any]:
    yield from model.graph.node
    for function in model.functions:
        yield from function.node


def _strip(model: "onnx.ModelProto") -> None:
    """Take out what differs from machine to machine, and names its folders."""
    model.doc_string = ""
    graph = model.graph
    del graph.value_info[:]  # of what lies in between, which every program works out for itself
    axes = graph.input[0].type.tensor_type.shape.dim
    called = {axis.dim_param: name for axis, name in zip(axes, AXES, strict=True)}
    for each in (*graph.input, *graph.output):
        for axis in each.type.tensor_type.shape.dim:
            if axis.dim_param:
                axis.dim_param = called[axis.dim_param]
    parts = (graph.node, graph.input, graph.output, graph.initializer)
    for each in [graph, *(item for part in parts for item in part)]:
        each.doc_string = ""
        del each.metadata_props[:]
    for function in model.functions:
        for node in (function, *function.node):
            node.doc_string = ""
            del node.metadata_props[:]
