"""What `make docs` says of a site, and of the wheel."""

import runpy
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from project import PROJECT

SCRIPT = PROJECT / ".ci/site.py"
_PROBLEMS = runpy.run_path(str(SCRIPT))["problems"]
WHOLE = """<html><head><link rel="stylesheet" href="a.css"><link rel="canonical" href="https://a.b">
</head><body id="top"><a href="sub/b.html#there">b</a><a href="https://elsewhere.org">c</a>
<img src="data:image/png;base64,AA"><script src="sub/s.js"></script></body></html>"""


def problems(site: Path) -> list[str]:
    """Return what the script says of a site."""
    return list(_PROBLEMS(site))


def check(site: Path, **pages: str) -> tuple[int, list[str]]:
    (site / "sub").mkdir(parents=True, exist_ok=True)
    (site / "a.css").write_text("p { background: url('sub/s.js') }", encoding="utf-8")
    (site / "sub/s.js").write_text("", encoding="utf-8")
    for name, text in {"index": WHOLE, "sub/b": "<p id='there'>b</p>", **pages}.items():
        (site / f"{name}.html").write_text(text, encoding="utf-8")
    command = [sys.executable, str(SCRIPT), str(site)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.splitlines()


def test_a_site_that_is_whole_and_asks_nothing_of_a_server_passes(tmp_path: Path) -> None:
    said = "2 pages, every link alive, nothing asked of a server"
    assert check(tmp_path / "site") == (0, [said])


def test_what_leads_nowhere_or_asks_a_server_is_named(tmp_path: Path) -> None:
    bad = """<link rel="preconnect" href="https://fonts.org"><script src="//cdn.org/x.js">
    </script><img src="gone.png"><a href="sub/b.html#nowhere">x</a><a href="gone.html">y</a>
    <p style="background: url(http://a.org/b.png)"></p>"""
    site = tmp_path / "site"
    site.mkdir()
    (site / "web.css").write_text('@import "https://a.org/c.css";', encoding="utf-8")
    code, said = check(site, bad=bad)
    assert code == 1
    assert said == [
        "bad.html: loads https://fonts.org",
        "bad.html: loads //cdn.org/x.js",
        "bad.html: loads gone.png, which is not there",
        "bad.html: loads http://a.org/b.png",
        "bad.html: leads to sub/b.html#nowhere, and there is no such place in that page",
        "bad.html: leads to gone.html, which is not there",
        "web.css: loads https://a.org/c.css",
    ]


@pytest.mark.parametrize(
    "element",
    [
        '<script src="{}"></script>',
        '<img src="{}">',
        '<img srcset="{}">',
        '<iframe src="{}"></iframe>',
        '<picture><source srcset="{}"></picture>',
        '<video src="{}"></video>',
        '<video poster="{}"></video>',
        '<audio src="{}"></audio>',
        '<embed src="{}">',
        '<object data="{}"></object>',
        '<link rel="stylesheet" href="{}">',
        '<link rel="shortcut icon" href="{}">',
        '<link rel="preload" href="{}">',
        '<p style="background: url({})"></p>',
    ],
)
@pytest.mark.parametrize("address", ["https://cdn.org/x", "//cdn.org/x", "http://cdn.org/x"])
def test_whatever_a_browser_loads_by_itself_must_lie_in_the_site(
    element: str, address: str, tmp_path: Path
) -> None:
    page = tmp_path / "a.html"
    page.write_text(element.format(address), encoding="utf-8")
    assert problems(tmp_path) == [f"a.html: loads {address}"]
    page.write_text(element.format("data:image/png;base64,AA"), encoding="utf-8")
    assert problems(tmp_path) == []


def test_a_reader_may_be_led_elsewhere_and_to_a_folder_s_own_page(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/index.html").write_text('<p id="a b">x</p>', encoding="utf-8")
    links = ("https://a.org#x", "mailto:me@a.org", "sub/", "/sub/", "sub/#a%20b", "#here")
    text = "".join(f'<a href="{link}">x</a>' for link in links)
    (tmp_path / "a.html").write_text(f'<p id="here">{text}</p>', encoding="utf-8")
    assert problems(tmp_path) == []


def test_a_site_without_a_page_is_no_site(tmp_path: Path) -> None:
    assert problems(tmp_path) == [f"{tmp_path}: holds no page"]


def a_wheel(folder: Path) -> Path:
    """Write a wheel of one module, which needs one package that needs one of its own."""
    path = folder / "tiny-1-py3-none-any.whl"
    needs = ("Jinja2", "pandas; extra == 'more'", "numpy; python_version < '3'")
    lines = ["Name: tiny", "Version: 1", *(f"Requires-Dist: {need}" for need in needs)]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny.py", "import jinja2, markupsafe")
        archive.writestr("tiny-1.dist-info/METADATA", "\n".join(lines))
    return path


def test_the_wheel_is_tried_with_what_it_asks_for_and_no_more(tmp_path: Path) -> None:
    script, wheel = runpy.run_path(str(PROJECT / ".ci/wheel.py")), a_wheel(tmp_path)
    # Pillow, which is no need of the wheel's, reads the picture of the lines.
    assert set(script["needed"](wheel)) == {"jinja2", "markupsafe", "pillow"}
    python = script["empty_environment"](tmp_path / "venv", wheel)
    tried = {
        name: subprocess.run([python, "-c", f"import {name}"], check=False, capture_output=True)
        for name in ("tiny", "PIL", "numpy", "yaml")
    }
    assert [name for name, done in tried.items() if not done.returncode] == ["tiny", "PIL"]


def test_the_lines_of_the_wheel_are_ten_of_the_page_and_load_an_encoder() -> None:
    code = runpy.run_path(str(PROJECT / ".ci/wheel.py"))["lines"]()
    assert code in (PROJECT / "docs/hand_on.md").read_text(encoding="utf-8")
    assert "maskwise.load_encoder" in code
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    compile(code, "docs/hand_on.md", "exec")
