"""The prepared images of any source of the project, opened when somebody names it."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from maskwise.artefacts.labels import label_columns
from maskwise.artefacts.manifest import read_manifest
from maskwise.artefacts.splits import for_seed, read_splits
from maskwise.artefacts.store import Store, open_store
from maskwise.errors import UserError, hint, shown


@dataclass(frozen=True)
class PreparedSources:
    """Where they lie; ``{source}`` stands for the name."""

    store: str
    splits: str
    manifest: str

    def names(self) -> list[str]:
        """Return the sources that have a store."""
        before, _, after = self.store.partition("{source}")
        found = Path(before).glob(f"*{after}/store.json") if Path(before).is_dir() else ()
        depth = len(Path(before).parts)
        return sorted(path.parts[depth] for path in found)

    def open_store(self, source: str, where: str) -> Store:
        """Open the store of ``source``.

        Raises:
            UserError: beginning with ``where``, if it has none.
        """
        names = self.names()
        if source not in names:
            known = f"; {hint(source, names)}" if names else ""
            raise UserError(
                f"{where}: the source {shown(source)} has no prepared images{known}; make "
                f"them: kedro run --pipelines {source} --tags generate,ingest,preprocess"
            )
        return open_store(_place(self.store, source))

    def rows(self, source: str, seed: int, store: Store) -> pd.DataFrame:
        """Return what is known of each image of ``store``, in its order.

        ``id, path, frame, patient, group, split`` (of ``seed``, where there are folds), then
        the labels, prefix included.
        """
        manifest = read_manifest(_place(self.manifest, source))
        splits = for_seed(read_splits(_place(self.splits, source)), seed)
        index = store.index.reset_index(drop=True)
        known = index[["image_id"]].merge(
            manifest[["image_id", "path", "frame", "patient"]], on="image_id", how="left"
        )
        known = known.merge(splits[["image_id", "split"]], on="image_id", how="left")
        if len(known) != len(index) or known["path"].isna().any():
            raise UserError(
                f"{store.path}: its images are not those of the manifest; run preprocess again"
            )
        labels = label_columns(index)
        table = pd.concat([known, index[["group", *labels]]], axis=1)
        table = table.rename(columns={"image_id": "id"})
        return table[["id", "path", "frame", "patient", "group", "split", *labels]]


def _place(template: str, source: str) -> Path:
    return Path(template.replace("{source}", source))  # a folder's own name may hold braces
