"""The page: one file, with nothing from elsewhere."""

import base64
import hashlib
from pathlib import Path
from typing import NamedTuple

_FOLDER = Path(__file__).parent / "templates"


class Page(NamedTuple):
    """`html`, and the policy that lets a browser use this style and this script, and nothing else."""

    html: str
    content_security_policy: str


def _page() -> Page:
    html, style, script = (
        (_FOLDER / name).read_text(encoding="utf-8")
        for name in ("page.html", "page.css", "page.js")
    )
    policy = {
        "default-src": "'none'",
        "style-src": _hash(style),
        "script-src": _hash(script),
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


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


PAGE = _page()
