"""Directory: people that are provisioned, second factors, and attempts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    _sign_in()
    _provisioning()


def downgrade() -> None:
    """Undo."""
    for table in (
        *("group_members", "groups", "provisioned", "key_uses", "sign_in_steps"),
        *("recovery_codes", "second_factors", "attempts"),
    ):
        op.drop_table(table)


def _sign_in() -> None:
    op.create_table(
        "attempts",
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("stand_in", sa.String(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("locked_until", sa.String(), nullable=True),
        sa.Column("last", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_attempts")),
    )
    op.create_index("ix_attempts_last", "attempts", ["last"])
    op.create_table(
        "second_factors",
        sa.Column("principal", sa.String(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("last_step", sa.Integer(), nullable=False),
        sa.Column("created", sa.String(), nullable=False),
        _principal("second_factors"),
        sa.PrimaryKeyConstraint("principal", name=op.f("pk_second_factors")),
    )
    op.create_table(
        "recovery_codes",
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("principal", sa.String(), nullable=False),
        _principal("recovery_codes"),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_recovery_codes")),
    )
    op.create_index("ix_recovery_codes_principal", "recovery_codes", ["principal"])
    op.create_table(
        "sign_in_steps",
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("principal", sa.String(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("expires", sa.String(), nullable=False),
        _principal("sign_in_steps"),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_sign_in_steps")),
    )
    op.create_index("ix_sign_in_steps_principal", "sign_in_steps", ["principal"])
    op.create_table(
        "key_uses",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("last", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["key"], ["keys.id"], name=op.f("fk_key_uses_key")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_key_uses")),
    )


def _provisioning() -> None:
    op.create_table(
        "provisioned",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("principal", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("attributes", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created", sa.String(), nullable=False),
        sa.Column("changed", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.id"], name=op.f("fk_provisioned_tenant")),
        _principal("provisioned"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_provisioned")),
        sa.UniqueConstraint("tenant", "name", name=op.f("uq_provisioned_tenant")),
        sa.UniqueConstraint("principal", name=op.f("uq_provisioned_principal")),
    )
    op.create_table(
        "groups",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("attributes", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created", sa.String(), nullable=False),
        sa.Column("changed", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.id"], name=op.f("fk_groups_tenant")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_groups")),
        sa.UniqueConstraint("tenant", "name", name=op.f("uq_groups_tenant")),
    )
    op.create_table(
        "group_members",
        sa.Column("group", sa.String(), nullable=False),
        sa.Column("member", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["group"], ["groups.id"], name=op.f("fk_group_members_group")),
        sa.ForeignKeyConstraint(
            ["member"], ["provisioned.id"], name=op.f("fk_group_members_member")
        ),
        sa.PrimaryKeyConstraint("group", "member", name=op.f("pk_group_members")),
    )
    op.create_index("ix_group_members_member", "group_members", ["member"])


def _principal(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["principal"], ["principals.id"], name=op.f(f"fk_{table}_principal")
    )
