"""Quotas: limits, what was used of them, and how engines are shared."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "quotas",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("measure", sa.String(), nullable=False),
        sa.Column("window", sa.String(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("set_by", sa.String(), nullable=False),
        sa.Column("set_at", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.id"], name=op.f("fk_quotas_tenant")),
        sa.ForeignKeyConstraint(["set_by"], ["principals.id"], name=op.f("fk_quotas_set_by")),
        sa.PrimaryKeyConstraint(
            "tenant", "kind", "target", "measure", "window", name=op.f("pk_quotas")
        ),
    )
    op.create_table(
        "quota_uses",
        sa.Column("counter", sa.String(), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("counter", "start", name=op.f("pk_quota_uses")),
    )
    op.create_table(
        "quota_leases",
        sa.Column("counter", sa.String(), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("counter", "start", "holder", name=op.f("pk_quota_leases")),
    )
    op.create_table(
        "shares",
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("weight", sa.Integer(), nullable=True),
        sa.Column("priority", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.id"], name=op.f("fk_shares_tenant")),
        sa.PrimaryKeyConstraint("tenant", "kind", "target", name=op.f("pk_shares")),
    )
    op.create_table(
        "capacities",
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("accelerators", sa.Integer(), nullable=False),
        sa.Column("watts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("model", name=op.f("pk_capacities")),
    )


def downgrade() -> None:
    """Undo."""
    for name in ("capacities", "shares", "quota_leases", "quota_uses", "quotas"):
        op.drop_table(name)
