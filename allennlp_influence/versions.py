"""
Whether what is installed is what this package runs on.

AllenNLP imports its plugins whatever command is run, and a plugin that fails takes all commands with it. So the
versions are compared before anything that depends on them is imported.
"""

from importlib import metadata
from typing import Optional

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

#: The same ranges as in setup.cfg, and AllenNLP, which can't be there: its own pins contradict them.
REQUIREMENTS = {
    "allennlp": ">=2.10.1,<2.11",
    "torch": ">=2.6,<2.12",
    "torchvision": ">=0.21,<0.27",
    "transformers": ">=4.41,<4.44",
    "numpy": ">=2.0",
    "spacy": ">=3.8,<3.9",
}

_INSTALL_ALLENNLP = "pip install --no-deps allennlp==2.10.1 allennlp-models==2.10.1"


def mismatch() -> Optional[str]:
    """
    What is not installed in a version that works, and the command that puts it right, in one line; `None` if
    all is well.
    """
    wrong = []
    packages = []
    commands = []
    for name, versions in REQUIREMENTS.items():
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{name} is not installed")
        else:
            if SpecifierSet(versions).contains(installed, prereleases=True):
                continue
            wrong.append(f"{name} {installed} does not work, {versions} does")
        if name == "allennlp":
            commands.append(_INSTALL_ALLENNLP)
        else:
            packages.append(f"'{name}{versions}'")
    if not wrong:
        # each release of torchvision is built for one of torch
        torch, torchvision = metadata.version("torch"), metadata.version("torchvision")
        for needed in map(Requirement, metadata.requires("torchvision") or ()):
            if needed.name == "torch" and not needed.specifier.contains(torch, prereleases=True):
                wrong.append(f"torchvision {torchvision} needs {needed}, not {torch}")
                packages.append(f"'{needed}'")
    if packages:
        commands.insert(0, "pip install " + " ".join(packages))
    return f"{'; '.join(wrong)}. Remedy: {' && '.join(commands)}" if wrong else None
