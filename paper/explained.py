"""Influence of every training example on every input, at both λ; and whether saliency agrees with it."""

from allennlp_influence.analysis.consistency_files import SUMMARY_JSON
from allennlp_influence.commands.consistency import measure_consistency
from allennlp_influence.commands.influence import explain_archive
from allennlp_influence.commands.reopening import Reopening
from allennlp_influence.influence.results import open_results
from paper.data import write_inputs
from paper.work import Work, task_of

RUNS = ("sst2", "hans", "others")
CONSISTENCY_RUNS = ("sst2", "hans")
INFLUENCE, CONSISTENCY = "influence", "consistency"


def explain(work: Work) -> None:
    """The result directories of all runs."""
    write_inputs(
        work.data, work.inputs("sst2").parent, work.size.sst2_queries, work.size.natural_queries
    )
    for damping, solver in work.size.solvers.items():
        for run in RUNS:
            directory = work.place(INFLUENCE, run, damping)
            if not directory.exists():
                explain_archive(
                    str(work.archive(task_of(run))),
                    str(work.inputs(run)),
                    str(directory),
                    train_data=str(work.train_data(task_of(run))),
                    solver=solver,
                    memory_budget=work.size.memory_budget,
                    cache_dir=work.cache,
                )


def compare_with_saliency(work: Work) -> None:
    """Both experiments of the paper's section 4.2, on SST-2 and HANS."""
    for damping in work.size.solvers:
        for run in CONSISTENCY_RUNS:
            directory = work.place(CONSISTENCY, run, damping)
            if not (directory / SUMMARY_JSON).exists():
                results = open_results(work.place(INFLUENCE, run, damping))
                reopening = Reopening(
                    results, memory_budget=work.size.memory_budget, cache_dir=work.cache
                )
                measure_consistency(reopening, str(directory))
