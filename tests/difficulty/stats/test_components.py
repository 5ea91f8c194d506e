"""Sums of variance components against the two-way analysis of variance, closed forms and simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats

from difficulty.stats import Component, combined, crossed, random_effects, resample_counts

TIGHT = {"rel": 1e-9, "abs": 1e-12}


def mean_squares(table: np.ndarray) -> tuple[float, float, float]:
    """Items, replicates and interaction of a (K, n) table without repeats, the textbook's sums of squares over df."""
    k, n = table.shape
    rows, columns, grand = table.mean(axis=1, keepdims=True), table.mean(axis=0, keepdims=True), table.mean()
    items = k * ((columns - grand) ** 2).sum() / (n - 1)
    replicates = n * ((rows - grand) ** 2).sum() / (k - 1)
    interaction = ((table - rows - columns + grand) ** 2).sum() / ((n - 1) * (k - 1))
    return float(items), float(replicates), float(interaction)


@pytest.mark.parametrize("k", [2, 3])
def test_all_resamples_give_the_mean_squares_of_the_two_way_table(k: int) -> None:
    n = 5
    table = np.random.default_rng(k).normal(size=(k, n)) + np.arange(n) + 2 * np.arange(k)[:, None]
    every = np.array(
        list(itertools.product(range(n), repeat=n))
    )  # n^n resamples, the whole bootstrap distribution
    boot = np.column_stack([table.mean(axis=1), table[:, every].mean(axis=2)])
    of_items, of_replicates, interaction = crossed(table.mean(axis=1), boot, n)
    items, replicates, both = (ms / (n * k) for ms in mean_squares(table))
    exact = (len(every) - 1) / len(every)  # they are all of them, not a sample of them
    assert of_items.variance * exact == pytest.approx(items, **TIGHT)
    assert of_replicates.variance == pytest.approx(replicates, **TIGHT)
    assert interaction.variance * exact == pytest.approx(both, **TIGHT)
    assert [part.df for part in (of_items, of_replicates, interaction)] == [n - 1, k - 1, (n - 1) * (k - 1)]
    assert [part.sign for part in (of_items, of_replicates, interaction)] == [1, 1, -1]
    found = combined(0.0, (of_items, of_replicates, interaction))
    assert found.standard_error**2 == pytest.approx(items + replicates - both, rel=1e-3)


def test_the_mean_squares_are_those_of_statsmodels() -> None:
    """The oracle's own oracle: `anova_lm` of the additive model, whose residual is the interaction."""
    import pandas as pd
    import statsmodels.formula.api as smf
    from statsmodels.stats.anova import anova_lm

    table = np.random.default_rng(3).normal(size=(3, 6))
    r, i = np.indices(table.shape)
    frame = pd.DataFrame({"y": table.ravel(), "r": r.ravel(), "i": i.ravel()})
    fitted = anova_lm(smf.ols("y ~ C(i) + C(r)", frame).fit())
    assert mean_squares(table) == pytest.approx(tuple(fitted["mean_sq"]), **TIGHT)


def test_infinite_degrees_of_freedom_are_the_normal() -> None:
    found = combined(1.5, [Component("items", 1.0, np.inf)])
    assert (found.ci_high - 1.5, found.p) == pytest.approx(
        (1.959963984540, 2 * scipy.stats.norm.sf(1.5)), **TIGHT
    )
    assert found.df == np.inf


def test_one_part_is_students_t() -> None:
    y = np.array([0.3, -0.1, 0.8, 0.5, 0.2])
    found = combined(float(y.mean()), [Component("items", float(y.var(ddof=1)) / 5, 4)])
    expected = scipy.stats.ttest_1samp(y, 0)
    assert found.p == pytest.approx(expected.pvalue, **TIGHT)
    assert (found.ci_low, found.ci_high) == pytest.approx(tuple(expected.confidence_interval()), **TIGHT)
    assert found.df == pytest.approx(4, **TIGHT)


