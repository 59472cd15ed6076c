"""All scans of a run, read and prepared as one network sees them, for predict and embed."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from torch import Tensor, nn

from maskwise.bounds import Within
from maskwise.config import parse
from maskwise.errors import UserError, shown
from maskwise.prediction.contracts import Look, Refused, Scan
from maskwise.prediction.reading import (
    AT_ONCE,
    Colour,
    RefusedError,
    Way,
    check_modality,
    see,
    unseen,
)
from maskwise.prediction.scans import Scans, find_scans, is_scan, list_scans
from maskwise.preparation import Preparation
from maskwise.progress import bar, note
from maskwise.scans.one import below_root
from maskwise.scans.reading import SEEN, Reading
from maskwise.wording import count
from maskwise.workers import LONGEST, SECONDS_PER_FILE, Pool

SCANS_AT_ONCE = 64


@dataclass(frozen=True)
class LookConfig:
    """How scans are found and read."""

    modality: str | None = None
    """What the scans are, where you know it; refused unless it is the model's."""
    column: str = "path"
    """The table's column of paths."""
    root: Path | None = None
    """What a table's paths are relative to; its own folder by default."""
    colour: Colour = "refuse"
    """What becomes of coloured scans that a model for grey ones is to look at."""
    reading: Reading | None = None
    """How files are read that leave a choice; by default as the model's images were."""
    seconds_per_file: Annotated[float, Within(0.1, LONGEST)] = SECONDS_PER_FILE
    """A scan that takes longer to read is refused."""


def places_of(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    """Return what a script was given, a folder, a table, a file or files, as a list.

    Raises:
        UserError: if it is none of them.
    """
    places = [paths] if isinstance(paths, str | Path) else list(paths)
    if not places or not all(isinstance(place, str | Path) for place in places):
        raise UserError(f"paths: {shown(paths)} is not a folder, table, file or list of files")
    return [Path(place) for place in places]


def commonest(reasons: Iterable[str]) -> str:
    """Return the three commonest of ``reasons``, and how often each was given."""
    counted = Counter(reasons).most_common(3)
    return "; ".join(f"{count(times, 'time')}: {why}" for why, times in counted)


@contextmanager
def not_learning(network: nn.Module) -> Iterator[None]:
    """Put ``network`` into eval mode, and leave it in its own."""
    learning = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(learning)


def find(
    places: Sequence[Path], config: LookConfig, reading: Reading, pool: Pool, block: str
) -> tuple[Scans, dict[str, str]]:
    """List the scans of a folder, a table or a file, or of several files.

    Args:
        places: one of the former, or any number of files.
        config: how tables are read.
        reading: how ambiguous files are read.
        pool: whose processes look into files.
        block: of the parameters, for messages.

    Returns:
        the scans, and of files that were named one by one what they are called instead of
        their path in ``Scans``: as they were given.
    """
    if len(places) == 1 and not is_scan(places[0]):
        found = find_scans(places[0], config.column, config.root, pool, reading, block)
        return found, {}
    named = {below_root(place): str(place) for place in places}
    return list_scans(places, reading, pool), named


def check_known_modality(
    config: LookConfig, preparation: Preparation, model: str, block: str
) -> None:
    """Raise ``UserError`` where the user knows scans to be of another modality."""
    try:
        check_modality(config.modality, preparation.modality)
    except RefusedError as error:
        raise UserError(f"{block}.modality: {error} ({model})") from None


def reading_of(config: LookConfig, preparation: Preparation, model: str, block: str) -> Reading:
    """Return how files are read: as the model's images were, or as the user says.

    Raises:
        UserError: where the user says what would make images look unlike the model's.
    """
    learnt_from = parse(Reading, preparation.reading, f"{model}: reading")
    if config.reading is None:
        return learnt_from
    for option in SEEN:
        asked, had = getattr(config.reading, option), getattr(learnt_from, option)
        if asked != had:
            raise UserError(
                f"{block}.reading.{option}: is {asked}, but the images that the model learnt "
                f"from were read with {had} ({model}); leave {block}.reading out, or write "
                f"{option}: {had}"
            )
    return config.reading


@dataclass(frozen=True)
class Looking:
    """Scans and the network that looks at them."""

    found: Scans
    preparation: Preparation
    """As the network's file says."""
    device: torch.device
    """Of its weights."""
    config: LookConfig
    reading: Reading
    pool: Pool
    block: str
    """Of the parameters, for messages and the bar."""

    def read(self, scans: Sequence[Scan]) -> Iterator[Look | Refused]:
        """Yield what the network sees of each scan, or the reason why it sees nothing."""
        way = Way(
            self.found.root, self.preparation, self.config.colour, self.reading, self.block
        )
        chunks = (scans[start : start + AT_ONCE] for start in range(0, len(scans), AT_ONCE))
        lost = partial(unseen, self.block)
        return chain.from_iterable(self.pool.map(partial(see, way), chunks, lost))

    def batches(self, refused: dict[int, Refused]) -> Iterator[dict[int, Look]]:
        """Yield what is seen of the scans, some at a time, by their place in ``found``.

        Why nothing is seen of the others is put into ``refused``.
        """
        scans, steps = self.found.scans, range(0, len(self.found.scans), SCANS_AT_ONCE)
        name = self.found.root.name
        with bar(self.block, name, len(steps), SCANS_AT_ONCE, images=len(scans)) as shown:
            looks = self.read(scans)
            for start in steps:
                seen: dict[int, Look] = {}
                for place, look in enumerate(islice(looks, SCANS_AT_ONCE), start):
                    if isinstance(look, Refused):
                        refused[place] = look
                    else:
                        seen[place] = look
                if seen:
                    yield seen
                shown.step()
            note(**{f"{self.block}_images_per_second": shown.images_per_second})

    def passed_over(self) -> dict[int, Refused]:
        """Return why files that are no scans are none, by the rows behind those of scans."""
        rows = enumerate(self.found.passed_over, len(self.found.scans))
        return {
            row: Refused(f"no scan: {why.detail}", f"no scan: {why.nameless}")
            for row, (_, why) in rows
        }

    def images(self, looks: Sequence[Look]) -> Tensor:
        """Return what was seen as the network takes it, normalised, ``(B, C, H, W)``."""
        intensities = np.stack([look.intensities for look in looks])
        return torch.from_numpy(self.preparation.normalised(intensities)).to(self.device)
