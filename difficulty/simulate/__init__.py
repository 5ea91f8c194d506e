"""Made-up evaluations with a known truth, for testing verdicts and for planning: which study would show an effect?

A `World` says how many families, tiers and items there are, what each method costs them at each level, and what else is wrong
with the data. `simulate(world, seed)` draws a `Panel` from it, which `difficulty.judge.judgement.judge_panel` judges; `tidy(world,
seed)` draws the same as a tidy table, which `difficulty.fit` judges. The same world and seed give the same numbers.
"""