def test_two_parts_are_welchs_t_test() -> None:
    g = np.random.default_rng(4)
    a, b = g.normal(1, 1, 8), g.normal(0, 3, 5)
    parts = [Component(name, x.var(ddof=1) / len(x), len(x) - 1) for name, x in (("a", a), ("b", b))]
    found, expected = (
        combined(a.mean() - b.mean(), parts, 0.9),
        scipy.stats.ttest_ind(a, b, equal_var=False),
    )
    assert found.df == pytest.approx(expected.df, **TIGHT)
    assert found.p == pytest.approx(expected.pvalue, **TIGHT)
    assert (found.ci_low, found.ci_high) == pytest.approx(tuple(expected.confidence_interval(0.9)), **TIGHT)


def test_a_subtracted_part_counts_in_satterthwaites_df_and_never_takes_the_total_below_the_largest() -> None:
    parts = [Component("a", 3.0, 10), Component("b", 2.0, 5), Component("c", 1.0, 50, sign=-1)]
    found = combined(1.0, parts)
    assert found.standard_error**2 == pytest.approx(4, **TIGHT)
    assert found.df == pytest.approx(16 / (9 / 10 + 4 / 5 + 1 / 50), **TIGHT)
    found = combined(1.0, [*parts[:2], Component("c", 4.0, 50, sign=-1)])
    assert found.standard_error**2 == pytest.approx(3, **TIGHT)


@pytest.mark.parametrize("df", [1, 2])
def test_few_replicates_take_the_weighted_mean_of_the_quantiles(df: int) -> None:
    parts = [Component("items", 3.0, 199), Component("masks", 1.0, df)]
    found = combined(5.0, parts)
    quantile = 0.75 * scipy.stats.t(199).ppf(0.975) + 0.25 * scipy.stats.t(df).ppf(0.975)
    assert found.ci_high - 5 == pytest.approx(2 * quantile, **TIGHT)


@pytest.mark.parametrize("estimate", [1e-3, 0.5, 4.0, 60.0, 1e6])
@pytest.mark.parametrize("df", [1, 3])
def test_p_is_where_the_interval_ends_at_zero(estimate: float, df: float) -> None:
    parts = [Component("items", 3.0, 199), Component("masks", 1.0, df), Component("both", 0.5, 199, -1)]
    p = combined(estimate, parts).p
    assert 0 < p < 1
    if p > 1e-12:  # above, 1 - p is a number of its own
        assert combined(estimate, parts, 1 - p).ci_low == pytest.approx(0, abs=1e-6 * estimate + 1e-9)
    assert combined(-estimate, parts).p == p
    assert combined(0.0, parts).p == 1


def test_equal_replicates_leave_the_items_alone() -> None:
    counts = resample_counts(30, 200, np.random.default_rng(0))
    values = np.random.default_rng(1).normal(size=30)
    boot = np.tile(counts @ values / 30, (2, 1))
    found = combined(boot[0, 0], crossed(boot[:, 0], boot, 30))
    assert found.shares() == {"items": 1.0, "replicates": 0.0}
    assert found.df == pytest.approx(29, **TIGHT)
    alone = crossed(boot[:1, 0], boot[:1], 30)
    assert [part.name for part in alone] == ["items"]
    assert combined(boot[0, 0], alone).ci_high == pytest.approx(found.ci_high, **TIGHT)


def test_families_take_the_place_of_the_items() -> None:
    families = random_effects(np.array([0.3, 0.5, 0.1]), np.full(3, 0.01))
    parts = [Component("families", families.standard_error**2, families.df), Component("masks", 0.002, 4)]
    found = combined(families.estimate, parts)
    assert found.ci_low < families.ci_high
    assert found.shares_text() == "families 87 %, masks 13 %"
    assert sum(found.shares().values()) == pytest.approx(1, **TIGHT)


