"""What a replicate begins with: its encoder's weights, and its images as these expect them."""

import json
import logging
from dataclasses import asdict, dataclass
from typing import Any, cast

from maskwise.artefacts.encoder import fill
from maskwise.artefacts.store import Store
from maskwise.artefacts.weights import Weights, read_weights
from maskwise.encoders.contract import Encoder
from maskwise.encoders.metadata import EncoderMetadata
from maskwise.errors import UserError, shown
from maskwise.pretrain.recipe import Recipe

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Beginning:
    """The images of one replicate, and the weights that its encoder begins with."""

    store: Store
    """Normalised as the weights expect it; without any, by the replicate's training images."""
    weights: Weights | None
    mean_pixel: tuple[float, ...]
    """A channel: the mean of the training images, normalised. 0 unless the weights expect
    another mean."""

    def load(self, encoder: Encoder, replicate: str) -> None:
        """Load the weights, if there are any, into an encoder that was just built."""
        if self.weights is not None:
            name = self.weights.origin.name
            told = fill(encoder, self.weights.tensors, name)
            log.info("pretrain %s: loaded %s of %s.", replicate, told, name)


def begin(store: Store, recipe: Recipe, name: str, source: str, seed: int) -> Beginning:
    """Read the weights that a recipe names, and normalise the images as they expect it.

    Args:
        store: The source's.
        recipe: Parsed.
        name: The recipe's.
        source: The source's.
        seed: With folds, each seed has a mean of its own images.

    Raises:
        UserError: if the weights cannot be had, do not fit, or may have seen test images.
    """
    own = store.for_seed(seed)
    weights = weights_of(recipe, name, own.header.preparation.channels, seed)
    if weights is None:
        return Beginning(own, None, (0.0,) * own.header.preparation.channels)
    where = f"{name}.encoder.weights"
    _check_trained(weights, store, source, seed, where)
    _check_fair(weights, recipe, source, where)
    _tell_other_options(weights, recipe, where)
    if weights.mean is None or weights.std is None:
        log.warning(
            "pretrain %s seed %d: nothing is known of how the images were normalised that %s "
            "learnt from; here they are by their own mean and deviation.",
            name,
            seed,
            weights.origin.name,
        )
        return Beginning(own, weights, (0.0,) * own.header.preparation.channels)
    means = zip(own.header.preparation.mean, weights.mean, weights.std, strict=True)
    mean_pixel = tuple((own_mean - mean) / std for own_mean, mean, std in means)
    return Beginning(own.normalised_by(weights.mean, weights.std), weights, mean_pixel)


def weights_of(recipe: Recipe, name: str, channels: int, seed: int) -> Weights | None:
    """Read the weights that a recipe names; None where it names none.

    Raises:
        UserError: if they cannot be had or do not fit.
    """
    encoder = recipe.encoder
    if encoder.start.weights is None:
        return None
    return read_weights(
        encoder.start.weights,
        recipe.names["encoder"],
        encoder.architecture,
        channels,
        seed,
        f"{name}.encoder.weights",
    )


def _tell_other_options(weights: Weights, recipe: Recipe, where: str) -> None:
    """Warn where weights fit, but were trained in an encoder that computes otherwise.

    A stride has no weight: another one is often meant, and must not go unseen.
    """
    if weights.trained is None:
        return
    then = weights.trained.arguments
    now = json.loads(json.dumps(asdict(cast(Any, recipe.encoder.architecture))))
    other = [
        f"{name} {shown(then[name])} (here {shown(now[name])})"
        for name in sorted(now.keys() & then.keys())
        if json.loads(json.dumps(then[name])) != now[name]
    ]
    if other:
        log.warning(
            "%s: %s: these weights were trained with %s. They fit, but compute something else.",
            where,
            weights.origin.name,
            ", ".join(other),
        )


def _check_trained(weights: Weights, store: Store, source: str, seed: int, where: str) -> None:
    """Refuse weights that may have seen this replicate's test images."""
    trained: EncoderMetadata | None = weights.trained
    if trained is None:
        return
    where = f"{where}: {weights.origin.name}"
    if trained.source != source:
        log.warning(
            "%s: pre-trained on source %s; where that holds images of %s, these weights may "
            "have seen its test part.",
            where,
            trained.source,
            source,
        )
    elif trained.data_hash != store.header.data_hash or trained.seed != seed:
        raise UserError(
            f"{where}: comes from another seed or split of {source}, and may have seen "
            "this test part; run the recipe that it comes from again, and write {seed} in its "
            "path"
        )


def _check_fair(weights: Weights, recipe: Recipe, source: str, where: str) -> None:
    """Refuse weights of this source that know what the recipe does not say that it knows."""
    trained = weights.trained
    if trained is None or trained.source != source:
        return
    where = f"{where}: {weights.origin.name}"
    if trained.told_lesions:
        raise UserError(
            f"{where}: comes from {trained.recipe}, which was told the lesions' outlines, a "
            "ceiling that no other recipe may begin with; name another file"
        )
    if trained.transductive and not recipe.transductive:
        raise UserError(
            f"{where}: comes from {trained.recipe}, which saw the test images; name another "
            "file, or say transductive: true here too, which the report prints in red"
        )
