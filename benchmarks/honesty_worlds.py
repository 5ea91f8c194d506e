"""The worlds of `honesty.py`, each with its truth and what is wanted of the verdicts.

Effects are in log-odds per tier, averaged over levels; those called effects are at least twice what matters by the rules (0.10 per tier
for P2, P4 to P6; a fall of 0.02 of the critical level per tier for P3).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.optimize import brentq

from difficulty.judge.verdicts import Rules
from difficulty.simulate.draw import family_slopes, replicate_slopes
from difficulty.simulate.world import Arm, Cut, World

# What is wanted: of the share of verdicts, of the intervals, or of the words. "shown": nothing, the shares are printed.
Kind = Literal["no effect", "effect", "refuted", "inconclusive", "coverage", "this draw", "shown"]
WANTED: dict[Kind, str] = {
    "no effect": "supported ≤ 5 %",
    "effect": "refuted ≤ 5 %",
    "refuted": "refuted ≥ 80 %",
    "inconclusive": "inconclusive ≥ 95 %",
    "coverage": "coverage .93 to .97",
    "this draw": "says so ≥ 95 %",
    "shown": "",
}


@dataclass(frozen=True)
class Want:
    """One mark: of the headline of `claim`, what is wanted.

    Of coverage: `value` is the truth on average over all families and replicates; `these`: of the interval for these families,
    which should hold the mean of their own slopes, and not that for families like these; `once`: the interval should hold
    the truth of the one replicate that was drawn.
    """

    claim: str
    kind: Kind
    value: float = 0.0
    these: bool = False
    once: bool = False

    def true_value(self, world: World, seed: int) -> float:
        """What the interval of one draw should hold."""
        families = float(family_slopes(world, seed).mean()) if self.these else 0.0
        replicates = float(replicate_slopes(world, seed).mean()) if self.once else 0.0
        return self.value + families + replicates


@dataclass(frozen=True)
class Case:
    """A world under a name, the marks set on it, and whether it is tried without margins too."""

    section: str
    name: str
    world: World
    wants: tuple[Want, ...]
    both: bool = True

    @property
    def claims(self) -> tuple[str, ...]:
        """The claims that are judged."""
        return tuple(dict.fromkeys(want.claim for want in self.wants))

    @property
    def marks(self) -> tuple[Want, ...]:
        """The wants, with coverage in these families beside that in families like these where all families are alike."""
        found: list[Want] = []
        for want in self.wants:
            found.append(want)
            if want.kind == "coverage" and not self.world.family_sd:
                found.append(replace(want, these=True))
        return tuple(found)

    def variants(self) -> tuple[Case, ...]:
        """With and without margins."""
        if not self.both:
            return (self,)
        name = f"{self.name}, accuracies only"
        return self, replace(self, name=name, world=self.world.accuracies_only(), both=False)


BASE = World()
FINE = tuple(float(v) for v in np.round(np.arange(0.08, 0.33, 0.03), 2))
LINEAR = Arm(levels=FINE, losses=tuple(2.5 * v for v in FINE))
FALLING = Arm(levels=FINE, critical=(0.29, 0.24, 0.19, 0.14), top=4.0, power=1.5)
RISING = (0.7, 0.9, 1.1, 1.3)
NULL, EFFECT = Want("P2", "no effect"), Want("P2", "effect")


def cases() -> list[Case]:
    """All worlds, in the order of the table."""
    return [
        *_losses(), *_scales(), *_noise(), *_cuts(), *_families(), *_replicates(), *_declines(), *_critical(), *_quantized(),
        *_recovered(), *_small_weights(),
    ]  # fmt: skip


def _losses() -> list[Case]:
    section = "Losses: none, equal, larger by the tier"
    found = [
        Case(
            section,
            "nothing is lost",
            BASE.with_arm(losses=(0.0, 0.0, 0.0)),
            (NULL, Want("P1", "no effect")),
        ),
        Case(section, "equal loss", BASE, (NULL, Want("P2", "coverage"), Want("P1", "effect"))),
        Case(section, "equal loss, logistic items", replace(BASE, shape="logistic"), (NULL,)),
        Case(section, "equal loss, equal tiers", replace(BASE, step=0.0, easiness=1.5), (NULL,)),
        Case(
            section,
            "equal loss, 1 in 4 right by chance",
            replace(BASE, chance=0.25),
            (NULL, Want("P2", "coverage")),
        ),
    ]
    for share in (0.05, 0.1):
        name = f"{share:g} more loss per tier"
        found.append(Case(section, name, BASE.with_arm(share=share), (Want("P2", "shown"),)))
    for share in (0.2, 0.4):
        wants = (EFFECT, Want("P2", "coverage", share))
        found.append(Case(section, f"{share:g} more loss per tier", BASE.with_arm(share=share), wants))
    logistic = replace(BASE, shape="logistic").with_arm(share=0.3)
    floor = replace(BASE, guessing=(3, 4), chance=0.25).with_arm(share=0.3)
    return [
        *found,
        Case(section, "0.3 more loss per tier, logistic items", logistic, (EFFECT,)),
        Case(section, "0.3 less loss per tier", BASE.with_arm(share=-0.3), (NULL, Want("P2", "refuted"))),
        Case(section, "0.3 more loss per tier, tiers 3 and 4 guess", floor, (EFFECT,)),
    ]


def _scales() -> list[Case]:
    section = "What the logits are"
    true = BASE.with_arm(share=0.3)
    found = [
        ("logits x1.3 with the level, equal loss", replace(BASE, sharpen=1.3), NULL),
        ("logits x0.7 with the level, equal loss", replace(BASE, sharpen=0.7), NULL),
        ("logits x1.3 with the level, 0.3 more per tier", replace(true, sharpen=1.3), EFFECT),
        ("logits x0.7 with the level, 0.3 more per tier", replace(true, sharpen=0.7), EFFECT),
        ("discriminations .7 to 1.3 by tier, equal loss", replace(BASE, discriminations=RISING), NULL),
        ("discriminations 1.3 to .7 by tier, equal loss", replace(BASE, discriminations=RISING[::-1]), NULL),
        ("discriminations 1.3 to .7, 0.3 more per tier", replace(true, discriminations=RISING[::-1]), EFFECT),
        ("items' SD x.7 to x1.3 by tier, equal loss", replace(BASE, spreads=RISING), NULL),
        ("items' SD x1.3 to x.7 by tier, equal loss", replace(BASE, spreads=RISING[::-1]), NULL),
        ("items' SD x1.3 to x.7, 0.3 more per tier", replace(true, spreads=RISING[::-1]), EFFECT),
        ("margins clipped at 4, equal loss", replace(BASE, clip=4.0), NULL),
        ("margins clipped at 4, 0.3 more per tier", replace(true, clip=4.0), EFFECT),
    ]
    return [Case(section, name, world, (want,)) for name, world, want in found]


def _noise() -> list[Case]:
    section = "Items and noise"
    true = BASE.with_arm(share=0.3)
    symbols = replace(BASE, symbols=(2, 3, 4, 5), easiness=3.0)
    passages = replace(BASE, per_cluster=5, cluster_sd=0.5)
    found = [
        ("cloglog items, equal loss", replace(BASE, shape="cloglog"), NULL),
        ("log-log items, equal loss", replace(BASE, shape="loglog"), NULL),
        ("cloglog items and noise, 0.3 more per tier", replace(true, shape="cloglog", noise_shape="cloglog"), EFFECT),
        ("log-log items and noise, 0.3 more per tier", replace(true, shape="loglog", noise_shape="loglog"), EFFECT),
        ("t3 noise of SD 1.2, equal loss", replace(BASE, noise_shape="t3", noise=1.2), NULL),
        ("noise of SD 0.6 to 3.4 with the level, equal loss", replace(BASE, noise_growth=2.8), NULL),
        ("noise of SD 0.6 to 3.4, 0.4 more per tier", replace(BASE, noise_growth=2.8).with_arm(share=0.4), EFFECT),
        ("5 items of 1,000 at -200, equal loss", replace(BASE, outliers=0.005), NULL),
        ("5 items of 1,000 at -200, 0.3 less per tier", replace(BASE, outliers=0.005).with_arm(share=-0.3), NULL),
        ("harder items of a tier lose more, equal loss", replace(BASE, own=-0.3), NULL),
        ("easier items of a tier lose more, equal loss", replace(BASE, own=0.3), NULL),
        ("easier items of a tier lose more, 0.4 per tier", replace(BASE, own=0.3).with_arm(share=0.4), EFFECT),
        ("2 to 5 symbols per answer, equal loss a symbol", symbols, NULL),
        ("2 to 5 symbols per answer, 0.3 more per tier", symbols.with_arm(share=0.3), EFFECT),
    ]  # fmt: skip
    return [
        *(Case(section, name, world, (want,)) for name, world, want in found),
        Case(section, "passages of 5 items, equal loss", passages, (NULL, Want("P2", "coverage"))),
    ]


def _cuts() -> list[Case]:
    section = "Tiers cut from runs that are judged (equal loss)"
    plain = replace(BASE, step=0.0, easiness=1.5)
    heavy = replace(plain, noise=1.2)
    found = [
        ("cut from the dense run", replace(plain, cut=Cut()), "inconclusive"),
        ("cut from the dense run, nothing is lost", replace(plain, cut=Cut()).with_arm(losses=(0, 0, 0)), "inconclusive"),
        ("cut from the dense run with noise of SD 0.3", replace(heavy, cut=Cut(noise=0.3)), "no effect"),
        ("cut from the dense run with noise of SD 1", replace(heavy, cut=Cut(noise=1.0)), "no effect"),
        ("cut from the run at level 0.5", replace(heavy, cut=Cut(2)), "inconclusive"),
        ("cut from the run at level 0.5 with noise of SD 0.3", replace(heavy, cut=Cut(2, 0.3)), "no effect"),
        ("cut from the run at level 0.5 with noise of SD 1", replace(heavy, cut=Cut(2, 1.0)), "no effect"),
        ("cut from another evaluation of the dense model", replace(plain, cut=Cut(fresh=True)), "no effect"),
    ]  # fmt: skip
    return [Case(section, name, world, (Want("P2", kind),)) for name, world, kind in found]  # type: ignore[arg-type]


def _families() -> list[Case]:
    section = "Families"
    nine = replace(BASE, families=9, family_sd=0.25)
    shared = replace(BASE, shared=2, cluster_sd=0.3)
    mean = (Want("P2", "effect"), Want("P2", "coverage", 0.3))
    own = Want("P2", "coverage", 0.3, these=True)
    return [
        Case(section, "nine, slopes N(0, .25)", nine, (NULL, Want("P2", "coverage"))),
        Case(section, "nine, slopes N(.3, .25)", nine.with_arm(share=0.3), (*mean, own)),
        Case(
            section,
            "two, slopes N(0, .25)",
            replace(nine, families=2),
            (Want("P2", "this draw"), replace(own, value=0.0)),
        ),
        Case(section, "questions asked in two families, equal loss", shared, (NULL, Want("P2", "coverage"))),
    ]


def _replicates() -> list[Case]:
    section = "Masks drawn by lot, slopes N(mean, .1) over masks"
    found = []
    for k in (1, 2, 3, 5):
        arm = Arm("random", replicates=k, replicate_sd=0.1)
        name = f"{k} masks" if k > 1 else "one mask"
        none: tuple[Want, ...] = (NULL, Want("P2", "coverage"))
        some: tuple[Want, ...] = (EFFECT, Want("P2", "coverage", 0.3))
        if k == 1:
            none = (Want("P2", "this draw"), Want("P2", "coverage", once=True))
            some = (Want("P2", "this draw"), Want("P2", "coverage", 0.3, once=True))
        found.append(Case(section, f"{name}, mean 0", replace(BASE, arms=(arm,)), none))
        found.append(Case(section, f"{name}, mean .3", replace(BASE, arms=(replace(arm, share=0.3),)), some))
    return found


def _declines() -> list[Case]:
    section = "P1: from level to level (scores alone, margins or not)"
    rise = 3 * Rules().delta_rise
    low = brentq(lambda loss: BASE.accuracy(loss) - BASE.accuracy(1.0) - rise, 0.0, 1.0)
    small = replace(BASE, families=2, items=100)
    few = World(
        families=1, tiers=2, easiness=5.5, step=0.0, arms=(Arm(levels=(0.3, 0.5), losses=(1.0, 3.32)),)
    )
    return [
        Case(section, f"a rise of {rise:g} at one step", BASE.with_arm(losses=(1.0, low, 1.5)), (Want("P1", "no effect"),), both=False),
        Case(section, f"a rise of {rise:g} at one step, 2 families of 100 items per tier", small.with_arm(losses=(1.0, low, 1.5)), (Want("P1", "no effect"),), both=False),
        Case(section, "falls at every step", BASE, (Want("P1", "effect"),), both=False),
        Case(section, "falls once, then flat", BASE.with_arm(losses=(1.0, 1.0, 1.0)), (Want("P1", "effect"),), both=False),
        Case(section, "flat: nothing is lost", BASE.with_arm(losses=(0.0,) * 3), (Want("P1", "no effect"),), both=False),
        Case(section, "0.1 is lost, 16 items", replace(few, items=8), (Want("P1", "effect"),), both=False),
        Case(section, "0.1 is lost, 8 items", replace(few, items=4), (Want("P1", "effect"),), both=False),
    ]  # fmt: skip


def _critical() -> list[Case]:
    section = "P3: critical levels"
    null, effect = Want("P3", "no effect"), (Want("P3", "effect"), Want("P3", "coverage", 0.05))
    fine = replace(BASE, arms=(LINEAR,))
    falling = replace(BASE, arms=(FALLING,))
    steep = replace(BASE, easiness=8.5, step=0.5)
    early = Arm(levels=(0.5, 0.6, 0.7), critical=(0.25, 0.2, 0.15, 0.1))
    wide = Arm(levels=(0.1, 0.3, 0.5, 0.7), critical=(0.29, 0.24, 0.19, 0.14), power=3.0)
    same = replace(wide, critical=(0.2,) * 4)
    unresolved = Want("P3", "inconclusive")
    return [
        Case(section, "equal, fine grid", fine, (null, Want("P3", "coverage"))),
        Case(section, "equal, fine grid, logits x1.3", replace(fine, sharpen=1.3), (null,)),
        Case(section, "equal, fine grid, discriminations .7 to 1.3", replace(fine, discriminations=RISING), (null,)),
        Case(section, "equal, fine grid, items' SD x1.3 to x.7", replace(fine, spreads=RISING[::-1]), (null,)),
        Case(section, "equal, fine grid, cloglog items", replace(fine, shape="cloglog"), (null,)),
        Case(section, "equal, fine grid, log-log items", replace(fine, shape="loglog"), (null,)),
        Case(section, "fall of .05 per tier, fine grid", falling, effect),
        Case(section, "fall of .05 per tier, fine grid, logits x0.7", replace(falling, sharpen=0.7), effect[:1]),
        Case(section, "fall of .05 per tier, all passed at the first level", replace(steep, arms=(early,)), (unresolved,)),
        Case(section, "fall of .05 per tier, all within one wide step", replace(steep, arms=(wide,)), (unresolved,)),
        Case(section, "equal, all within one wide step", replace(steep, arms=(same,)), (null, unresolved)),
    ]  # fmt: skip


def _quantized() -> list[Case]:
    section = "P4: pruning against quantization"
    pruned = Arm(levels=(0.3, 0.5, 0.7, 0.85), losses=(0.5, 1.0, 1.5, 2.0), share=0.3)
    cheap = Arm("rtn", bits=(8, 6, 4), losses=(0.1, 0.3, 0.8), share=0.3)
    dear = replace(cheap, losses=(0.5, 1.0, 1.5))
    apart = replace(BASE, arms=(replace(pruned, share=0.4), replace(dear, share=0.0)))
    return [
        Case(section, "the same tiers' law, equal losses", replace(BASE, arms=(pruned, dear)), (Want("P4", "no effect"),)),
        Case(
            section,
            "the same tiers' law, quantization loses less at equal memory",
            replace(BASE, arms=(pruned, cheap)),
            (Want("P4", "no effect"), Want("P4 memory", "effect")),
        ),
        Case(section, "pruning 0.4 per tier, quantization 0", apart, (Want("P4", "effect"), Want("P4 memory", "effect"))),
    ]  # fmt: skip


def _recovered() -> list[Case]:
    section = "P5: the gap that is left after training"

    def world(share: float, k: int = 1, sd: float = 0.0) -> World:
        pruned = Arm(levels=(0.5, 0.6), losses=(1.2, 1.5))
        control = Arm("dense+dense_transfer", (0.0,), (-0.3,), replicates=k, replicate_sd=sd)
        after = Arm("magnitude+sparse_transfer", (0.6,), (0.7,), share, replicates=k, replicate_sd=sd)
        return replace(BASE, arms=(pruned, control, after))

    null, effect = Want("P5", "no effect"), Want("P5", "effect")
    return [
        Case(section, "one training, the same gap in every tier", world(0.0), (null, Want("P5", "coverage"), Want("P5", "this draw"))),
        Case(section, "one training, gap 0.28 larger per tier", world(0.4), (effect, Want("P5", "coverage", 0.28))),
        Case(section, "3 trainings, slopes N(0, .1)", world(0.0, 3, 0.1), (null, Want("P5", "coverage"))),
        Case(section, "5 trainings, slopes N(0, .1)", world(0.0, 5, 0.1), (null, Want("P5", "coverage"))),
        Case(section, "3 trainings, slopes N(.28, .1)", world(0.4, 3, 0.1), (effect, Want("P5", "coverage", 0.28))),
    ]  # fmt: skip


def _small_weights() -> list[Case]:
    section = "P6: magnitude against random and largest"

    def world(
        magnitude: float, random: float, largest: float, losses: tuple[float, ...] = (0.5, 1.0, 1.5)
    ) -> World:
        others = Arm("random", share=random, losses=losses), Arm("largest", share=largest, losses=losses)
        return replace(BASE, arms=(Arm(share=magnitude), *others))

    null = Want("P6", "no effect")
    return [
        Case(section, "the same law of loss, 0.3 more per tier", world(0.3, 0.3, 0.3), (null,)),
        Case(section, "the same law, no tiers' effect", world(0.0, 0.0, 0.0), (null,)),
        Case(
            section,
            "the same law at other levels' losses",
            world(0.3, 0.3, 0.3, (0.3, 0.8, 1.8)),
            (null,),
        ),
        Case(section, "only magnitude has 0.3 per tier", world(0.3, 0.0, 0.0), (Want("P6", "effect"),)),
        Case(section, "random has the larger slope", world(0.1, 0.4, 0.1), (null, Want("P6", "refuted"))),
        Case(section, "largest has the larger slope", world(0.3, 0.0, 0.3), (null,)),
    ]
