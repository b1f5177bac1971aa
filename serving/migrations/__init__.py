"""Schema of the order store, version by version (Alembic); `serving.order_store` brings a store up to date."""
