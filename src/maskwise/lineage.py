"""`make lineage`: kedro-viz as a static site that can be put on any web server.

What kedro-viz 12.5 builds asks Google for its fonts, lacks ``api/metadata`` (so that the
console shows an error), names files of the machine that built it, and opens under a tour that
covers a quarter of the page. All four are corrected after the build.
"""

import json
import logging
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from kedro.framework.project import LOGGING  # noqa: F401  sets up logging as `kedro` does
from kedro.utils import find_kedro_project

from maskwise.errors import UserError

log = logging.getLogger(__name__)

_FONTS = re.compile(r"<link[^>]*fonts\.g(?:oogleapis|static)\.com[^>]*/>\s*")
_NO_TOUR = """<script>
  // kedro-viz keeps its settings here; the tour stays available in its settings panel.
  const settings = JSON.parse(localStorage.getItem("KedroViz") || "{}");
  if (settings.showFeatureHints === undefined) {
    settings.showFeatureHints = false;
    localStorage.setItem("KedroViz", JSON.stringify(settings));
  }
</script>
"""
_METADATA = {
    "has_missing_dependencies": False,
    "package_compatibilities": [
        {"package_name": name, "package_version": "0", "is_compatible": True}
        for name in ("fsspec", "kedro-datasets")
    ],
}


def build(site: Path, project: Path) -> None:
    """Build the project's lineage into ``site``, replacing what is there.

    Raises:
        UserError: if kedro-viz could not build it.
    """
    with tempfile.TemporaryDirectory(prefix=".site-", dir=site.parent) as folder:
        built = Path(folder) / "site"
        _run_viz(project)
        shutil.move(project / "build", built)
        mend(built, project)
        shutil.rmtree(site, ignore_errors=True)
        built.rename(site)
    log.info("The lineage is in %s", site / "index.html")


def mend(site: Path, project: Path) -> None:
    """Take away what does not belong on a published page, and add what is missing."""
    index = site / "index.html"
    text = _FONTS.sub("", index.read_text(encoding="utf-8"))
    index.write_text(text.replace("<script", f"{_NO_TOUR}<script", 1), encoding="utf-8")
    (site / "api" / "metadata").write_text(json.dumps(_METADATA), encoding="utf-8")
    (site / "telemetry.html").unlink(missing_ok=True)
    for answer in (site / "api").rglob("*"):
        if answer.is_file():
            content = without_folder(answer.read_text(encoding="utf-8"), project)
            answer.write_text(with_short_names(content), encoding="utf-8")


def without_folder(content: str, project: Path) -> str:
    """Return the JSON ``content`` with paths relative to ``project``."""
    quoted = json.dumps(str(project))[1:-1]
    return content.replace(f"{quoted}/", "").replace(quoted, ".")


def with_short_names(content: str) -> str:
    """Return a graph's JSON with data sets called as in their own source: ``scores``."""
    answer = json.loads(content)
    if "layers" not in answer:  # of all answers only a graph has layers
        return content
    for node in answer["nodes"]:
        if node["type"] == "data":
            source, _, rest = node["name"].partition(".")
            node["name"] = rest or source
    return json.dumps(answer)


def _run_viz(project: Path) -> None:
    shutil.rmtree(project / "build", ignore_errors=True)
    command = [sys.executable, "-m", "kedro", "viz", "build", "--include-previews"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    if not (project / "build" / "index.html").is_file():
        raise UserError(f"kedro viz build failed:\n{done.stdout}{done.stderr}")


def main() -> None:
    """Build into the folder named on the command line, ``site`` if none is."""
    project = find_kedro_project(Path.cwd())
    if project is None:
        sys.exit("Run this inside the project's folder.")
    site = project / (sys.argv[1] if len(sys.argv) > 1 else "site")
    try:
        build(site, project)
    except UserError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
