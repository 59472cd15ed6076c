"""A template of the package becomes one self-contained page."""

import re
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape


def render_html(template: str, source: str, generated: bool, **content: Any) -> str:
    """Fill in a template with style and script inside.

    Args:
        template: its file's name.
        source: whose page it is.
        generated: whether the project itself made the images.
        content: what the template asks for beside these.
    """
    loader = PackageLoader("maskwise.report")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["prose"] = prose
    return environment.get_template(template).render(
        source=source,
        generated=generated,
        # The package's own files, no word of the user's data in them.
        style=Markup(loader.get_source(environment, "style.css")[0]),
        script=Markup(loader.get_source(environment, "copy.js")[0]),
        **content,
    )


def prose(text: str) -> Markup:
    """Return a sentence as HTML; what stands between backticks is to be typed as it is."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))
