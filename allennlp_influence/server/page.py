"""The page: one file, with nothing from elsewhere. It is the explorer's, live."""

from importlib import resources
from typing import NamedTuple

from allennlp_influence.report import assets

_STATIC = resources.files("allennlp_influence.server") / "static"


class Page(NamedTuple):
    """`html`, and the policy that lets a browser use this style and this script, and nothing else."""

    html: str
    content_security_policy: str


def _page() -> Page:
    html = (_STATIC / "page.html").read_text(encoding="utf-8")
    style = assets.style() + (_STATIC / "live.css").read_text(encoding="utf-8")
    script = assets.script("live.js", _STATIC)
    policy = {
        "default-src": "'none'",
        "style-src": assets.content_hash(style),
        "script-src": assets.content_hash(script),
        "connect-src": "'self'",
        "img-src": "data:",  # the empty icon
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return Page(
        html.replace("{{ style }}", style).replace("{{ script }}", script),
        "; ".join(f"{directive} {source}" for directive, source in policy.items()),
    )


PAGE = _page()
