"""docs/paper.md, written from paper.json and published.json."""

import json
from pathlib import Path

from allennlp.common.util import JsonDict

from allennlp_influence.influence.results import write_whole
from paper import artifact_tables, tables
from paper.findings import FEWEST_INPUTS

PUBLISHED = Path(__file__).with_name("published.json")


def published() -> JsonDict:
    """The paper's own numbers: its tables, and those that its notebooks show with more digits."""
    return json.loads(PUBLISHED.read_text(encoding="utf-8"))


def write_document(content: JsonDict, path: Path, figures: str) -> None:
    """
    # Parameters

    content : `JsonDict`
        See `collect`.
    path : `Path`
    figures : `str`
        Where the figures are, seen from the document.
    """
    papers = published()
    size = content["settings"]["size"]
    parts = [
        _INTRODUCTION.format(
            train_size=f"{size['train_size']:,}",
            epochs=size["epochs"],
            dampings=" and ".join(content["consistency"]),
            resamples=f"{size['resamples']:,}",
            **{name.replace("-", "_"): value for name, value in content["versions"].items()},
        ),
        "## What the paper found, and what is found here\n",
        _VERDICTS.format(fewest=FEWEST_INPUTS),
        tables.finding_table(content),
        "## Classifiers\n",
        _CLASSIFIERS,
        tables.accuracy_table(content, papers),
        "## What λ changes\n",
        _LAMBDA,
        tables.run_table(content),
        tables.between_table(content),
        tables.differences(content),
        "## Tables 1 and 2: confidence after removing training examples\n",
        _REMOVAL,
        "SST-2 (table 1):\n",
        tables.removal_table(content, papers, "sst2"),
        "HANS (table 2):\n",
        tables.removal_table(content, papers, "hans"),
        "## Figures 2 and 3: influence of training examples with a salient token\n",
        _INFLUENCE,
        f"![Figure 2, SST-2]({figures}/figure_2.svg)\n",
        tables.influence_table(content, papers, "sst2"),
        f"![Figure 3, HANS]({figures}/figure_3.svg)\n",
        tables.influence_table(content, papers, "hans"),
        "## Tables 3 and 4: the top training examples before and after a token is masked\n",
        _MASKING,
        "SST-2 (table 3):\n",
        tables.overlap_table(content, papers, "sst2"),
        "HANS (table 4):\n",
        tables.overlap_table(content, papers, "hans"),
        "## Figure 1 and table 5: two examples\n",
        _EXAMPLES,
        "SST-2 dev (figure 1):\n",
        tables.example_text(content, "figure 1"),
        f"![Figure 1]({figures}/figure_1.svg)\n",
        tables.example_table(content, "figure 1"),
        "HANS (table 5):\n",
        tables.example_text(content, "table 5"),
        tables.example_table(content, "table 5"),
        "## Figures 4 and 5, table 6: artifacts\n",
        _ARTIFACTS,
        f"![Figure 4]({figures}/figure_4.png)\n",
        f"![Figure 5]({figures}/figure_5.png)\n",
        artifact_tables.curve_table(content, papers),
        "Table 6 and the averages of section 5.1:\n",
        artifact_tables.coefficient_table(content, papers),
        "## Sensitivity to what the paper leaves open\n",
        _SENSITIVITY,
        *(
            f"λ = {damping}:\n\n{artifact_tables.sensitivity_table(content, damping)}"
            for damping in content["artifacts"]
        ),
        "## How it continues\n",
        _CONTINUES,
        tables.remaining(content),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, "\n".join(parts))


