"""What a segmenter is before it has seen a label."""

import logging
from typing import cast

from maskwise.artefacts.encoder import check_fit, decoder_of
from maskwise.encoders.contract import Encoder
from maskwise.encoders.segmenter import Segmenter
from maskwise.errors import UserError
from maskwise.finetune.lesion.config import LesionConfig
from maskwise.finetune.run import FinetuneRun
from maskwise.preparation import Preparation
from maskwise.seeds import torch_seed, torch_stream

log = logging.getLogger(__name__)

LAST = "head."
"""Prefix of the decoder's last layer: as many outputs as an image has channels, or classes."""


def build_start(
    encoder: Encoder, seen: Preparation, classes: int, run: FinetuneRun
) -> tuple[Segmenter, str]:
    """Put a decoder on the encoder; say whether it is ``fresh`` or ``pretrained``.

    Fresh weights are the seed's own, the same for all recipes.

    Raises:
        UserError: if the pre-trained decoder is of another make.
    """
    task = cast(LesionConfig, run.budget.task)
    with torch_stream(torch_seed(run.seed, "finetune", "decoder")):
        size = seen.height, seen.width
        start = Segmenter(encoder, classes, size, seen.channels, task.network)
    kept = decoder_of(encoder)
    if task.decoder == "fresh":
        return start, "fresh"
    if not kept:
        log.info("%s: the encoder has no decoder beside it; a fresh one is taken", run.recipe)
        return start, "fresh"
    fresh = start.decoder.state_dict()
    last = {name: each for name, each in fresh.items() if name.startswith(LAST)}
    tensors = {name: each for name, each in kept.items() if not name.startswith(LAST)} | last
    try:
        check_fit(start.decoder, tensors, "the decoder")
    except UserError as error:
        raise UserError(
            f"{run.source}.finetune.task.decoder: pretrained, but that of {run.recipe} was "
            "another one; pre-train with `skips: true` and a lean decoder, or say fresh\n"
            f"{error}"
        ) from None
    start.decoder.load_state_dict(tensors)
    number = len(tensors) - len(last)
    log.info(
        "%s: %d of %d tensors of the decoder are pre-trained", run.recipe, number, len(tensors)
    )
    return start, "pretrained"