@pytest.mark.parametrize("unit", [1e-170, 1e-6, 1e6])
def test_the_unit_does_not_matter(unit: float) -> None:
    def parts(scale: float) -> list[Component]:
        return [Component("a", 3 * scale, 10), Component("b", 2 * scale, 5)]

    one, other = combined(2.0, parts(1)), combined(2 * np.sqrt(unit), parts(unit))
    assert (other.p, other.df) == pytest.approx((one.p, one.df), **TIGHT)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([], "no part has a variance"),
        ([Component("a", 0.0, 3)], "no part has a variance"),
        ([Component("a", 1.0, 3, -1)], "no part has a variance"),
        ([Component("a", -1.0, 3)], "'a' must be finite and 0 or more; got -1"),
        ([Component("a", float("nan"), 3)], "'a' must be finite"),
        ([Component("a", 1.0, 0)], "df above 0"),
        ([Component("a", 1.0, 3, 2)], "sign of 1 or -1"),
        ([Component("a", 1.0, 3), Component("a", 1.0, 3)], "a name of its own; got a, a"),
    ],
)
def test_bad_parts_are_said(parts: list[Component], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        combined(0.1, parts)


def test_bad_numbers_are_said() -> None:
    part = [Component("a", 1.0, 3)]
    for wrong in (0.0, 1.0, 95.0):
        with pytest.raises(ValueError, match="between 0 and 1"):
            combined(0.1, part, wrong)
    with pytest.raises(ValueError, match="estimate must be finite"):
        combined(float("nan"), part)


@pytest.mark.parametrize(
    ("y", "boot", "n", "said"),
    [
        (np.zeros(2), np.zeros((3, 9)), 5, "one row of resamples per replicate"),
        (np.zeros(0), np.zeros((0, 9)), 5, "one row of resamples per replicate"),
        (np.zeros(9), np.zeros(9), 5, "one row of resamples per replicate"),
        (np.zeros(2), np.zeros((2, 2)), 5, "got 1, 5"),
        (np.zeros(2), np.zeros((2, 9)), 1, "got 8, 1"),
        (np.array([0, np.nan]), np.zeros((2, 9)), 5, "finite"),
        (np.zeros(2), np.full((2, 9), np.inf), 5, "finite"),
    ],
)
def test_bad_resamples_are_said(y: np.ndarray, boot: np.ndarray, n: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        crossed(y, boot, n)


# Measured with 3,000 draws each (a standard error of .004): replicates of an SD of 0, .5, 2 and 5 times the items' error.
@pytest.mark.parametrize(
    ("k", "ratio", "low", "high"),
    [
        *((k, 0.0, 0.93, 1.0) for k in (2, 3, 5)),
        (2, 0.5, 0.93, 0.99),  # two replicates: wide rather than short
        *((k, 0.5, 0.93, 0.97) for k in (3, 5)),
        *((k, 2.0, 0.93, 0.97) for k in (2, 3, 5)),
        *((k, 5.0, 0.93, 0.97) for k in (2, 3, 5)),  # where Satterthwaite's covers .88 and .92 with 2 and 3
    ],
)
def test_the_interval_covers_the_mean_over_items_and_replicates(
    k: int, ratio: float, low: float, high: float
) -> None:
    """60 items of SD 1 whose values differ between replicates with half that SD; the truth is 0."""
    n, draws, g = 60, 3000, np.random.default_rng(10 * k)
    counts = resample_counts(n, 200, g)
    covered = 0
    for _ in range(draws):
        table = (
            g.normal(size=n) + 0.5 * g.normal(size=(k, n)) + ratio * np.sqrt(1.25 / n) * g.normal(size=(k, 1))
        )
        boot = table @ counts.T / n
        found = combined(table.mean(), crossed(boot[:, 0], boot, n))
        covered += found.ci_low <= 0 <= found.ci_high
    print(f"K {k}, SD of replicates {ratio} x items: covers {covered / draws:.3f}")
    assert low <= covered / draws <= high
