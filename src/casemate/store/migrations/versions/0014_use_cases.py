"""Use cases in versions, with decisions and answers; policy sets; a count of rights' changes."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column(
        "use_cases", sa.Column("version", sa.Integer(), nullable=False, server_default="1")
    )
    op.add_column("use_cases", sa.Column("proposed_by", sa.String(), nullable=True))
    op.add_column("use_cases", sa.Column("hours", sa.Text(), nullable=True))
    op.add_column("use_cases", sa.Column("quota", sa.Text(), nullable=True))
    op.create_table(
        "use_case_versions",
        sa.Column("use_case", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("terms", sa.Text(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("proposed_by", sa.String(), nullable=False),
        sa.Column("proposed", sa.String(), nullable=False),
        sa.Column("answers", sa.Text(), nullable=True),
        sa.Column("answers_nonce", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["use_case"], ["use_cases.id"], name=op.f("fk_use_case_versions_use_case")
        ),
        sa.ForeignKeyConstraint(
            ["proposed_by"], ["principals.id"], name=op.f("fk_use_case_versions_proposed_by")
        ),
        sa.PrimaryKeyConstraint("use_case", "version", name=op.f("pk_use_case_versions")),
    )
    op.create_table(
        "use_case_decisions",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("use_case", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("principal", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("nonce", sa.LargeBinary(), nullable=False),
        sa.Column("decided", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["use_case"], ["use_cases.id"], name=op.f("fk_use_case_decisions_use_case")
        ),
        sa.ForeignKeyConstraint(
            ["principal"], ["principals.id"], name=op.f("fk_use_case_decisions_principal")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_use_case_decisions")),
    )
    op.create_index("ix_use_case_decisions_use_case", "use_case_decisions", ["use_case"])
    op.create_table(
        "policy_sets",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("files", sa.Text(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("proposed_by", sa.String(), nullable=True),
        sa.Column("proposed", sa.String(), nullable=False),
        sa.Column("approved_by", sa.String(), nullable=True),
        sa.Column("decided", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_policy_sets")),
    )
    changes = op.create_table(
        "rights_changes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rights_changes")),
    )
    op.bulk_insert(changes, [{"id": 1, "number": 0}])
    _first_versions()


def downgrade() -> None:
    """Undo."""
    for table in (*("rights_changes", "policy_sets", "use_case_decisions", "use_case_versions"),):
        op.drop_table(table)
    with op.batch_alter_table("use_cases") as batch:
        for column in ("quota", "hours", "proposed_by", "version"):
            batch.drop_column(column)


def _first_versions() -> None:
    """What is registered already becomes its own first version."""
    connection = op.get_bind()
    rows = connection.execute(sa.text("SELECT * FROM use_cases")).mappings().all()
    for row in rows:
        terms = {
            "purpose": row["purpose"],
            "legal_basis": row["legal_basis"],
            "risk": row["risk"],
            "models": json.loads(row["models"]),
            "collections": None if row["collections"] is None else json.loads(row["collections"]),
            "ceiling": row["ceiling"],
            "oversight": row["oversight"],
            "retention_days": row["retention_days"],
            "hours": None,
            "quota": None,
        }
        connection.execute(
            sa.text(
                "INSERT INTO use_case_versions (use_case, version, terms, state, proposed_by, "
                "proposed) VALUES (:use_case, 1, :terms, :state, :proposed_by, :proposed)"
            ),
            {
                "use_case": row["id"],
                "terms": json.dumps(terms, sort_keys=True, separators=(",", ":")),
                "state": "proposed" if row["state"] == "draft" else "in force",
                "proposed_by": row["owner"],
                "proposed": row["created"],
            },
        )
