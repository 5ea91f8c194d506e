"""The page of all packages that an install brings, with their licences: `python benchmarks/licences.py > docs/licences.md`.

It reads what the packages that are installed here say of themselves: first those that this package asks for, then those that they ask for.
"""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution, requires

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

OURS = "junkdna-harness"
LONGEST = 60  # characters of a name; what is longer is the licence itself


def licence(package: str) -> str:
    """The licence that an installed package declares, in its own words."""
    said = distribution(package).metadata
    if expression := said.get("License-Expression"):
        return str(expression)
    classified = [
        value.rpartition(" :: ")[2]
        for value in said.get_all("Classifier") or []
        if value.startswith("License :: ") and not value.endswith("OSI Approved")
    ]
    named = " ".join((said.get("License") or "").split())
    if named and len(named) <= LONGEST and named.lower() != "unknown":
        return named
    return ", ".join(classified) or "not said"


def asked_for(package: str) -> list[str]:
    """The packages that `package` needs here, without its extras."""
    found = (Requirement(text) for text in requires(package) or [])
    return sorted(
        {
            canonicalize_name(one.name)
            for one in found
            if one.marker is None or one.marker.evaluate({"extra": ""})
        }
    )


def closure(direct: list[str]) -> list[str]:
    """What the packages in `direct` bring along, without themselves."""
    seen, waiting = set(direct), list(direct)
    while waiting:
        try:
            further = asked_for(waiting.pop())
        except PackageNotFoundError:
            continue
        waiting += [name for name in further if name not in seen]
        seen.update(further)
    return sorted(seen - set(direct))


def table(packages: list[str]) -> list[str]:
    """Rows with name, version and licence of those that are installed."""
    rows = ["| package | version | licence |", "| --- | --- | --- |"]
    for name in packages:
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue
        rows.append(f"| {name} | {found.version} | {re.sub(r'[|]', '/', licence(name))} |")
    return rows


def page() -> str:
    """The whole page, in Markdown."""
    direct = asked_for(OURS)
    lines = [
        "# Licences of the packages that an install brings", "",
        "As the packages themselves say. `python benchmarks/licences.py > docs/licences.md` writes this page anew, for what is installed where "
        "it runs; this one is of Linux with a CPU, where torch brings none of NVIDIA's libraries.", "",
        "junkdna-harness is under Apache-2.0. It contains no code of these packages; they are installed beside it.", "",
        "## Asked for by junkdna-harness", "", *table(direct), "",
        "## Brought along by those", "", *table(closure(direct)),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")
