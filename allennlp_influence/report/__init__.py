"""Result directories for eyes: a page and a summary in the terminal."""

from allennlp_influence.report.html import write_report
from allennlp_influence.report.terminal import print_summary
