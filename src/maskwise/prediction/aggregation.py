"""One answer per patient, or per volume, out of those to its scans."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maskwise.errors import UserError
from maskwise.prediction.contracts import ModelKind
from maskwise.prediction.scans import Scans

Per = Literal["volume", "patient"]
Rule = Literal["mean", "maximum"]
RULES: dict[Rule, str] = {
    "mean": "the mean over the scans that were not refused",
    "maximum": "the largest of any scan, so that those of several classes need not add to 1",
}
WORST = "the smallest of any scan: the scan that fits worst speaks for all"


@dataclass(frozen=True)
class Units:
    """Which scans belong together."""

    per: Per
    names: "pd.Series[str]"
    """Of every scan, in the order of the table."""
    patients: "pd.Series[str] | None" = None
    """Whose every volume is, "" where nobody said: two patients may name theirs alike."""

    def numbered(self) -> tuple[NDArray[np.int64], pd.DataFrame]:
        """Return each scan's unit, from 0 in the order of first scans, and the units' names."""
        named = pd.DataFrame({self.per: self.names})
        if self.patients is not None:
            named["patient"] = self.patients
        numbers = named.groupby(list(named.columns), sort=False).ngroup()
        return numbers.to_numpy(np.int64), named.drop_duplicates(ignore_index=True)


def units_of(scans: Scans, per: Per) -> Units:
    """Return the patient or volume of each scan.

    A table names them in columns ``patient`` and ``volume``; without the latter a volume is a
    file. Volumes of one name are different ones where their patients are. Whom the files of a
    folder belong to is not guessed.

    Raises:
        UserError: if no patients are named, or of some scans none.
    """
    names = [getattr(scan, per) for scan in scans.scans]
    if per == "volume":
        names = [name or scan.path for name, scan in zip(names, scans.scans, strict=True)]
    unknown = sum(name is None for name in names)
    if unknown == len(names):
        raise UserError(
            "predict.per: is patient, but nothing says whose the scans are; give "
            "predict.scans a table with the columns path and patient"
        )
    if unknown:
        row = next(row for row, name in enumerate(names, start=1) if name is None)
        raise UserError(
            f"predict.per: is patient, but row {row} of the table names none"
            + (f", nor do {unknown - 1} others" if unknown > 1 else "")
        )
    patients = [scan.patient or "" for scan in scans.scans]
    if per == "patient" or not any(patients):
        return Units(per, pd.Series(names, dtype="str"))
    return Units(per, pd.Series(names, dtype="str"), pd.Series(patients, dtype="str"))


def aggregate(kind: ModelKind, table: pd.DataFrame, units: Units, rule: Rule) -> pd.DataFrame:
    """Return one row per patient or volume, in the order of its first scan.

    Columns: what ``units.per`` says (of volumes also ``patient``, where any is named),
    ``scans`` (how many were looked at) and ``refused`` (how many were not), then those of the
    table of scans without ``path`` and ``frame``. One whose scans were all refused has no
    prediction.

    Args:
        kind: of the model, which judges anew by the numbers of several scans.
        table: of scans; rows behind the units' are files that are no scans.
        units: of its first rows.
        rule: a name in ``RULES``; ``kind.worst`` are taken by the smallest whatever it says.
    """
    unit, names = units.numbered()
    named = table.iloc[: len(unit)].assign(_unit=unit)
    looked_at = named["refused"].eq("")
    groups = named[looked_at].groupby("_unit", sort=False)
    measured = [name for name in kind.measured if name not in kind.worst]
    how = {"mean": "mean", "maximum": "max"}[rule]
    numbers = groups[measured].agg(how).join(groups[list(kind.worst)].min())
    counts = looked_at.groupby(named["_unit"]).agg(["sum", "size"])
    judged = kind.judge(numbers).reindex(names.index)
    columns = ["prediction", *kind.numbers, *kind.sets]
    texts = ["prediction", *kind.sets]
    judged = judged[columns].fillna(dict.fromkeys(texts, ""))
    front = names.assign(scans=counts["sum"], refused=counts["size"] - counts["sum"])
    found = front.join(judged)
    return found.assign(**{name: table[name].iloc[0] for name in ("model", "data_hash")})
