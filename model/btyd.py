"""Buy-till-you-die formulas: BG/NBD and its modification for how often, Gamma-Gamma for how much.

Fader, Hardie & Lee (2005), "Counting your customers the easy way"; Fader & Hardie (2013),
"The Gamma-Gamma model of monetary value". Fitting them is `training.btyd`'s business.
All times here are days; all arrays have shape (n_customers,).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from scipy.special import expit, hyp2f1

from features.arrays import BoolArray, FloatArray, IntArray
from features.instants import DAY_US
from features.matrix import FeatureMatrix
from features.segments import ratio


@dataclass(frozen=True)
class Summary:
    """What the formulas know of each customer.

    Attributes
    ----------
    repeats
        x: distinct purchase days after the first, >= 0.
    last_days
        t_x: days from the first to the last purchase day, 0 when there are no repeats.
    tenure_days
        T: days from the first purchase to `as_of`, >= last_days.
    day_value
        Mean value of a purchase day, the first one included, before refunds, > 0.
    repeat_value
        The same without the first day; NaN without repeats.
    orders
        On all purchase days, >= 1 on each.
    as_of_day
        Whole days from 1970-01-01 UTC to `as_of`; models with `truncation` ask for it.
    alive
        `p_alive` by model, kept because every other quantity of a model needs it.
    """

    repeats: FloatArray
    last_days: FloatArray
    tenure_days: FloatArray
    day_value: FloatArray
    repeat_value: FloatArray
    orders: FloatArray
    as_of_day: float
    alive: dict[BgNbd, FloatArray] = field(default_factory=dict, compare=False, repr=False)

    @property
    def first_day(self) -> FloatArray:
        """Day of the first purchase, counted as that of `as_of` less the tenure, whole days from 1970-01-01 UTC."""
        return self.as_of_day - self.tenure_days

    def like_later(self, later_over_first: float) -> FloatArray:
        """Mean value of a purchase day, > 0, after the first day's value is multiplied by `later_over_first`."""
        if later_over_first == 1.0:
            return self.day_value
        days = self.repeats + 1.0
        later = np.where(self.repeats > 0, self.repeat_value * self.repeats, 0.0)
        first = np.maximum(self.day_value * days - later, 0.0)
        return (later + later_over_first * first) / days

    def unseen_days(self, began_day: float, until_day: float) -> FloatArray:
        """Days from `began_day` to the first purchase, which counts as one in [began_day, until_day]."""
        return np.clip(self.first_day, began_day, until_day) - began_day

    def rows(self, keep: BoolArray | IntArray) -> Summary:
        """Return some of the rows."""
        repeats, last, tenure = self.repeats[keep], self.last_days[keep], self.tenure_days[keep]
        day_value, repeat_value, orders = self.day_value[keep], self.repeat_value[keep], self.orders[keep]
        return Summary(repeats, last, tenure, day_value, repeat_value, orders, self.as_of_day)


SUMMARISED: Final = ("purchase_days", "tenure_days", "gross_spend", "recency_days", "first_day_spend", "frequency")
"""Features that a summary is made of."""


