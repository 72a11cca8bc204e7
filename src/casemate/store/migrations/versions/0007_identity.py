"""Identity providers and client certificates."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    for name in ("provider", "provider_session", "assurance"):
        op.add_column("sessions", sa.Column(name, sa.String(), nullable=True))
    op.create_table(
        "federated",
        sa.Column("identity", sa.String(), nullable=False),
        sa.Column("principal", sa.String(), nullable=False),
        sa.Column("created", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["principal"], ["principals.id"], name=op.f("fk_federated_principal")
        ),
        sa.PrimaryKeyConstraint("identity", name=op.f("pk_federated")),
    )
    op.create_index(op.f("ix_federated_principal"), "federated", ["principal"])
    op.create_table(
        "sign_ins",
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("browser", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("after", sa.Text(), nullable=False),
        sa.Column("expires", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("state", name=op.f("pk_sign_ins")),
    )
    op.create_table(
        "used_tokens",
        sa.Column("token", sa.String(), nullable=False),
        sa.Column("expires", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("token", name=op.f("pk_used_tokens")),
    )
    op.create_table(
        "certificates",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("principal", sa.String(), nullable=False),
        sa.Column("use_case", sa.String(), nullable=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.Column("created", sa.String(), nullable=False),
        sa.Column("revoked", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["principal"], ["principals.id"], name=op.f("fk_certificates_principal")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_certificates")),
    )
    op.create_index(op.f("ix_certificates_principal"), "certificates", ["principal"])
    op.create_index("ix_certificates_value", "certificates", ["kind", "value"])


def downgrade() -> None:
    """Undo."""
    for table in ("certificates", "used_tokens", "sign_ins", "federated"):
        op.drop_table(table)
    with op.batch_alter_table("sessions") as sessions:
        for name in ("assurance", "provider_session", "provider"):
            sessions.drop_column(name)
