"""What is in the orders: products, discounts, coupons, channels, refunds."""

from __future__ import annotations

from features.arrays import FloatArray
from features.catalogue import feature
from features.history import Purchases
from features.instants import DAY_US
from features.segments import ratio


@feature(
    "n_products",
    "products",
    dtype="int",
    null="no product_id column",
    needs=("product_id",),
)
def _products(o: Purchases) -> FloatArray:
    """Distinct products over the rows with a positive amount."""
    return o.items.n_distinct(o.items.codes("product_id"))


@feature("products_per_order", "products", null="no product_id column", needs=("product_id",))
def _products_per_order(o: Purchases) -> FloatArray:
    """Distinct products bought per order."""
    return ratio(o["n_products"], o["frequency"])


@feature(
    "n_categories",
    "categories",
    dtype="int",
    null="no category column",
    needs=("category",),
)
def _categories(o: Purchases) -> FloatArray:
    """Distinct categories over the rows with a positive amount."""
    return o.items.n_distinct(o.items.codes("category"))


@feature("n_channels", "channels", dtype="int", null="no channel column", needs=("channel",))
def _channels(o: Purchases) -> FloatArray:
    """Distinct channels over the orders, each by its first row."""
    return o.n_distinct(o.channel)


@feature(
    "quantity_per_order",
    "pieces",
    low=None,
    null="no quantity column",
    needs=("quantity",),
)
def _quantity(o: Purchases) -> FloatArray:
    """Mean number of pieces in an order."""
    return o.mean(o.quantity)


@feature(
    "price_per_piece",
    "money",
    low=None,
    null="no quantity column or 0 pieces",
    needs=("quantity",),
)
def _price(o: Purchases) -> FloatArray:
    """Value of the orders per piece bought."""
    return ratio(o["gross_spend"], o.sum(o.quantity))


@feature(
    "discount_share",
    "share",
    low=None,
    null="no discount_amount column, or value and discounts cancel out",
    needs=("discount_amount",),
)
def _discount(o: Purchases) -> FloatArray:
    """Discounts as a share of the value before discount."""
    given = o.sum(o.discount)
    return ratio(given, o["gross_spend"] + given)


@feature(
    "discounted_orders_share",
    "share",
    high=1.0,
    null="no discount_amount column",
    needs=("discount_amount",),
)
def _discounted(o: Purchases) -> FloatArray:
    """Share of the orders whose discounts sum to more than 0."""
    return o.mean(o.discount > 0.0)


@feature(
    "coupon_orders_share",
    "share",
    high=1.0,
    null="no coupon_code column",
    needs=("coupon_code",),
)
def _coupon(o: Purchases) -> FloatArray:
    """Share of the orders with a coupon on any row."""
    return o.mean(o.has_coupon)


@feature("n_refunds", "refunds", dtype="int")
def _refunds(o: Purchases) -> FloatArray:
    """Number of refunds."""
    return o.refunds.count


@feature("refund_share", "share")
def _refund_share(o: Purchases) -> FloatArray:
    """Refunded value as a share of the value of the orders."""
    return ratio(o.refunds.sum(o.refunds.value), o["gross_spend"])


@feature("days_since_refund", "days", dtype="int", null="no refund")
def _since_refund(o: Purchases) -> FloatArray:
    """Whole days since the last refund."""
    return o.refunds.last((o.as_of - o.refunds.at) // DAY_US)
