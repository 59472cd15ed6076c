"""A replicate's folder of models: ``index.json``, as many models as ``keep`` says, outlines."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import nn

from maskwise.artefacts.arrays import write_arrays
from maskwise.artefacts.atomic import replacing_folder
from maskwise.artefacts.model import Metadata, write_model
from maskwise.artefacts.model_index import write_model_index
from maskwise.artefacts.outlines import MODEL_OUTLINES, ModelOutlines
from maskwise.limits.record import Limits
from maskwise.weights_origin import WeightsOrigin

Keep = Literal["best", "all", "none"]
BEST = "best.safetensors"


@dataclass(frozen=True)
class _Kept:
    model: nn.Module
    metadata: Metadata
    limits: Callable[[], Limits | None]


@dataclass
class Models:
    """Holds no more models in memory than will be written."""

    keep: Keep
    choices: list[dict[str, Any]] = field(default_factory=list)
    """One per model, in the order of training: what it is, and what was chosen for it."""
    outlines: ModelOutlines | None = None
    """What the last model of the largest fraction outlined; None where nothing is outlined."""
    weights: WeightsOrigin | None = None
    """What the encoder began with before it was pre-trained."""
    _kept: "dict[str, _Kept]" = field(default_factory=dict)

    def add(
        self,
        model: nn.Module | None,
        metadata: Metadata,
        choice: dict[str, Any],
        limits: Callable[[], Limits | None] = lambda: None,
    ) -> None:
        """Take a finished model; ``choice`` is what ``index.json`` says beside its metadata.

        ``limits`` is called only for a model that is written.

        None stands for one that cannot be written: the index has it all the same.

        The best is the model with the lowest loss on validation of those that saw the largest
        fraction of the labels.
        """
        facts = {
            key: value
            for key, value in asdict(metadata).items()
            if key not in ("encoder", "features", "pooling")
        }
        self.weights = metadata.encoder.weights
        name = f"{metadata.mode}_{metadata.fraction:g}.safetensors"
        self.choices.append({"file": None, **facts, **choice})
        if model is None:
            return
        if self.keep == "all":
            self._kept[name] = _Kept(model, metadata, limits)
            self.choices[-1]["file"] = name
        elif self.keep == "best" and self._is_better(metadata):
            self._kept[BEST] = _Kept(model, metadata, limits)
            for earlier in self.choices:
                earlier["file"] = None
            self.choices[-1]["file"] = BEST

    def write(self, folder: Path) -> None:
        """Write the folder, which replaces an earlier one once it is complete."""
        with replacing_folder(folder) as temporary:
            for name, kept in self._kept.items():
                write_model(kept.model, kept.metadata, temporary / name, kept.limits())
            if self.outlines is not None:
                write_arrays(self.outlines, temporary / MODEL_OUTLINES)
            write_model_index(temporary, self.keep, self.choices, self.weights)

    def _is_better(self, metadata: Metadata) -> bool:
        if BEST not in self._kept:
            return True
        best = self._kept[BEST].metadata
        # A larger fraction is better; at the same one, the lower loss on validation.
        return (-metadata.fraction, metadata.loss) < (-best.fraction, best.loss)
