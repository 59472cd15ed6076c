"""What `make docs` says of a site, and of the wheel."""

import runpy
import subprocess
import sys
from pathlib import Path

from project import PROJECT

SCRIPT = PROJECT / ".ci/site.py"
WHOLE = """<html><head><link rel="stylesheet" href="a.css"><link rel="canonical" href="https://a.b">
</head><body id="top"><a href="sub/b.html#there">b</a><a href="https://elsewhere.org">c</a>
<img src="data:image/png;base64,AA"><script src="sub/s.js"></script></body></html>"""


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


def test_the_wheel_is_tried_with_what_it_asks_for_and_no_more() -> None:
    script = runpy.run_path(str(PROJECT / ".ci/wheel.py"))
    code = script["lines"]()
    assert "maskwise.load_encoder" in code
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
