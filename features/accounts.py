"""Where the rows of an order log went, and what would bring more of them in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from features.columns import EXPLANATIONS, Rule
from features.refused import amounts_repair, dates_repair, shown_forms

_SHOWN_STATUSES: Final = 12
_WRITE_DATES: Final = (
    "Write all as ISO 8601, or, with the year in four digits and the month as a number, say --dates dmy or mdy"
)
_MANY, _NEARLY_ALL = 20, 0.99
"""How many amounts, and what share of those with a decimal mark, have three digits behind it."""


@dataclass(frozen=True, kw_only=True)
class Accounts:
    """Where the rows of an order log went: `n_valid + n_rejected == n_read`, always.

    Attributes
    ----------
    rejected_by_rule
        How many rows broke each rule.
    identical_rows
        Valid rows equal to another in every column; they are kept.
    placeholder_dates
        Valid rows dated before 1960; kept, but worth a look.
    lost_refunds
        Rejected rows whose amount is below 0 and whose customer or time is not known.
    opposite_quantities
        Valid rows whose quantity is below 0 and whose amount is above; kept, but worth a look.
    statuses
        How many valid rows have each status, lower case, without WooCommerce's `wc-`.
    shortened_ids
        Customers whose id a spreadsheet made of a long number: `4.91E+12`, which many customers may share.
    date_forms, amount_forms
        What dates and amounts that could not be read look like (`features.refused`), and how many each.
    marked_amounts
        How many amounts have three digits behind the decimal mark (`9.999`), and how many an `other` number of them.
    """

    n_valid: int = 0
    n_customers: int = 0
    rejected_by_rule: Counter[str] = field(default_factory=Counter)
    identical_rows: int = 0
    placeholder_dates: int = 0
    lost_refunds: int = 0
    opposite_quantities: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    shortened_ids: int = 0
    date_forms: Counter[str] = field(default_factory=Counter)
    amount_forms: Counter[str] = field(default_factory=Counter)
    marked_amounts: Counter[str] = field(default_factory=Counter)

    @property
    def n_rejected(self) -> int:
        """Rows set aside."""
        return self.rejected_by_rule.total()

    @property
    def n_read(self) -> int:
        """Rows in the source."""
        return self.n_valid + self.n_rejected

    def __add__(self, other: Accounts) -> Accounts:
        """Accounts of two logs that share no customer."""
        return Accounts(**{name: value + getattr(other, name) for name, value in vars(self).items()})

    def summary(self) -> str:
        """One paragraph: what was read, kept, set aside and why."""
        text = f"{self.n_read:,} rows read: {self.n_valid:,} valid of {self.n_customers:,} customers"
        text += f", {self.n_rejected:,} rejected"
        if self.n_rejected:
            most_first = sorted(self.rejected_by_rule.items(), key=lambda pair: (-pair[1], pair[0]))
            text += " (" + ", ".join(f"{rule} {count:,}" for rule, count in most_first) + ")"
        if self.lost_refunds:
            text += f"; {self.lost_refunds:,} of the rejected rows are refunds without a customer or a time"
        if self.identical_rows:
            text += f"; {self.identical_rows:,} rows are identical to another and were kept"
            text += " (--drop-repeated-lines drops those of one order; without order ids they may be two orders)"
        if self.placeholder_dates:
            text += f"; {self.placeholder_dates:,} rows are dated before 1960 (placeholder dates?)"
        if self.opposite_quantities:
            text += f"; {self.opposite_quantities:,} rows have a quantity below 0 and an amount above (sent back?)"
        if self.statuses:
            counted = self.statuses.most_common(_SHOWN_STATUSES)
            text += "; counted as paid: " + ", ".join(f"{status} {count:,}" for status, count in counted)
            text += f" and {len(self.statuses) - len(counted)} other statuses" * (len(self.statuses) > len(counted))
            text += " (leave out of the export what is not)"
        if self.n_rejected * 10 > self.n_read:
            worst = Rule[most_first[0][0].upper()]
            text += f". Most rejected rows: {EXPLANATIONS[worst]}. --rejected PATH writes them all"
        return " ".join([text + ".", *self._shortened(), *self._repairs(), *self._thousandths()])

    @property
    def repairs(self) -> str:
        """What dates and amounts that could not be read look like, and what would read them; empty without any."""
        return " ".join(self._repairs())

    def _shortened(self) -> Iterator[str]:
        if self.shortened_ids:
            yield (
                f"{self.shortened_ids:,} customer ids are numbers that a spreadsheet has shortened, such as 4.91E+12: "
                "one may stand for many customers. Export the ids as texts."
            )

    def _thousandths(self) -> Iterator[str]:
        for mark, other in (".,", ",."):
            three = self.marked_amounts[f"9{mark}999"]
            if three >= _MANY and three >= _NEARLY_ALL * self.marked_amounts.total():
                yield (
                    f"{three:,} amounts are written as 9{mark}999 is, hardly any as 9{mark}99, and are read as less "
                    f"than a thousand. If they are thousands, say --thousands {mark} --decimal {other}"
                )

    def _repairs(self) -> Iterator[str]:
        if self.date_forms:
            repair = dates_repair(self.date_forms) or _WRITE_DATES
            yield f"Unreadable dates look like {shown_forms(self.date_forms)}. {repair}."
        if self.amount_forms:
            options = amounts_repair(form for form, _ in self.amount_forms.most_common())
            # without a full stop, which would be pasted, too
            say = f" Where all amounts are written so, say {options}" if options else ""
            yield f"Unreadable amounts look like {shown_forms(self.amount_forms)}.{say}"


NOTHING_READ: Final = Accounts()
