"""The rules that turn estimates into supported / refuted / inconclusive. They are written in docs/statistics.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from difficulty.errors import UsageError
from difficulty.judge.effect import Effect
from difficulty.judge.scales import short
from difficulty.stats.result import Estimate
from difficulty.text import estimate_text, p_words

Verdict = Literal["supported", "refuted", "inconclusive", "not tested"]
POOLED = "pooled"
ONLY_THESE = "Nothing is known of other families."
_ROUNDING = 1e-9  # an effect no larger than this is the rounding of a machine

STATEMENTS = {
    "P1": "scores fall monotonically as sparsity grows",
    "P2": "at matched sparsity the drop grows with the tier",
    "P3": "the critical sparsity falls with the tier",
    "P4": "at equal mean loss quantization orders the tiers less than pruning does",
    "P4 memory": "at equal memory quantization orders the tiers less than pruning does",
    "P5": "after recovery the harder tiers stay further behind",
    "P6": "at equal mean loss pruning small weights orders the tiers more than pruning random or large ones",
}
CLAIMS = tuple(STATEMENTS)


@dataclass(frozen=True)
class Rules:
    """What counts as a difference. Fixed before looking; each is an option of `fit`.

    `alpha`: error rate, intervals cover 1 - alpha. `delta`: loss of accuracy that matters (P1; observed critical levels).
    `delta_rise`: rise between neighbouring levels that breaks monotony (P1). `delta_tier`: extra latent loss per tier, in
    log-odds, that matters (P2, P4, P5, P6). `delta_latent`: latent loss, in log-odds, that marks the critical sparsity (P3).
    `delta_level`: change of critical sparsity per tier that matters (P3). `floor`: how far above chance a score must be
    shown to lie, as a share of the way to 1.

    Examples:
        >>> Rules(delta_tier=0.2).alpha
        0.05
    """

    alpha: float = 0.05
    delta: float = 0.05
    delta_rise: float = 0.01
    delta_tier: float = 0.10
    delta_latent: float = 0.5
    delta_level: float = 0.02
    floor: float = 0.01

    def __post_init__(self) -> None:
        for name, value in self.__dict__.items():
            top = 10.0 if name in ("delta_tier", "delta_latent") else 1.0
            if not 0 < value < top:
                raise UsageError(
                    f"{name.replace('_', '-')}={value} is not between 0 and {top:g}. The default is {getattr(type(self), name)}."
                )

    @property
    def confidence(self) -> float:
        return 1 - self.alpha


@dataclass(frozen=True)
class Scope:
    """What a claim is about: one `family`, or all pooled (None), under one `method` or way of recovery.

    `headline`: the pooled row that a reader is shown first, of the primary method.
    """

    method: str
    family: str | None = None
    headline: bool = False

    @property
    def pooled(self) -> bool:
        """All families together."""
        return self.family is None

    @property
    def label(self) -> str:
        """As tables and JSON write it: the family, `pooled` for the headline, `pooled/<method>` for other pooled rows."""
        if self.family is not None:
            return self.family
        return POOLED if self.headline else f"{POOLED}/{self.method}"


@dataclass(frozen=True)
class Claim:
    """One claim about one family (or all pooled) under one method: its `scope`.

    `estimate` with `unit`, interval and two-sided `p`; `p_holm`: p corrected over the families of this claim and method, or
    for pooled rows over the methods of this claim. `about`: what the verdict holds for, e.g. "families like these (9), for
    this mask"; `over`: what was drawn again for the interval. `rule`: the rule in words with its numbers. `reason`: what
    decided, in one sentence. `details`: further numbers (JSON types only).
    """

    claim: str
    scope: Scope
    verdict: Verdict
    estimate: float | None
    unit: str
    ci_low: float | None
    ci_high: float | None
    p: float | None
    p_holm: float | None
    n_items: int
    n_clusters: int
    rule: str
    reason: str
    about: str = ""
    over: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def family(self) -> str:
        """The scope's label."""
        return self.scope.label

    @property
    def method(self) -> str:
        """The scope's method."""
        return self.scope.method

    def __str__(self) -> str:
        """One line: claim, verdict, what it holds for, the effect with its interval, and p after Holm's correction."""
        of = ", ".join(filter(None, (self.method, self.about)))
        effect = estimate_text(self.estimate, self.ci_low, self.ci_high)
        numbers = ", ".join(filter(None, (f"{effect} {self.unit}" if effect else "", p_words(self.p_holm))))
        return f"{self.claim} {self.verdict} ({of})" + (f": {numbers}" if numbers else "")


@dataclass(frozen=True)
class Evidence:
    """What a verdict is made from, before the p-values of all families are corrected together.

    `effects`: the effect on each scale that decides, the first being the claim's estimate, in `unit`. `blocked`: why the
    evidence must not be used. `against`: a sentence if something contradicts the claim although the numbers support it.
    `cannot_refute`: why a small effect is not shown to be small. `unresolved`: why the estimate, though shown, decides nothing.
    `remark`: what a reader must know beside the verdict.
    """

    claim: str
    scope: Scope
    unit: str
    effects: Mapping[str, Effect] = field(default_factory=dict)
    blocked: str = ""
    against: str = ""
    cannot_refute: str = ""
    unresolved: str = ""
    remark: str = ""
    about: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def main(self) -> Estimate | None:
        """The estimate that is printed: that of the first scale."""
        return next((effect.deciding for effect in self.effects.values()), None)

    @property
    def p(self) -> float:
        """Every scale must show it, so the largest p counts (intersection-union test, Berger 1982)."""
        found = [effect.p for effect in self.effects.values()]
        return max(found) if found else float("nan")


