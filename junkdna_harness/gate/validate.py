"""Whether a policy and a baseline fit each other, before there is anything to judge."""

from __future__ import annotations

from collections import Counter

from junkdna_harness.gate.items import RunItems
from junkdna_harness.gate.planned import PlannedComparison, plan_comparisons
from junkdna_harness.gate.policy import Limits, Policy
from junkdna_harness.gate.simple import policy_of
from junkdna_harness.presentation.escape import one_line


def validated(limits: Limits | Policy, baseline: RunItems | None) -> str:
    """What is judged by these limits, in a sentence.

    Raises:
        UsageError: a rule is about nothing that the baseline has, or two contradict each other.
    """
    if baseline is None:
        rules = limits.rules if isinstance(limits, Policy) else ()
        return f"{len(rules)} rules are well-formed; whether they fit a baseline is told with --against."
    policy = limits if isinstance(limits, Policy) else policy_of(limits, baseline)
    planned = plan_comparisons(baseline, policy)
    told = f"{_kinds(planned)} on {_items(baseline):,} items of {one_line(baseline.name)}"
    text = f" and {len(policy.on_text)} rules on a text" if policy.on_text else ""
    return f"{told}{text}, from {len(policy.rules)} rules."


def _kinds(planned: list[PlannedComparison]) -> str:
    severities = Counter(one.rule.severity for one in planned)
    return f"{severities['critical']} critical and {severities['advisory']} advisory comparisons"


def _items(baseline: RunItems) -> int:
    return sum(len(task.item_ids) for key, task in baseline.tasks.items() if key == task.task)
