"""Adopt an older alerts table."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    for table in ("alert_faults", "alert_events", "alerts", "watched_tables"):
        op.execute(f"drop table if exists walltrack.{table}")
    op.execute("drop type if exists walltrack.order_facts")