_INTRODUCTION = """# The paper's tables and figures, rerun

Han, Wallace & Tsvetkov (2020) with the tools of this package. Written by `make paper` (see [paper/README.md](../paper/README.md));
no number is typed by hand.

- **Model**: MiniLM (6 layers, hidden size 384) where the paper has BERT-base; embeddings and the lower 4 layers frozen;
  {train_size} training examples, {epochs} epochs, seed 2019. SST-2 is the paper's own selection, the first rows of GLUE's
  training file; the MultiNLI rows are a sample, the paper's own are the first of GLUE's.
- **Explained**: the paper's 50 rows of SST-2 dev, 30 pairs of HANS, 15 of these negated and 50 of MultiNLI, each for the label that is
  predicted.
- **λ**: {dampings}. The paper's LiSSA setting solves the system at 30, which is close to plain gradient products; at 0.1
  curvature matters. The paper leaves dropout on while influence is computed; here it is off.
- **Intervals** are of 95 %. Those of tables 1 to 4 and figures 2 and 3 resample inputs with all that belongs to them (the paper's standard errors
  treat what belongs to one input as independent); those of coefficients resample training examples and inputs, {resamples} times. Seed 0.
- allennlp-influence {allennlp_influence}, torch {torch}, Python {python}.
"""

_VERDICTS = """Decided by the intervals alone. *Reproduced*: all intervals that the finding is about lie on its side. *Not reproduced*: one lies
wholly on the other side. *Undecided*: anything else, what has not been run, and removals of fewer than {fewest} inputs. "The same"
means: the difference is within a quarter of the mean.
"""

_CLASSIFIERS = """As AllenNLP trains them, the epoch with the best accuracy on the dev file is kept, where the paper takes the last. MultiNLI and HANS
with two classes, entailment and not.
"""

_LAMBDA = """Scores solve (C + λI) x = ∇L, where C is Gauss-Newton's matrix of a sample of the training examples. The paper's is the Hessian; at
30, where C hardly matters, both give nearly the same scores ([performance.md](performance.md)), and at 0.1 a fine-tuned network's Hessian is
indefinite. Spearman correlations of the scores of four inputs: with those of plain gradient products, which say whether C matters,
and with those of half of the sample. `others` are the negated and the natural pairs.
"""

_REMOVAL = """The tenth of the training examples with the most positive, most negative, smallest scores (nearest to 0 before they are normalised), or a
random one, is removed and the classifier trained again; the change of the probability of the label that the model of the same seed
predicts with nothing removed, in percentage points. Removing the most positive changes the balance of the labels too:
`positive-matched` are random examples with as many of each label. The trained layers are trained again, from outputs of the frozen
ones that are computed once; dropout is off in the frozen ones.
"""

_INFLUENCE = """Mean z-score of the training examples that have the explained label and contain the salient token, among the top x % of all.
Bars: ours, with intervals; rings: the paper's. The pooled mean is the paper's; inputs with a frequent token dominate it, which
is not so in the mean of the inputs' means.
"""

_MASKING = """Of the top training examples, the share that is still among them when the input is explained without the token, in %: with
the label that is then predicted, as in the paper, and with the label held fixed.
"""

_EXAMPLES = """The inputs that the paper shows, without their texts. Training examples by row; the paper's MultiNLI rows are others.
"""

_ARTIFACTS = """Coefficient c of z² in the least-squares quadratic of the artifact on influence over all training examples, in thousandths: positive
where the artifact is concentrated at both ends. Overlap: the share of the hypothesis's words, lower-cased, without punctuation, that
the premise has; negation: whether the hypothesis has one of not, n't, no, never, none, nobody, nothing, nowhere, neither, nor, cannot.
"""

_SENSITIVITY = """The paper does not say what counts as a word, how overlap is counted, or which words negate. Coefficients in thousandths for
each choice, the first of each artifact being the one used above; by z-scores, and by the ranks of the scores (as normal scores),
on which no few examples decide.
"""

_CONTINUES = """`make paper DATA=… MINUTES=120` goes on with the removals for another two hours and writes this page anew. What each trained model predicts
is in [paper/removal](paper/removal), from which it goes on where the folder of a run is gone: models that were trained with the same
seed and without the same training examples are not trained again.
"""
