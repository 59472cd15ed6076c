"""Refuse a site that leads nowhere, or asks anything of a server when a page is opened.

    python .ci/site.py FOLDER

MkDocs has held the links of the Markdown (`--strict`). Here it is the HTML: every link inside
the site has its file, and every anchor its element; every script, sheet, font and picture lies
in the site. Links that a reader may follow elsewhere are left alone.
"""

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "iframe": ("src",),
    "source": ("src", "srcset"),
    "video": ("src", "poster"),
    "audio": ("src",),
    "embed": ("src",),
    "object": ("data",),
}
"""Element -> attributes that a browser follows by itself."""
FETCHED = frozenset(
    {"stylesheet", "icon", "preload", "prefetch", "preconnect", "dns-prefetch", "modulepreload"}
)
"""What a `link` is where a browser follows it by itself."""
IN_SHEETS = re.compile(r"""url\(\s*["']?((?:https?:)?//[^"')\s]+)|@import\s+["']([^"']+)""")


class Page(HTMLParser):
    """What one page loads, where it leads, and what can be led to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.leads: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        own = {name: value or "" for name, value in attributes}
        if "id" in own:
            self.ids.add(own["id"])
        if tag == "a" and "href" in own:
            self.leads.append(own["href"])
        self.loads += [own[name] for name in LOADED.get(tag, ()) if name in own]
        if tag == "link" and FETCHED & set(own.get("rel", "").lower().split()):
            self.loads.append(own.get("href", ""))
        self.loads += [found[0] for found in IN_SHEETS.findall(own.get("style", ""))]


def problems(site: Path) -> Iterator[str]:
    """Yield a sentence per thing that is wrong."""
    pages = {
        path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))
    }
    if not pages:
        yield f"{site}: holds no page"
    for path, page in pages.items():
        name = path.relative_to(site)
        for target in page.loads:
            if _is_elsewhere(target):
                yield f"{name}: loads {target}"
            elif not _file(site, path, target).exists():
                yield f"{name}: loads {target}, which is not there"
        for target in page.leads:
            yield from _dead(site, path, target, pages)
    for sheet in sorted(site.rglob("*.css")):
        for found in IN_SHEETS.findall(sheet.read_text(encoding="utf-8")):
            if _is_elsewhere(found[0] or found[1]):
                yield f"{sheet.relative_to(site)}: loads {found[0] or found[1]}"


def _dead(site: Path, page: Path, target: str, pages: dict[Path, Page]) -> Iterator[str]:
    parts = urlsplit(target)
    if parts.scheme or parts.netloc or page.name == "404.html":
        return  # elsewhere; the page of what is missing is shown at any address
    file = _file(site, page, parts.path) if parts.path else page
    name = page.relative_to(site)
    if not file.exists():
        yield f"{name}: leads to {target}, which is not there"
    elif parts.fragment and file in pages and unquote(parts.fragment) not in pages[file].ids:
        yield f"{name}: leads to {target}, and there is no such place in that page"


def _file(site: Path, page: Path, target: str) -> Path:
    path = unquote(urlsplit(target).path)
    if target.startswith("data:"):
        return page
    found = site / path.lstrip("/") if path.startswith("/") else (page.parent / path).resolve()
    return found / "index.html" if found.is_dir() else found


def _is_elsewhere(target: str) -> bool:
    return bool(urlsplit(target).netloc) or urlsplit(target).scheme in ("http", "https", "ftp")


def main(folder: str) -> int:
    """Print what is wrong; return the exit status."""
    site = Path(folder).resolve()
    wrong = list(problems(site))
    number = sum(1 for _ in site.rglob("*.html"))
    print("\n".join(wrong) or f"{number} pages, every link alive, nothing asked of a server")
    return min(len(wrong), 1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
