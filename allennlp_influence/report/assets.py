"""The page's own scripts and style, each put together into one text: a page without a server can't load modules."""

import base64
import hashlib
import re
from importlib import resources
from pathlib import Path
from typing import Dict

_STATIC = resources.files("allennlp_influence.report") / "static"
_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([\w.]+)";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const) (\w+))", re.MULTILINE)


def script(main: str = "main.js", folder: Path = _STATIC) -> str:
    """
    A module of `folder` with all that it imports from there and from `static/`. Each becomes a function that gives what
    the module exports, so that their other names stay apart.
    """
    modules: Dict[str, str] = {}
    _add(main, folder, modules)
    return '"use strict";\nconst modules = {};\n' + "".join(modules.values())


def _add(name: str, folder: Path, modules: Dict[str, str]) -> None:
    if name in modules:
        return
    path = folder / name
    source = (path if path.is_file() else _STATIC / name).read_text(encoding="utf-8")
    for _, imported in _IMPORT.findall(source):
        _add(imported, folder, modules)
    source = _IMPORT.sub(r'const {\1} = modules["\2"];', source)
    exported = ", ".join(_EXPORT.findall(source))
    source = _EXPORT.sub("", source)
    modules[name] = f'modules["{name}"] = (() => {{\n{source}return {{ {exported} }};\n}})();\n'


def style() -> str:
    """The style of the page."""
    return (_STATIC / "explorer.css").read_text(encoding="utf-8")


def content_hash(text: str) -> str:
    """What a Content-Security-Policy calls an inline script or style, the only one of its kind that it then allows."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