def judge(evidence: Evidence, p_holm: float, rules: Rules, delta: float, rule: str) -> Claim:
    """The verdict on a claim "the effect is above 0", with `delta` the smallest effect that matters.

    supported: on every scale the interval lies above 0, p_holm < alpha, nothing against. refuted: on every scale the interval
    lies wholly below delta: the opposite, or equivalence. Otherwise inconclusive, and where the scales contradict each other
    the reason says so with the estimate on each.
    """
    effects = evidence.effects
    if evidence.blocked or not effects:
        return claim_of(
            evidence, None, "inconclusive", rule, evidence.blocked or "there is nothing to judge it by."
        )
    if evidence.unresolved:
        return claim_of(evidence, p_holm, "inconclusive", rule, evidence.unresolved)
    above = [scale for scale, effect in effects.items() if effect.low > _ROUNDING]
    below = [scale for scale, effect in effects.items() if effect.high < delta]
    where = "on every scale" if len(effects) > 1 else "above 0"
    if len(below) == len(effects):
        opposite = all(effect.high < -_ROUNDING for effect in effects.values())
        if evidence.cannot_refute and not opposite:
            return claim_of(evidence, p_holm, "inconclusive", rule, evidence.cannot_refute)
        how = "the opposite holds" if opposite else f"an effect of {delta:g} is excluded"
        seen = (
            " What is left is above 0, but too small to matter by the rule."
            if len(above) == len(effects)
            else ""
        )
        return claim_of(evidence, p_holm, "refuted", rule, f"{how} on every scale.{seen}")
    if len(above) < len(effects):
        return claim_of(evidence, p_holm, "inconclusive", rule, _disagreement(effects, above, below, delta))
    if evidence.against:
        return claim_of(evidence, p_holm, "inconclusive", rule, evidence.against)
    if not p_holm < rules.alpha:
        return claim_of(
            evidence, p_holm, "inconclusive", rule, "it does not survive the correction for several tests."
        )
    return claim_of(evidence, p_holm, "supported", rule, f"the effect is shown {where}.")


def _disagreement(effects: Mapping[str, Effect], above: list[str], below: list[str], delta: float) -> str:
    """Why the scales do not decide: they contradict each other, or the interval of some is too wide."""
    slopes = ", ".join(f"{name} {effect.deciding.estimate:.2f}" for name, effect in effects.items())
    others = [name for name in below if name not in above]
    if above and others:
        return (
            f"it depends on the scale: shown on {_listed(above)}, and on {_listed(others)} an effect of {delta:g} is excluded "
            f"({slopes})."
        )
    if above:
        open_on = [name for name in effects if name not in above]
        return f"it is shown on {_listed(above)}, but not on {_listed(open_on)} ({slopes})."
    if below:
        open_on = [name for name in effects if name not in below]
        return f"an effect of {delta:g} is excluded on {_listed(below)}, but not on {_listed(open_on)} ({slopes})."
    return f"the interval holds both 0 and effects that matter on every scale ({slopes})."


def _listed(scales: list[str]) -> str:
    return " and ".join(short(scale) for scale in scales)


def claim_of(evidence: Evidence, p_holm: float | None, verdict: Verdict, rule: str, reason: str) -> Claim:
    """The claim with its main estimate filled in; blocked evidence shows none, as it must not be used."""
    main = None if evidence.blocked else evidence.main
    reason = f"{reason} {evidence.remark}".strip()
    details = dict(evidence.details)
    if evidence.against or evidence.unresolved:
        details["held_back"] = evidence.unresolved or evidence.against
    if evidence.effects:
        details["scales"] = {name: effect.as_dict() for name, effect in evidence.effects.items()}
    if main is None:
        return Claim(
            evidence.claim, evidence.scope, verdict, None, evidence.unit, None, None, None, None, 0, 0, rule, reason,
            evidence.about, (), details,
        )  # fmt: skip
    return Claim(
        evidence.claim, evidence.scope, verdict, main.estimate, evidence.unit, main.ci_low, main.ci_high, evidence.p, p_holm,
        main.n_items, main.n_clusters, rule, reason, evidence.about, main.over, details,
    )  # fmt: skip


def not_tested(claim: str, method: str, reason: str, family: str | None = None) -> Claim:
    """An entry for a claim that the given runs cannot test, about one family or the headline."""
    scope = Scope(method, family, headline=family is None)
    return Claim(claim, scope, "not tested", None, "", None, None, None, None, 0, 0, "", reason)


def as_dict(estimate: Estimate) -> dict[str, Any]:
    """An estimate as JSON types."""
    return {**estimate.__dict__, "over": list(estimate.over)}


@dataclass(frozen=True)
class Hypothesis:
    """The verdict on the hypothesis as a whole, and why."""

    verdict: Verdict
    reason: str

    def __str__(self) -> str:
        return f"The hypothesis is {self.verdict}: {self.reason}"


def hypothesis(headline: Mapping[str, Claim]) -> Hypothesis:
    """Supported only where P2 and P6 are: harder tiers lose more, and it is the small weights that do it.

    Refuted where either is; not tested where either was not; else inconclusive.
    """
    parts = [(name, headline[name].verdict if name in headline else "not tested") for name in ("P2", "P6")]
    words = " and ".join(f"{name} is {verdict}" for name, verdict in parts)
    verdicts = [verdict for _, verdict in parts]
    if "refuted" in verdicts:
        return Hypothesis("refuted", f"{words}.")
    if verdicts == ["supported", "supported"]:
        return Hypothesis("supported", f"{words}.")
    if "not tested" in verdicts:
        return Hypothesis("not tested", f"{words}; it needs both.")
    return Hypothesis("inconclusive", f"{words}; it needs both.")
