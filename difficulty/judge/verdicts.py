"""The rules that turn estimates into supported / refuted / inconclusive. They are written in docs/statistics.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from difficulty.errors import UsageError
from difficulty.stats.result import Estimate

Verdict = Literal["supported", "refuted", "inconclusive", "not tested"]
EvidenceScale = Literal["latent", "score"]
POOLED = "pooled"

STATEMENTS = {
    "P1": "scores fall monotonically as sparsity grows",
    "P2": "at matched sparsity the drop grows with the tier",
    "P3": "the critical sparsity falls with the tier",
    "P4": "at equal memory quantization orders the tiers less than pruning does",
    "P5": "after recovery the harder tiers stay further behind",
}
CLAIMS = tuple(STATEMENTS)


@dataclass(frozen=True)
class Rules:
    """What counts as a difference. Fixed before looking; each is an option of `fit`.

    `alpha`: error rate, intervals cover 1 - alpha. `delta`: loss of accuracy that matters (P1; P3 observed).
    `delta_rise`: rise between neighbouring levels that breaks monotony (P1). `delta_tier`: extra latent loss a tier, in
    log-odds, that matters (P2, P4, P5). `delta_latent`: latent loss, in log-odds, that marks the critical sparsity (P3).
    `delta_level`: change of critical sparsity a tier that matters (P3). `floor`: how far above chance a score must be
    shown to lie, as a share of the way to 1.
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

    `estimate` with `unit`, interval and two-sided `p`; `p_holm`: p corrected over the families of this claim and method
    (equal to `p` for pooled rows). `rule`: the rule in words with its numbers. `reason`: what decided, in one sentence.
    `details`: further numbers (JSON types only).
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
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def family(self) -> str:
        """The scope's label."""
        return self.scope.label

    @property
    def method(self) -> str:
        """The scope's method."""
        return self.scope.method


@dataclass(frozen=True)
class Evidence:
    """What a verdict is made from, before the p-values of all families are corrected together.

    `latent`: the effect in log-odds; `score`: the same on the score's own scale; a claim has one or both. `decides` names
    the one that is the claim's estimate, in `unit`. `blocked`: why the evidence must not be used. `against`: a sentence if
    something contradicts the claim although the numbers support it. `remark`: what a reader must know beside the verdict.
    """

    claim: str
    scope: Scope
    unit: str
    latent: Estimate | None = None
    score: Estimate | None = None
    decides: EvidenceScale = "latent"
    blocked: str = ""
    against: str = ""
    remark: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def main(self) -> Estimate | None:
        """The estimate that decides."""
        return self.latent if self.decides == "latent" else self.score

    @property
    def p(self) -> float:
        """Both scales must show it, so the larger p counts (intersection-union test, Berger 1982)."""
        found = [e.p for e in (self.latent, self.score) if e is not None]
        return max(found) if found else float("nan")


def judge(evidence: Evidence, p_holm: float, rules: Rules, delta: float, score_unit: str, rule: str) -> Claim:
    """The verdict on a claim "the effect is above 0", with `delta` the smallest effect that matters.

    supported: p_holm < alpha, both intervals above 0, the latent one not wholly below delta, nothing against.
    refuted: the latent interval lies wholly below delta: the opposite, or equivalence.
    """
    latent, observed = evidence.latent, evidence.score
    if evidence.blocked or latent is None:
        return claim_of(
            evidence, None, "inconclusive", rule, evidence.blocked or "there is nothing to judge it by."
        )
    details = dict(evidence.details)
    if observed is not None:
        details["observed"] = {**as_dict(observed), "unit": score_unit}
    evidence = replace(evidence, details=details)
    if latent.ci_high < delta:
        how = "the opposite holds" if latent.ci_high < 0 else f"an effect of {delta:g} is excluded"
        seen = " What is left is above 0, but too small to matter by the rule." if latent.ci_low > 0 else ""
        if observed is not None and observed.ci_low > 0 and not seen:
            seen = (
                " The pattern is seen on the score's own scale, but only because harder tiers start nearer to the point "
                "where answers turn wrong."
            )
        return claim_of(evidence, p_holm, "refuted", rule, f"on the latent scale {how}.{seen}")
    if latent.ci_low <= 0:
        return claim_of(
            evidence,
            p_holm,
            "inconclusive",
            rule,
            "the latent interval holds both 0 and effects that matter.",
        )
    if observed is not None and observed.ci_low <= 0:
        return claim_of(
            evidence,
            p_holm,
            "inconclusive",
            rule,
            "it holds on the latent scale, but is not shown on the score's own.",
        )
    if evidence.against:
        return claim_of(evidence, p_holm, "inconclusive", rule, evidence.against)
    if not p_holm < rules.alpha:
        return claim_of(
            evidence, p_holm, "inconclusive", rule, "it does not survive the correction for several families."
        )
    both = "on both scales" if observed is not None else "above 0"
    return claim_of(evidence, p_holm, "supported", rule, f"the effect is shown {both}.")


def claim_of(evidence: Evidence, p_holm: float | None, verdict: Verdict, rule: str, reason: str) -> Claim:
    """The claim with its main estimate filled in; blocked evidence shows none, as it must not be used."""
    main = None if evidence.blocked else evidence.main
    reason = f"{reason} {evidence.remark}".strip()
    if main is None:
        return Claim(
            evidence.claim, evidence.scope, verdict, None, evidence.unit, None, None, None, None, 0, 0, rule, reason,
            evidence.details,
        )  # fmt: skip
    return Claim(
        evidence.claim, evidence.scope, verdict, main.estimate, evidence.unit, main.ci_low, main.ci_high, evidence.p, p_holm,
        main.n_items, main.n_clusters, rule, reason, evidence.details,
    )  # fmt: skip


def not_tested(claim: str, method: str, reason: str, family: str | None = None) -> Claim:
    """An entry for a claim that the given runs cannot test, about one family or the headline."""
    scope = Scope(method, family, headline=family is None)
    return Claim(claim, scope, "not tested", None, "", None, None, None, None, 0, 0, "", reason)


def in_words(estimate: Estimate, confidence: float) -> str:
    """`"0.10 (95 % interval 0.07 to 0.13)"`."""
    return f"{estimate.estimate:.2f} ({100 * confidence:g} % interval {estimate.ci_low:.2f} to {estimate.ci_high:.2f})"


def as_dict(estimate: Estimate) -> dict[str, float | int]:
    """An estimate as JSON types."""
    return dict(estimate.__dict__)
