"""
The console script `allennlp-influence`: AllenNLP's command line with this package's commands in it, whatever the
folder and whether or not the package is registered as a plugin.
"""

import sys

from allennlp_influence.versions import mismatch


def run() -> None:
    if mismatch() is not None:
        sys.exit(1)  # importing the package has said what is wrong

    import allennlp.__main__  # noqa: F401  sets logging up as for `allennlp`
    from allennlp.commands import main
    from allennlp.common.util import install_sigterm_handler

    import allennlp_influence.plugin  # noqa: F401

    install_sigterm_handler()
    main(prog="allennlp-influence")


if __name__ == "__main__":
    run()
