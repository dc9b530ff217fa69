"""
Influence functions, saliency and data artifacts for AllenNLP's text classifiers.

Importing this package registers everything that it adds to AllenNLP.
"""

import logging
import warnings

from allennlp_influence.versions import mismatch

__version__ = "0.1.0"

_mismatch = mismatch()
if _mismatch is None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, module="fairscale")
        from allennlp_influence import training_defaults
        from allennlp_influence import analysis, commands, data, engine, influence, predictors, saliency
else:
    # As a plugin: other commands of AllenNLP go on without us.
    logging.getLogger(__name__).warning("allennlp-influence is not loaded: %s", _mismatch)