def summarise(matrix: FeatureMatrix) -> Summary:
    """Derive the sufficient statistics from a feature matrix that has `SUMMARISED`."""
    days, tenure, spent = (matrix.column(name) for name in ("purchase_days", "tenure_days", "gross_spend"))
    last = np.where(days > 1, tenure - matrix.column("recency_days"), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        later = ratio(spent - matrix.column("first_day_spend"), days - 1.0)
    orders = matrix.column("frequency")
    return Summary(days - 1.0, last, tenure, spent / days, later, orders, float(matrix.as_of // DAY_US))


SEEN_WITHIN: Final = 5.0
"""In units of alpha: how long a log is young enough for who is first seen to have been there before it began."""


def counted_days(unseen_days: FloatArray, alpha: float) -> FloatArray:
    """Unseen days as they count: the first ones in full, all of them SEEN_WITHIN * alpha at most; shape as given."""
    most = SEEN_WITHIN * alpha
    return np.asarray(-most * np.expm1(-unseen_days / most))


@dataclass(frozen=True)
class BgNbd:
    """Purchases are Poisson with a Gamma(r, alpha) rate; after each, a customer leaves with a Beta(a, b) chance.

    In the textbook's model nobody leaves after the first purchase, so that one-time buyers are alive for ever.
    With `modified` they may, as after any other: MBG/NBD of Batislam, Denizel & Filiztekin (2007), "Empirical
    validation and comparison of models for customer base analysis". Its formulas are the textbook's with b + 1 in
    place of b, and without the exception for x = 0.

    Attributes
    ----------
    truncation
        In [0, 1]: how much lighter customers are the later they are first seen. 0: not at all, each came when first
        seen. 1: they were there before the log began, and a Gamma(r - 1, alpha) rate brought no purchase in its first e
        days: given that, and the purchase that ended them, the rate is Gamma(r, alpha + e), by Bayes' rule. In time
        those who were there have all been seen: of e `counted_days` count, and alpha is alpha + truncation *
        counted_days in all formulas.
    began_day, until_day
        Whole days from 1970-01-01 UTC to those on which the first customer of the fit (but for one in a thousand) and
        the last were first seen. Customers first seen before or after count as these do.
    """

    r: float
    alpha: float
    a: float
    b: float
    modified: bool = False
    truncation: float = 0.0
    began_day: float = 0.0
    until_day: float = 0.0

    @property
    def b_or_more(self) -> float:
        """B of the formulas: b, or b + 1 in the modified model."""
        return self.b + 1.0 if self.modified else self.b

    @property
    def of_cut_log(self) -> bool:
        """Whether the log is nearer to one cut from a longer one than to one as old as its shop."""
        return self.truncation > 0.5

    def alpha_of(self, of: Summary) -> FloatArray:
        """Each customer's alpha, days."""
        return self.alpha + self.truncation * counted_days(of.unseen_days(self.began_day, self.until_day), self.alpha)

    def p_alive(self, of: Summary) -> FloatArray:
        """Probability of being still active; 1 for customers without repeats, except in the modified model.

        From eq. (7) of the 2005 paper: 1 / (1 + a/(b+x-1) ((alpha+T)/(alpha+t_x))^(r+x)), in log space.
        """
        if self not in of.alive:
            of.alive[self] = self._p_alive(of)
        return of.alive[self]

    def _p_alive(self, of: Summary) -> FloatArray:
        alpha = self.alpha_of(of)
        with np.errstate(divide="ignore"):
            log_odds_left = (
                np.log(self.a)
                - np.log(np.maximum(self.b_or_more + of.repeats - 1.0, 1e-12))
                + (self.r + of.repeats) * (np.log(alpha + of.tenure_days) - np.log(alpha + of.last_days))
            )
        may_have_left = (of.repeats > 0) | self.modified
        return np.asarray(np.where(may_have_left, expit(-log_odds_left), 1.0), dtype=np.float64)

    def p_alive_or_null(self, of: Summary) -> FloatArray:
        """p_alive, NaN where the textbook's model can only say 1."""
        return np.where((of.repeats > 0) | self.modified, self.p_alive(of), np.nan)

    def expected_purchases(self, of: Summary, horizon_days: float) -> FloatArray:
        """Expected purchase days within the horizon, >= 0: eq. (10) of the 2005 paper.

        The hypergeometric term is taken after Euler's transformation, which leaves x only in its
        third parameter: exact, and stable for customers with thousands of purchases.
        """
        z = horizon_days / (self.alpha_of(of) + of.tenure_days + horizon_days)
        a = self.a if abs(self.a - 1.0) > 1e-6 else 1.0 + 1e-6
        third = a + self.b_or_more + of.repeats - 1.0
        tail = np.exp((a - 1.0) * np.log1p(-z)) * hyp2f1(a + self.b_or_more - 1.0 - self.r, a - 1.0, third, z)
        while_active: FloatArray = third / (a - 1.0) * (1.0 - tail)
        return np.maximum(while_active, 0.0) * self.p_alive(of)

    def purchase_probability(self, of: Summary, horizon_days: float) -> FloatArray:
        """Probability of at least one purchase within the horizon, in [0, 1].

        p_alive times the Pareto-type chance of an active customer: 1 - ((alpha+T)/(alpha+T+h))^(r+x).
        """
        log_none = (self.r + of.repeats) * -np.log1p(horizon_days / (self.alpha_of(of) + of.tenure_days))
        return self.p_alive(of) * -np.expm1(log_none)


@dataclass(frozen=True)
class GammaGamma:
    """Values of one customer's purchases are Gamma(p, nu) with nu Gamma(q, v) over customers.

    Attributes
    ----------
    net_share
        Share of them that refunds leave, in (0, 1].
    """

    p: float
    q: float
    v: float
    net_share: float = 1.0

    def expected_value(self, n_values: FloatArray, mean_value: FloatArray) -> FloatArray:
        """Expected net value of the next one given n with this mean before refunds, money: eq. (5) of the 2013 note.

        The population mean where n is 0. q > 1 is guaranteed by the fit, so that it exists.
        """
        return self.net_share * self.p * (self.v + n_values * mean_value) / (self.p * n_values + self.q - 1.0)


DAYS_BEFORE: Final = 3.0
"""As many purchase days of one's own weigh as much as what is typical of the shop."""


@dataclass(frozen=True)
class Btyd:
    """How often, and how much.

    Attributes
    ----------
    purchases
        BG/NBD on purchase days, of the textbook or modified: whichever the shop's own past is likelier under.
    value
        Gamma-Gamma on all purchase days of all customers.
    repeat_value
        Gamma-Gamma on the days after the first, of customers who have some: the textbook's choice.
    orders_a_day
        Orders on a purchase day of the typical customer, >= 1: the formulas count days.
    later_over_first
        How many times the value of the first purchase day a later one brings, > 0: not 1 where there are trial packs,
        starter kits or welcome coupons.
    """

    purchases: BgNbd
    value: GammaGamma
    repeat_value: GammaGamma
    orders_a_day: float
    later_over_first: float = 1.0

    def expected_value(self, of: Summary) -> FloatArray:
        """Expected net value of a purchase day, money: the geometric mean of two Gamma-Gamma views.

        Counting the first day tells one-time buyers apart, but it is often unlike the later ones;
        the textbook gives them all the population mean. Between the two ranks best.
        """
        day_value = of.like_later(self.later_over_first)
        counted = self.value.expected_value(of.repeats + 1.0, day_value)
        shrunk = self.repeat_value.expected_value(of.repeats, day_value)
        return np.sqrt(counted * shrunk)

    def own_orders_a_day(self, of: Summary) -> FloatArray:
        """Orders on each customer's next purchase day, >= 1: those so far, and DAYS_BEFORE days of the typical one."""
        return (of.orders + DAYS_BEFORE * self.orders_a_day) / (of.repeats + 1.0 + DAYS_BEFORE)

    def conditional(self, of: Summary, horizon_days: float) -> tuple[FloatArray, FloatArray, FloatArray]:
        """(P(purchase), E[purchases | purchase] >= 1, E[value of a purchase]) within the horizon."""
        probability = np.clip(self.purchases.purchase_probability(of, horizon_days), 1e-4, 1.0 - 1e-4)
        purchases = self.purchases.expected_purchases(of, horizon_days)
        return probability, np.maximum(purchases / probability, 1.0), self.expected_value(of)
