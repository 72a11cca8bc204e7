"""The database schema: one for SQLite and PostgreSQL.

Times are UTC, ISO 8601, to the second. Labels are their text form, never a number. Digests are
"sha256:" and 64 hex digits. Personal content (questions, answers) lies only in ``openings``,
sealed under its subject's data key.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, String, Text

REVISION = "0011"  # the newest file in migrations/versions

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

tenants = sa.Table(
    "tenants",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False, unique=True),
)

principals = sa.Table(
    "principals",
    metadata,
    Column("id", String, primary_key=True),
    Column("tenant", String, ForeignKey("tenants.id"), nullable=False),
    Column("name", String, nullable=False, unique=True),
    Column("kind", String, nullable=False),  # person | service
    Column("roles", String, nullable=False),  # space-separated
    Column("clearance", String, nullable=False),
    Column("pseudonym", String, nullable=False, unique=True),
    Column("password", String),  # argon2id hash
    Column("created", String, nullable=False),
    Column("disabled", String),
)

keys = sa.Table(
    "keys",
    metadata,
    Column("id", String, primary_key=True),
    Column("principal", String, ForeignKey("principals.id"), nullable=False, index=True),
    Column("use_case", String),
    Column("hash", String, nullable=False),
    Column("created", String, nullable=False),
    Column("expires", String),
    Column("revoked", String),
)

links = sa.Table(
    "links",
    metadata,
    Column("hash", String, primary_key=True),
    Column("principal", String, ForeignKey("principals.id"), nullable=False),
    Column("expires", String, nullable=False),
)

sessions = sa.Table(
    "sessions",
    metadata,
    Column("hash", String, primary_key=True),
    Column("principal", String, ForeignKey("principals.id"), nullable=False, index=True),
    Column("created", String, nullable=False),
    Column("expires", String, nullable=False),
    Column("provider", String),  # name of the identity provider it was opened through, if any
    Column("provider_session", String),  # hash of the provider's own name for it
    Column("assurance", String),  # eIDAS level of the means: low | substantial | high
)

federated = sa.Table(  # people whom an identity provider vouches for
    "federated",
    metadata,
    Column("identity", String, primary_key=True),  # hash of the issuer and its name for the person
    Column("principal", String, ForeignKey("principals.id"), nullable=False, index=True),
    Column("created", String, nullable=False),
)

sign_ins = sa.Table(  # those under way with an identity provider
    "sign_ins",
    metadata,
    Column("state", String, primary_key=True),  # hash
    Column("browser", String, nullable=False),  # hash of the cookie of the browser that began it
    Column("provider", String, nullable=False),
    Column("after", Text, nullable=False),  # the page to go to then
    Column("expires", String, nullable=False),
)

used_tokens = sa.Table(  # of identity providers, so that none is used twice
    "used_tokens",
    metadata,
    Column("token", String, primary_key=True),  # hash of the issuer and its name for the token
    Column("expires", String, nullable=False),
)

certificates = sa.Table(  # client certificates that services come with
    "certificates",
    metadata,
    Column("id", String, primary_key=True),
    Column("principal", String, ForeignKey("principals.id"), nullable=False, index=True),
    Column("use_case", String),
    Column("kind", String, nullable=False),  # thumbprint | subject | dns | uri | email
    Column("value", String, nullable=False),
    Column("created", String, nullable=False),
    Column("revoked", String),
    Index("ix_certificates_value", "kind", "value"),
)

use_cases = sa.Table(
    "use_cases",
    metadata,
    Column("id", String, primary_key=True),
    Column("tenant", String, ForeignKey("tenants.id"), nullable=False),
    Column("owner", String, ForeignKey("principals.id"), nullable=False),
    Column("purpose", Text, nullable=False),
    Column("legal_basis", Text, nullable=False),
    Column("risk", String, nullable=False),
    Column("models", Text, nullable=False),  # JSON list of model ids
    Column("collections", Text),  # JSON list of collection ids; null: every collection one may read
    Column("ceiling", String, nullable=False),
    Column("oversight", String, nullable=False),
    Column("retention_days", Integer, nullable=False),
    Column("state", String, nullable=False),  # draft | approved | suspended | retired
    Column("approved_by", String),
    Column("created", String, nullable=False),
    # What stands here is the version in force, or the draft that was never approved.
    Column("version", Integer, nullable=False, server_default="1"),
    Column("proposed_by", String),  # who made this version; null: the owner
    Column("hours", Text),  # opening hours in text form; null: always open
    Column("quota", Text),  # JSON; null: what the installation allows
)

use_case_versions = sa.Table(
    "use_case_versions",
    metadata,
    Column("use_case", String, ForeignKey("use_cases.id"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("terms", Text, nullable=False),  # canonical JSON of what was registered
    Column("state", String, nullable=False),  # proposed | in force | replaced | withdrawn
    Column("proposed_by", String, ForeignKey("principals.id"), nullable=False),
    Column("proposed", String, nullable=False),
    Column("answers", Text),  # JSON: to the questions of AI Act, Article 5
    Column("answers_nonce", LargeBinary),  # opens the commitment in the ledger
)

use_case_decisions = sa.Table(
    "use_case_decisions",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("use_case", String, ForeignKey("use_cases.id"), nullable=False, index=True),
    Column("version", Integer, nullable=False),
    Column("state", String, nullable=False),  # approved | suspended | retired | withdrawn
    Column("principal", String, ForeignKey("principals.id"), nullable=False),
    Column("reason", Text, nullable=False),
    Column("nonce", LargeBinary, nullable=False),  # opens the commitment in the ledger
    Column("decided", String, nullable=False),
)

policy_sets = sa.Table(
    "policy_sets",
    metadata,
    Column("digest", String, primary_key=True),
    Column("files", Text, nullable=False),  # JSON {name: text}
    Column("state", String, nullable=False),  # proposed | in force | replaced | withdrawn
    Column("proposed_by", String),  # null: the installation, at its start
    Column("proposed", String, nullable=False),
    Column("approved_by", String),
    Column("decided", String),
)

rights_changes = sa.Table(
    "rights_changes",
    metadata,
    Column("id", Integer, primary_key=True),  # 1: there is one row
    Column("number", Integer, nullable=False),  # rises with every change of RIGHTS_TABLES
)

models = sa.Table(
    "models",
    metadata,
    Column("id", String, primary_key=True),
    Column("engine", String, nullable=False),
    Column("manifest", Text, nullable=False),  # canonical JSON
    Column("digest", String, nullable=False),  # of the manifest
    Column("label", String, nullable=False),
    Column("state", String, nullable=False),  # proposed | approved | withdrawn
    Column("proposed_by", String, nullable=False),
    Column("approved_by", String),
    Column("created", String, nullable=False),
    Column("signature", LargeBinary),  # of its files
    Column("signer", String),  # fingerprint of who signed them
    Column("checked", Text),  # JSON: when its files were read, and what they looked like
)

signers = sa.Table(
    "signers",
    metadata,
    Column("name", String, primary_key=True),
    Column("kind", String, nullable=False),  # key | certificate
    Column("pem", Text, nullable=False),
    Column("fingerprint", String, nullable=False, unique=True),
    Column("added_by", String, ForeignKey("principals.id"), nullable=False),
    Column("created", String, nullable=False),
)

collections = sa.Table(
    "collections",
    metadata,
    Column("id", String, primary_key=True),
    Column("tenant", String, ForeignKey("tenants.id"), nullable=False),
    Column("name", String, nullable=False),
    Column("label", String, nullable=False),
    Column("owner", String, ForeignKey("principals.id"), nullable=False),
    Column("readers", Text),  # JSON list of principal ids and "role:…"; null: the whole tenant
    Column("created", String, nullable=False),
    Column("originator", String),  # "kind:name" of who gave the label, if it came from elsewhere
    Column("review", String),  # when the label is to be looked at again
    sa.UniqueConstraint("tenant", "name"),
)

documents = sa.Table(
    "documents",
    metadata,
    Column("id", String, primary_key=True),
    Column("collection", String, ForeignKey("collections.id"), nullable=False),
    Column("name", String, nullable=False),
    Column("digest", String, nullable=False),  # of the original; names its blob
    Column("text_digest", String, nullable=False),  # of the extracted text, UTF-8; names its blob
    Column("media_type", String, nullable=False),
    Column("title", Text),
    Column("size", Integer, nullable=False),  # bytes
    Column("characters", Integer, nullable=False),
    Column("pages", Text, nullable=False),  # JSON [[start, end], …] in order; [] without pages
    Column("headings", Text, nullable=False),  # JSON [[start, end, level], …]
    Column("added", String, nullable=False),
    Column("state", String, nullable=False, index=True),  # pending | ready | leaving
    Column("originator", String),  # "kind:name" of where it was labelled, if elsewhere
    sa.UniqueConstraint("collection", "name", "state"),
)

passages = sa.Table(
    "passages",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("document", String, ForeignKey("documents.id"), nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("page", Integer),
    Column("start", Integer, nullable=False),
    Column("end", Integer, nullable=False),
    Column("heading", Text, nullable=False),
    Column("label", String, nullable=False),
    Column("text", Text, nullable=False),
    Index("ix_passages_document", "document", "ordinal"),
)

runs = sa.Table(
    "runs",
    metadata,
    Column("id", String, primary_key=True),
    Column("tenant", String, ForeignKey("tenants.id"), nullable=False),
    Column("principal", String, ForeignKey("principals.id"), nullable=False),
    Column("use_case", String, ForeignKey("use_cases.id"), nullable=False),
    Column("model", String, nullable=False),
    Column("label", String, nullable=False),
    Column("outcome", String),  # answered | unanswered | failed | refused; null while it runs
    Column("since", Integer, nullable=False),  # size of the ledger when it opened
    Column("admitted", Integer),  # index of its entries in the ledger
    Column("finished", Integer),
    Column("created", String, nullable=False),
    Column("ended", String),
    Index("ix_runs_principal", "principal", "created"),
)

openings = sa.Table(
    "openings",
    metadata,
    Column("run", String, ForeignKey("runs.id"), primary_key=True),
    Column("entry", String, primary_key=True),  # admitted | finished
    Column("field", String, primary_key=True),  # question | answer | steps | sources
    Column("subject", String, nullable=False),  # whose data key seals it
    Column("sealed", LargeBinary, nullable=False),  # nonce32 and canonical content
)

downgrades = sa.Table(
    "downgrades",
    metadata,
    Column("id", String, primary_key=True),
    Column("tenant", String, ForeignKey("tenants.id"), nullable=False),
    Column("document", String, nullable=False),  # its id; it may be gone since
    Column("digest", String, nullable=False),  # of its original, as it was asked about
    Column("name", String, nullable=False),
    Column("source", String, nullable=False),  # collections, by id
    Column("target", String, nullable=False),
    Column("before", String, nullable=False),  # labels
    Column("after", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("state", String, nullable=False),  # requested | approved | rejected
    Column("requested_by", String, ForeignKey("principals.id"), nullable=False),
    Column("requested", String, nullable=False),
    Column("decided_by", String, ForeignKey("principals.id")),
    Column("decided", String),
    Column("made", String),  # id of the new document
    Index("ix_downgrades_tenant", "tenant", "requested"),
)

reviews = sa.Table(
    "reviews",
    metadata,
    Column("id", String, primary_key=True),
    Column("run", String, ForeignKey("runs.id"), nullable=False, index=True),
    Column("reviewer", String, ForeignKey("principals.id"), nullable=False),
    Column("decision", String, nullable=False),  # approved | rejected
    Column("reason", Text, nullable=False),
    Column("entry", Integer, nullable=False),  # its index in the ledger
    Column("created", String, nullable=False),
)

kept = sa.Table(
    "kept",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),  # the order they came in
    Column("id", String, nullable=False, unique=True),
    Column("kind", String, nullable=False),  # file | conversation | exchange | agent | batch | line
    Column("tenant", String, ForeignKey("tenants.id"), nullable=False),
    Column("principal", String, ForeignKey("principals.id"), nullable=False),  # whose it is
    Column("use_case", String),  # under whose retention it is; null: until its owner deletes it
    Column("label", String, nullable=False),
    Column("parent", String),  # what it is a part of
    Column("run", String),  # that it came of
    Column("state", String, nullable=False),
    Column("created", String, nullable=False),
    Column("blob", String),  # digest of its content, sealed
    Column("sealed", LargeBinary, nullable=False),  # JSON about it
    Index("ix_kept_principal", "principal", "kind"),
    Index("ix_kept_parent", "parent", "state"),
)

data_keys = sa.Table(
    "data_keys",
    metadata,
    Column("subject", String, primary_key=True),
    Column("wrapped", LargeBinary, nullable=False),  # empty: destroyed, and never made again
)

holds = sa.Table(
    "holds",
    metadata,
    Column("id", String, primary_key=True),
    Column("tenant", String, ForeignKey("tenants.id"), nullable=False),
    Column("kind", String, nullable=False),  # principal | run | collection
    Column("target", String, nullable=False),  # its id
    Column("reason", LargeBinary),  # nonce32 and canonical text, sealed; null once forgotten
    Column("until", String),  # the last day it holds, in UTC; null: until it is lifted
    Column("placed_by", String, ForeignKey("principals.id"), nullable=False),
    Column("placed", String, nullable=False),
    Column("lifted", String),
    Column("lift_reason", LargeBinary),  # sealed like the reason
    Index("ix_holds_target", "kind", "target"),
)

forgettings = sa.Table(
    "forgettings",
    metadata,
    Column("principal", String, ForeignKey("principals.id"), primary_key=True),
    Column("actor", String, nullable=False),  # pseudonym of who had it done
    Column("basis", String, nullable=False),
    Column("intent", Integer, nullable=False),  # index of the entry that announced it, or -1
    Column("counts", Text, nullable=False),  # JSON: what was destroyed so far
    Column("begun", String, nullable=False),
    Column("done", Integer),  # index of the entry that proves it; null: to be finished
)

attempts = sa.Table(
    "attempts",
    metadata,
    Column("subject", String, primary_key=True),  # digest of a name or of an address
    Column("stand_in", String, nullable=False),  # what the ledger says of an unknown name
    Column("failures", Integer, nullable=False),
    Column("locked_until", String),
    Column("last", String, nullable=False, index=True),
)

second_factors = sa.Table(
    "second_factors",
    metadata,
    Column("principal", String, ForeignKey("principals.id"), primary_key=True),
    Column("sealed", LargeBinary, nullable=False),  # the secret, under the principal's data key
    Column("last_step", Integer, nullable=False),  # of the newest code that was used
    Column("created", String, nullable=False),
)

recovery_codes = sa.Table(
    "recovery_codes",
    metadata,
    Column("hash", String, primary_key=True),
    Column("principal", String, ForeignKey("principals.id"), nullable=False, index=True),
)

sign_in_steps = sa.Table(
    "sign_in_steps",  # people who gave the first factor and not yet the second
    metadata,
    Column("hash", String, primary_key=True),
    Column("principal", String, ForeignKey("principals.id"), nullable=False, index=True),
    Column("by", String, nullable=False),  # password | link | directory
    Column("expires", String, nullable=False),
)

key_uses = sa.Table(
    "key_uses",
    metadata,
    Column("key", String, ForeignKey("keys.id"), primary_key=True),
    Column("last", String, nullable=False),  # to within a minute or so
)

provisioned = sa.Table(
    "provisioned",  # people that a directory makes and ends
    metadata,
    Column("id", String, primary_key=True),  # as the directory's programs know them
    Column("tenant", String, ForeignKey("tenants.id"), nullable=False),
    Column("principal", String, ForeignKey("principals.id"), nullable=False, unique=True),
    Column("source", String, nullable=False),  # scim | ldap
    Column("name", String, nullable=False),  # folded: userName knows no case
    Column("attributes", Text, nullable=False),  # JSON
    Column("version", Integer, nullable=False),
    Column("created", String, nullable=False),
    Column("changed", String, nullable=False),
    sa.UniqueConstraint("tenant", "name"),
)

groups = sa.Table(
    "groups",
    metadata,
    Column("id", String, primary_key=True),
    Column("tenant", String, ForeignKey("tenants.id"), nullable=False),
    Column("name", String, nullable=False),  # folded
    Column("attributes", Text, nullable=False),  # JSON
    Column("version", Integer, nullable=False),
    Column("created", String, nullable=False),
    Column("changed", String, nullable=False),
    sa.UniqueConstraint("tenant", "name"),
)

group_members = sa.Table(
    "group_members",
    metadata,
    Column("group", String, ForeignKey("groups.id"), primary_key=True),
    Column("member", String, ForeignKey("provisioned.id"), primary_key=True, index=True),
)

quotas = sa.Table(
    "quotas",
    metadata,
    Column("tenant", String, ForeignKey("tenants.id"), primary_key=True),
    Column("kind", String, primary_key=True),  # principal | use_case | tenant
    Column("target", String, primary_key=True),  # its id, or "*" for each of the tenant's
    Column("measure", String, primary_key=True),
    Column("window", String, primary_key=True),  # minute | day | month; empty for open runs
    Column("amount", BigInteger, nullable=False),  # whole units, see gate.limit
    Column("set_by", String, ForeignKey("principals.id"), nullable=False),
    Column("set_at", String, nullable=False),
)

# What was used of a limit in one window, and what processes hold of it. ``counter`` names the
# limit's kind, target, measure and window; ``start`` is the window's, in seconds since 1970.
quota_uses = sa.Table(
    "quota_uses",
    metadata,
    Column("counter", String, primary_key=True),
    Column("start", BigInteger, primary_key=True),
    Column("used", BigInteger, nullable=False),
)

quota_leases = sa.Table(
    "quota_leases",
    metadata,
    Column("counter", String, primary_key=True),
    Column("start", BigInteger, primary_key=True),
    Column("holder", String, primary_key=True),  # a process
    Column("amount", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),  # seconds since 1970
)

shares = sa.Table(
    "shares",
    metadata,
    Column("tenant", String, ForeignKey("tenants.id"), primary_key=True),
    Column("kind", String, primary_key=True),  # principal | use_case | tenant
    Column("target", String, primary_key=True),
    Column("weight", Integer),  # of a principal or tenant, among those who wait
    Column("priority", String),  # of a use case: interactive | normal | batch
)

capacities = sa.Table(
    "capacities",
    metadata,
    Column("model", String, primary_key=True),
    Column("slots", Integer, nullable=False),  # answers it computes side by side
    Column("accelerators", Integer, nullable=False),
    Column("watts", Integer, nullable=False),  # declared, with all slots at work
)

RIGHTS_TABLES = (
    *(principals, keys, certificates, sessions, use_cases, use_case_versions, collections),
    *(models, policy_sets),
)
"""What an admission depends on: a change of any row here is counted in ``rights_changes``."""
