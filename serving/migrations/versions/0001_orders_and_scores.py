"""Orders as posted, and the scores of the last batches."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_TEXTS = (
    "status", "coupon_code", "product_id", "category", "channel", "attribution_medium", "country", "state", "postcode",
    "currency", "parent_order_id",
)  # fmt: skip
_NUMBERS = ("discount_amount", "quantity", "cost")
_FACTS = (
    ("currency", sa.Text), ("as_of", sa.Text), ("prediction_start", sa.Text), ("prediction_end", sa.Text),
    ("basis", sa.Text), ("historic_clv", sa.Double), ("historic_number_of_orders", sa.BigInteger),
    ("average_order_value", sa.Double), ("average_days_between_orders", sa.Double),
    ("days_since_last_order", sa.BigInteger), ("p_alive", sa.Double),
    ("expected_date_of_next_order_window_start", sa.Text), ("expected_date_of_next_order", sa.Text),
    ("expected_date_of_next_order_window_end", sa.Text), ("percentile", sa.Double), ("value_tier", sa.Text),
    ("lifecycle_status", sa.Text), ("rfm_score", sa.Text), ("purchase_probability", sa.Double),
    ("churn_probability", sa.Double), ("predicted_number_of_orders", sa.Double),
    ("predicted_average_order_value", sa.Double), ("predicted_clv", sa.Double), ("predicted_clv_lower", sa.Double),
    ("predicted_clv_upper", sa.Double), ("interval_level", sa.Double), ("margin", sa.Double),
    ("discount_rate", sa.Double), ("total_clv", sa.Double), ("segments", sa.Text), ("flags", sa.Text),
    ("null_reasons", sa.Text), ("model_name", sa.Text), ("model_version", sa.Text), ("model_trained_on", sa.Text),
    ("model_data_fingerprint", sa.Text),
)  # fmt: skip


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "orders",
        sa.Column("order_id", sa.Text, primary_key=True),
        sa.Column("refund", sa.Boolean, primary_key=True),
        sa.Column("line", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("customer_id", sa.Text, nullable=False),
        sa.Column("ordered_at", sa.BigInteger, nullable=False),
        sa.Column("amount", sa.Double, nullable=False),
        *(sa.Column(name, sa.Text) for name in _TEXTS),
        *(sa.Column(name, sa.Double) for name in _NUMBERS),
    )
    op.create_index("orders_by_customer", "orders", ["customer_id"])
    sent = op.create_table("sent", sa.Column("columns", sa.BigInteger, nullable=False))
    op.bulk_insert(sent, [{"columns": 0}])
    op.create_table(
        "score_runs",
        sa.Column("run", sa.Integer, primary_key=True),
        sa.Column("scored_at", sa.Text, nullable=False),
        sa.Column("primary_horizon_days", sa.Integer, nullable=False),
        sa.Column("whole", sa.Boolean, nullable=False),
    )
    op.create_table(
        "scores",
        sa.Column("run", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("horizon_days", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("customer_id", sa.Text, primary_key=True),
        *(sa.Column(name, kind) for name, kind in _FACTS),
    )
    for field in ("predicted_clv", "churn_probability", "historic_clv"):
        op.create_index(f"scores_by_{field}", "scores", ["run", "horizon_days", field, "customer_id"])


def downgrade() -> None:
    """Drop them."""
    for table in ("scores", "score_runs", "sent", "orders"):
        op.drop_table(table)
