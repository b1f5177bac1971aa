"""Order logs with known truth, for tests: the textbook's shop and others it does not describe.

A shop is customers (`_Customers`), the spread of their gaps and the spread of their values (`Draw`); `_trade`
lets them buy. Day 0 is taken to be a 1 January.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, TypeAlias

import numpy as np

from features.arrays import FloatArray, IntArray
from features.assemble import assemble
from features.instants import DAY_US
from features.orders import OrderLog
from features.typed import Codes, TypedOrders
from model.btyd import BgNbd, GammaGamma

PURCHASES: Final = BgNbd(r=0.8, alpha=45.0, a=0.9, b=3.0)
VALUES: Final = GammaGamma(p=5.0, q=4.0, v=30.0)

YEAR_DAYS: Final = 365.0
REGULARITY: Final = 4.0
"""Shape of the gaps of `regular`: their standard deviation is half their mean."""
PEAK_DAY: Final = 340.0
"""Height of the season of `seasonal`, 7 December, when rates are four times those of summer."""
PEAK_WIDTH_DAYS: Final = 18.0
PEAK_HEIGHT: Final = 3.0
CUSTOMERS_PER_YEAR: Final = 4.0
"""Growth of `growing`: how many join within a year for each who joined in the year before."""
VALUES_PER_YEAR: Final = 1.1
"""The same of its order values."""
CONTRACT_DAYS: Final = 30.0
"""An order of `contract` follows the one before after 30 ± 2 days."""
CONTRACT_SLACK_DAYS: Final = 2.0

Draw: TypeAlias = Callable[[int], FloatArray]
"""n independent numbers > 0 whose mean is 1."""


@dataclass(frozen=True)
class Simulated:
    """Orders of a simulated shop and what drives each customer, shape (n_customers,) each.

    Attributes
    ----------
    customer, day, amount
        Order rows: number of the customer, fractional day since the start, value; shape (n_rows,).
    rate
        Purchases per day while active, averaged over the season.
    leaves_on
        Day after which the customer is gone, that of a purchase where purchases make customers leave;
        infinite if beyond the simulation.
    mean_value
        Expected value of an order, on day 0 where values rise.
    """

    customer: IntArray
    day: FloatArray
    amount: FloatArray
    rate: FloatArray
    leaves_on: FloatArray
    mean_value: FloatArray

    def log(self, start: int = 0) -> OrderLog:
        """Order log that begins at an instant in µs UTC."""
        n_customers = len(self.rate)
        ids = np.array([f"{number:08d}" for number in range(n_customers)], dtype=object)
        at = start + (self.day * DAY_US).astype(np.int64)
        return assemble(TypedOrders(Codes(self.customer.astype(np.int32), ids), at, self.amount)).log


def simulate(n_customers: int, days: int, *, seed: int = 0, joined_over: float = 0.5) -> Simulated:
    """The textbook's shop, BG/NBD and Gamma-Gamma: customers join evenly over the first part of the time.

    Parameters
    ----------
    days
        Length of the log.
    joined_over
        Part of the time in which first orders happen, in (0, 1].
    """
    return _textbook(n_customers, days, seed, lambda part: part * (days * joined_over))


def regular(n_customers: int, days: int, seed: int) -> Simulated:
    """Gaps are Gamma with shape 4 around the customer's own mean, 30 days in the median; lifetimes are Pareto.

    Everyone who has waited much longer than usual is gone: the rhythm tells what BG/NBD cannot see.
    """
    rng = np.random.default_rng(seed)
    rate = 1.0 / (30.0 * rng.lognormal(0.0, 0.6, n_customers))
    hazard = rng.gamma(2.0, 1.0 / 600.0, n_customers)
    joined = rng.uniform(0.0, days, n_customers)
    lifetime = rng.exponential(1.0, n_customers) / hazard
    who = _Customers(joined, rate, np.zeros(n_customers), lifetime, _mean_values(rng, n_customers))
    return _trade(rng, who, days, lambda n: rng.gamma(REGULARITY, 1.0 / REGULARITY, n), _gamma_gamma(rng))


def seasonal(n_customers: int, days: int, seed: int) -> Simulated:
    """The textbook's shop on a clock that runs faster before Christmas: rates and first orders follow the season.

    Between the ticks of that clock nothing changes, so every customer's purchases are as in `simulate`.
    """
    calendar = np.arange(days + 1.0)
    clock = np.concatenate([[0.0], np.cumsum(season(calendar[:-1] + 0.5))])
    shop = _textbook(n_customers, clock[-1], seed, lambda part: part * clock[-1])
    leaves_on = np.where(np.isfinite(shop.leaves_on), np.interp(shop.leaves_on, clock, calendar), np.inf)
    return replace(shop, day=np.interp(shop.day, clock, calendar), leaves_on=leaves_on)


def season(day: FloatArray) -> FloatArray:
    """Factor on the rates of `seasonal` by day since a 1 January, > 0, mean 1 over a year; shape as given."""

    def raw(of: FloatArray) -> FloatArray:
        return 1.0 + PEAK_HEIGHT * np.exp(-0.5 * ((of % YEAR_DAYS - PEAK_DAY) / PEAK_WIDTH_DAYS) ** 2)

    return np.asarray(raw(day) / raw(np.arange(YEAR_DAYS) + 0.5).mean())


def growing(n_customers: int, days: int, seed: int) -> Simulated:
    """The textbook's shop with four times the new customers and 10 % higher values every year."""
    growth = np.log(CUSTOMERS_PER_YEAR) / YEAR_DAYS
    shop = _textbook(n_customers, days, seed, lambda part: np.log1p(part * np.expm1(growth * days)) / growth)
    return replace(shop, amount=_money(shop.amount * VALUES_PER_YEAR ** (shop.day / YEAR_DAYS)))


def contract(n_customers: int, days: int, seed: int) -> Simulated:
    """The customer's own price every 30 ± 2 days, until the customer leaves: about 5 % do in a month."""
    rng = np.random.default_rng(seed)
    rate = np.full(n_customers, 1.0 / CONTRACT_DAYS)
    hazard = rng.gamma(4.0, 0.05 / 4.0, n_customers) / CONTRACT_DAYS
    joined = rng.uniform(0.0, days, n_customers)
    lifetime = rng.exponential(1.0, n_customers) / hazard
    who = _Customers(joined, rate, np.zeros(n_customers), lifetime, _mean_values(rng, n_customers))
    slack = CONTRACT_SLACK_DAYS / CONTRACT_DAYS
    return _trade(rng, who, days, lambda n: rng.uniform(1.0 - slack, 1.0 + slack, n), np.ones)


def unpredictable(n_customers: int, days: int, seed: int) -> Simulated:
    """The negative control: nothing in a customer's past tells anything about the customer's future.

    All join on the first day, none leaves, all buy every 60 days on average by one Poisson process, and
    values are independent lognormals with mean 50. Whoever finds a ranking here has looked ahead.
    """
    rng = np.random.default_rng(seed)
    same = np.ones(n_customers)
    who = _Customers(rng.random(n_customers), same / 60.0, 0.0 * same, np.inf * same, 50.0 * same)
    return _trade(rng, who, days, lambda n: rng.exponential(1.0, n), lambda n: rng.lognormal(-0.32, 0.8, n))


def _bg_nbd(n_customers: int, days: int, seed: int) -> Simulated:
    return simulate(n_customers, days, seed=seed)


SHOPS: Final[Mapping[str, Callable[[int, int, int], Simulated]]] = MappingProxyType(
    {
        "bg_nbd": _bg_nbd,
        "regular": regular,
        "seasonal": seasonal,
        "growing": growing,
        "contract": contract,
        "unpredictable": unpredictable,
    }
)
"""Shops by name, called with n_customers, days and seed."""


@dataclass(frozen=True)
class _Customers:
    """What drives customers, shape (n_customers,) each.

    Attributes
    ----------
    joined
        Day of the first order.
    rate
        Purchases per day.
    leave
        Chance to leave after each purchase but the first.
    lifetime
        Days from the first order after which the customer leaves in any case.
    mean_value
        Expected value of an order.
    """

    joined: FloatArray
    rate: FloatArray
    leave: FloatArray
    lifetime: FloatArray
    mean_value: FloatArray


def _textbook(n_customers: int, days: float, seed: int, join_day: Callable[[FloatArray], FloatArray]) -> Simulated:
    """BG/NBD purchases and Gamma-Gamma values; `join_day` maps an even draw from [0, 1) to the first order's day."""
    rng = np.random.default_rng(seed)
    rate = rng.gamma(PURCHASES.r, 1.0 / PURCHASES.alpha, n_customers)
    leave = rng.beta(PURCHASES.a, PURCHASES.b, n_customers)
    mean_value = _mean_values(rng, n_customers)
    who = _Customers(join_day(rng.random(n_customers)), rate, leave, np.full(n_customers, np.inf), mean_value)
    return _trade(rng, who, days, lambda n: rng.exponential(1.0, n), _gamma_gamma(rng))


def _mean_values(rng: np.random.Generator, n_customers: int) -> FloatArray:
    """Expected value of an order of each customer, money: p / nu of Gamma-Gamma."""
    return VALUES.p / rng.gamma(VALUES.q, 1.0 / VALUES.v, n_customers)


def _gamma_gamma(rng: np.random.Generator) -> Draw:
    """Values of Gamma-Gamma relative to the customer's mean."""
    return lambda n: rng.gamma(VALUES.p, 1.0, n) / VALUES.p


def _trade(rng: np.random.Generator, who: _Customers, days: float, gap: Draw, value: Draw) -> Simulated:
    """Let customers buy until they leave or the log ends, with gaps and values drawn around their own means."""
    now, ends = who.joined.copy(), who.joined + who.lifetime
    leaves_on = np.where(ends < days, ends, np.inf)
    active, rows = np.arange(len(now)), []
    while len(active):
        rows.append((active, now[active]))
        gone = rng.random(len(active)) < np.where(len(rows) > 1, who.leave[active], 0.0)
        leaves_on[active[gone]] = now[active[gone]]
        active = active[~gone]
        now[active] += gap(len(active)) / np.maximum(who.rate[active], 1e-9)
        active = active[now[active] < np.minimum(ends[active], days)]
    customer = np.concatenate([some for some, _ in rows])
    day = np.concatenate([when for _, when in rows])
    amount = _money(value(len(customer)) * who.mean_value[customer])
    order = np.argsort(day, kind="stable")
    return Simulated(customer[order], day[order], amount[order], who.rate, leaves_on, who.mean_value)


def _money(amount: FloatArray) -> FloatArray:
    """Values in whole cents, at least one."""
    return np.maximum(np.round(amount, 2), 0.01)
