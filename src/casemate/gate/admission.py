"""Admission: the one door to a run. What passes it carries every right there is, and no more.

``Gate`` holds the parts of the gate together and is what the layers above know. An ``Admission``
is the only thing that carries rights past it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import sqlalchemy as sa

from casemate.at_hand import once
from casemate.errors import Invalid, NotFound, Refused, Unauthenticated, Unavailable
from casemate.gate import pack, perimeter
from casemate.gate.acts import Acts, Clock, Recorder
from casemate.gate.attempts import Attempts
from casemate.gate.budget import Asker, Budgets
from casemate.gate.caller import Caller
from casemate.gate.capacity import Capacities
from casemate.gate.certificate import Authorities, Certificates
from casemate.gate.country import Country
from casemate.gate.declaration import Declared as Providers
from casemate.gate.declaration import load as load_providers
from casemate.gate.directory import Declared, Directory, Refreshed, declared, meaning
from casemate.gate.enforcement import Enforcement
from casemate.gate.federation import Federation
from casemate.gate.group import Groups
from casemate.gate.key import Keys
from casemate.gate.label import Label
from casemate.gate.ldap import Ldap
from casemate.gate.memory import Memory
from casemate.gate.oidc.sign_ins import SignIns
from casemate.gate.own_account import OwnAccounts
from casemate.gate.pack import Pack
from casemate.gate.password import Passwords
from casemate.gate.perimeter import Perimeter
from casemate.gate.policy import ACTIONS, KINDS, Decision, PolicySet, Resource
from casemate.gate.principal import Principal, Principals
from casemate.gate.provisioning import People
from casemate.gate.quota import Quotas
from casemate.gate.reach import Reach, Reaches
from casemate.gate.register import UseCases
from casemate.gate.right import RUNS, Rights, installation
from casemate.gate.saml.sign_ins import SamlSignIns
from casemate.gate.screening import Answer, all_no, screened
from casemate.gate.second_factor import SecondFactors
from casemate.gate.session import Sessions
from casemate.gate.share import NO_STANDING, Shares, Standing
from casemate.gate.token import Random, identifier
from casemate.gate.usecase import UseCase
from casemate.gate.watch import Watches, Watching
from casemate.settings import Settings
from casemate.store.database import Database
from casemate.store.folder import DataFolder
from casemate.store.keyring import Keyring
from casemate.store.tables import principals, tenants, use_cases

DOCUMENTS = "documents"  # the use case made at first start
LDAP_PASSWORD = "CASEMATE_LDAP_PASSWORD"  # noqa: S105 - the variable's name
QUOTE = "quote"  # the model that is always there
_REACHES = 1024  # remembered, of principals under a use case; about 60 kB for 200 collections

_FIRST_ROLES = frozenset({"owner", "admin", "auditor", "user"})


@dataclass(frozen=True)
class Admission:
    """The right to one run: who asks, for what, up to which label, with which model and sources."""

    caller: Caller
    principal: Principal
    tenant: str
    use_case: UseCase
    label: Label  # the highest that may be used: clearance under the use case's ceiling
    model: str
    collections: tuple[str, ...]  # ids of the collections that it may read now
    decision: Decision
    model_digest: str  # of the approved manifest
    standing: Standing = NO_STANDING  # among those who wait for an engine
    as_of: int | None = None  # the count of rights' changes before it was given

    @property
    def asker(self) -> Asker:
        """Whom the run counts for."""
        return Asker(self.tenant, self.principal.id, self.use_case.id)


class Gate:
    """Who may do what, with what, from where."""

    def __init__(
        self,
        database: Database,
        country: Country,
        rights: Rights,
        perimeter: Perimeter,
        settings: Settings,
        policy_folder: Path,
        random: Random = os.urandom,
        passwords: Passwords | None = None,
        directory: Declared | None = None,
        ldap: Ldap | None = None,
        keyring: Keyring | None = None,
        providers: Providers | None = None,
        authorities: Authorities | None = None,
    ) -> None:
        self.database = database
        self.country = country
        self.rights = rights
        self.acts = rights.acts
        self.perimeter = perimeter
        self.memory = Memory(database.rights_changes)
        self.watches = Watches(database.rights_changes)
        passwords = passwords or Passwords(random)
        self.principals = Principals(database, country, rights, passwords, random, self.memory)
        self.keys = Keys(database, self.principals, rights, random, self.memory)
        self.second_factors = SecondFactors(database, keyring, self.principals, rights, random)
        self.certificates = Certificates(database, self.principals, rights, random, authorities)
        self.sessions = Sessions(
            database,
            self.principals,
            rights,
            passwords,
            random,
            self.second_factors,
            link_minutes=settings.link_minutes,
            session_hours=settings.session_hours,
            idle_minutes=settings.session_idle_minutes,
        )
        self.own_accounts = OwnAccounts(
            database, self.principals, rights, passwords, Attempts(database, rights.acts, random)
        )
        means = meaning(directory or Declared(), country)
        self.people = People(database, self.principals, rights, means, random)
        self.groups = Groups(database, self.people, rights, random)
        if ldap is not None and directory is not None and directory.ldap is not None:
            self.sessions.directory = Directory(
                ldap, directory.ldap, means, country, database, self.principals, rights, random
            )
        providers = providers or Providers()
        self.federation = Federation(database, self.principals, self.sessions, rights)
        self.sign_ins = SignIns(
            providers.oidc,
            perimeter,
            self.federation,
            database,
            rights.acts,
            random,
            country.policy.lowest(),
        )
        self.saml = SamlSignIns(providers.saml, self.federation, database, rights.acts, random)
        # Fewer, because each holds all that somebody may read.
        reachable = Memory(database.rights_changes, most=_REACHES)
        self._reaches = Reaches(database, country, rights, reachable)
        self.use_cases = UseCases(database, country, rights, self._reaches, self.memory, random)
        self.enforcement = Enforcement(database, policy_folder, country, rights, self.memory)
        self.quotas = Quotas(database, rights, self.principals, self.use_cases, time.monotonic)
        self.shares = Shares(database, rights, time.monotonic)
        self.capacities = Capacities(database, rights, time.monotonic)
        self.budgets = Budgets(
            database,
            self.quotas,
            concurrent=settings.concurrent_runs,
            holder=identifier(random),
            clock=self.acts.clock,
        )
        self.approved_model: Callable[[str], str] = _no_registry
        self.pack: Pack

    @classmethod
    def open(
        cls,
        folder: DataFolder,
        database: Database,
        ledger: Recorder,
        settings: Settings,
        *,
        clock: Clock,
        random: Random = os.urandom,
        passwords: Passwords | None = None,
        keyring: Keyring | None = None,
    ) -> Self:
        """The gate of a data folder; a fresh one gets the shipped policies first.

        Raises Invalid naming what is wrong in policies, perimeter, country pack, identity
        providers or authorities of client certificates; Unavailable.
        """
        country = pack.load(folder.path / pack.FILE, settings.country)
        if folder.fresh:
            PolicySet.install(folder.policies)
        rights = Rights(PolicySet.load(folder.policies), Acts(ledger, clock))
        places = Perimeter.load(folder.path / perimeter.FILE, country, rights)
        known, lowest, ldap = declared(folder.path), country.policy.lowest(), None
        if known.ldap is not None:
            # Who signs in is no content: it may go wherever the perimeter lets anything go.
            ldap = Ldap(
                known.ldap,
                folder.path,
                lambda url: places.route(url, lowest),
                password=os.environ.get(LDAP_PASSWORD, ""),
            )
        file, named = settings.identity_providers, settings.tls_client_ca
        lists = folder.path / settings.tls_client_crl if settings.tls_client_crl else None
        gate = cls(
            *(database, country, rights, places, settings, folder.policies),
            *(random, passwords, known, ldap, keyring),
            load_providers(folder.path / file, country) if file else None,
            Authorities.load(folder.path / named, lists) if named else None,
        )
        gate.pack = Pack(folder.path / pack.FILE, country, database, places, rights)
        gate.enforcement.start()
        return gate

    @property
    def policies(self) -> PolicySet:
        """The policies in force."""
        return self.rights.policies

    def first_start(self, owner: str, tenant: str = "home") -> Caller:
        """Make tenant, owner and the use case ``documents``; whatever exists is left alone.

        The owner gets every role of a person and the lowest clearance: enough for what is not
        classified; a higher clearance is a recorded act of the owner's own. ``documents`` is the
        one use case that no second person approves, because there is none yet. Raises Invalid
        (a name).
        """
        with self.database.write() as connection:
            home = connection.execute(sa.select(tenants.c.id).limit(1)).scalar()
            if home is None:
                home = self.principals.insert_tenant(connection, None, tenant)
            row = connection.execute(
                sa.select(principals).where(principals.c.tenant == home).limit(1)
            ).first()
            if row is None:
                lowest = self.country.policy.lowest()
                made = self.principals.insert(
                    connection, None, owner, "person", _FIRST_ROLES, lowest, tenant=home
                )
            else:
                made = self.principals.read(row)
            known = sa.select(use_cases.c.id).where(use_cases.c.id == DOCUMENTS)
            if connection.execute(known).first() is None:
                self.use_cases.insert(connection, None, self._documents(made), self._harmless())
        return Caller(made, None, "local")

    def owner(self) -> Caller:
        """Who a local command acts as: the owner of the data folder. Raises NotFound."""
        return Caller(self.principals.owner(), None, "local")

    def caller_from_authorization(self, header: str | None) -> Caller:
        """Who sent the HTTP header ``Authorization``. Raises Unauthenticated."""
        scheme, _, text = (header or "").strip().partition(" ")
        if scheme.lower() != "bearer" or not text.strip():
            raise Unauthenticated(
                "No API key was given.", "Send the header Authorization: Bearer cm_…"
            )
        return self.keys.caller(text.strip())

    def admit(
        self,
        caller: Caller,
        *,
        use_case: str | None,
        collections: Sequence[str] = (),
        model: str | None = None,
        action: str = "ask",
    ) -> Admission:
        """The right to one run, or an error that says what is missing. ``collections``: names.

        Raises Unauthenticated (disabled since), NotFound (use case or collection: absent and
        hidden are one), Refused (also for a collection that the caller may read, but not under
        this use case); what policies refuse is recorded.
        """
        if action not in RUNS:
            # Only these are refused under a use case that is not approved: see limits.cedar.
            raise Invalid(f"A run cannot {action[:40]!r}.", "It can ask or search.")
        as_of = once(self.database.rights_changes, self.database.rights_changes)
        caller = self._now(caller)
        # What is watched from here on is what changes after ``as_of``, and whoever came to the door
        # may have been let in long before: a body takes its time.
        if not self.stands(caller):
            raise _taken_back()
        principal = caller.principal

        def permitted() -> Admission:
            return self._permitted(caller, use_case, collections, model, action, as_of)

        # Everything it depends on; what is not a row of the tables of rights is asked below.
        asked = (principal.id, caller.strength, caller.credential, caller.use_case)
        policies = self.rights.policies
        key = ("admission", asked, use_case, tuple(collections), model, action, policies)
        found = self.memory.recall(key, permitted)
        if found.use_case.hours is not None:  # it may have closed
            found = permitted()
        standing = self.shares.standing(principal.tenant, principal.id, found.use_case.id)
        digest = self.approved_model(found.model)
        if (digest, standing) == (found.model_digest, found.standing):
            return found
        return replace(found, model_digest=digest, standing=standing)

    def _permitted(
        self,
        caller: Caller,
        use_case: str | None,
        collections: Sequence[str],
        model: str | None,
        action: str,
        as_of: int,
    ) -> Admission:
        principal = caller.principal
        chosen = self._use_case(caller, use_case)
        label = principal.clearance.meet(chosen.ceiling)
        decision = self._decide(caller, action, chosen, label)
        named, digest = self._model(chosen, model)
        return Admission(
            caller,
            principal,
            principal.tenant,
            chosen,
            label,
            named,
            self._reaches.selected(caller, label, chosen, collections),
            decision,
            digest,
            as_of=as_of,
        )

    def refresh_directory(self, actor: Caller | None = None) -> Refreshed:
        """Ask the directory again about everybody it has let in: see ``Directory.refresh``.

        ``actor`` None: the installation itself. Raises Refused, also where no directory is
        declared; Unavailable.
        """
        if actor is not None:
            self.rights.administer(actor)
        directory = self.sessions.directory
        if directory is None:
            raise Refused(
                "No directory is declared that knows people's passwords.",
                "Describe one in directory.toml, in the data folder.",
            )
        return directory.refresh()

    def watching(self, admission: Admission) -> Watching:
        """Ask again whether ``admission`` would be given, as long as the block lasts."""
        return self.watches.watching(lambda: self._confirm(admission), admission.as_of)

    def _confirm(self, admission: Admission) -> None:
        """Raise if what was admitted would not be admitted now."""
        caller = admission.caller
        try:
            now = self.admit(caller, use_case=admission.use_case.id, model=admission.model)
        except Unauthenticated:
            raise _taken_back() from None
        if (
            not now.label.dominates(admission.label)
            or not set(now.collections).issuperset(admission.collections)
            or now.model_digest != admission.model_digest
        ):
            raise Refused("What you may use here has changed meanwhile.", "Ask again.")

    def stands(self, caller: Caller) -> bool:
        """Whether what opened the door for ``caller`` still does.

        Whoever works on in somebody's name without it has no credential, and stands.
        """
        own = {
            "key": self.keys.stands,
            "session": self.sessions.stands,
            "certificate": self.certificates.stands,
        }.get(caller.via)
        return own is None or not caller.credential or own(caller.credential)

    def require(
        self,
        caller: Caller,
        action: str,
        *,
        label: Label | None = None,
        resource: str = "installation",
    ) -> Decision:
        """The decision that permits an act other than a run. Raises Refused, after recording.

        ``resource``: "installation", "collection", "use_case", "model" or "run", alone (a new
        one) or with ":" and an id. For one that does not exist, is another tenant's, or may not
        be read by who cannot do more, it raises one and the same NotFound.
        """
        if action not in ACTIONS:
            raise Invalid(f"There is no action {action[:40]!r}.", f"{', '.join(sorted(ACTIONS))}.")
        caller = self._now(caller)
        kind, _, id = resource.partition(":")
        if kind not in KINDS:
            raise Invalid(f"There is no resource {kind[:40]!r}.", f"{', '.join(KINDS)}.")
        labels = [] if label is None else [label]
        if not id:
            return self.rights.require(caller, action, self._new(caller, kind), labels=labels)
        thing = self._reaches.thing(KINDS[kind], id, caller.principal.tenant)
        if thing is None:
            raise _absent(kind)
        found, own = thing
        labels += own
        decision = self.rights.decide(caller, action, found, labels=labels)
        if not decision.allowed:
            # Who may not even read it is not told that it is there.
            if not self.rights.decide(caller, "read", found, labels=labels).allowed:
                raise _absent(kind)
            self.rights.refuse(caller, action, found, decision)
        return decision

    def thing(self, caller: Caller, kind: str, id: str) -> tuple[Resource, list[Label]] | None:
        """What policies see of a thing, and its labels, if ``caller`` may see it; else None.

        Without an id: of a new one.
        """
        if not id:
            return self._new(caller, kind), []
        found = self._reaches.thing(KINDS[kind], id, caller.principal.tenant)
        if found is None:
            return None
        seen = any(
            self.rights.decide(caller, action, found[0], labels=found[1]).allowed
            for action in ("read", "administer")
        )
        return found if seen else None

    def collections(self, caller: Caller, use_case: UseCase | None = None) -> list[Reach]:
        """The collections that ``caller`` may read (under ``use_case``), by name.

        A key that is bound to a use case reaches what that one does, while it is approved.
        """
        if caller.use_case is not None:
            bound = self.use_cases.of_tenant(caller.principal.tenant, caller.use_case)
            if bound.state != "approved" or (use_case is not None and use_case.id != bound.id):
                return []
            use_case = bound
        label = caller.principal.clearance
        if use_case is not None:
            label = label.meet(use_case.ceiling)
        return self._reaches.collections(caller, label, use_case)

    def _now(self, caller: Caller) -> Caller:
        """The caller with the rights of this moment. Raises Unauthenticated if shut out since."""
        principal = self.principals.by_id(caller.principal.id)
        if principal.disabled:
            raise Unauthenticated("You are not signed in, or no longer.", "Sign in again.")
        return replace(caller, principal=principal)

    def _new(self, caller: Caller, kind: str) -> Resource:
        target = replace(installation(caller.principal), kind=KINDS[kind], id=kind)
        return replace(target, readers=()) if kind == "collection" else target

    def _use_case(self, caller: Caller, wanted: str | None) -> UseCase:
        bound = caller.use_case
        if bound is not None and wanted not in (None, bound):
            raise Refused(
                "This key is bound to another use case.",
                "Leave the use case out, or use a key that is made for it.",
            )
        return self.use_cases.of_tenant(caller.principal.tenant, wanted or bound or DOCUMENTS)

    def _decide(self, caller: Caller, action: str, chosen: UseCase, label: Label) -> Decision:
        approved, resource = chosen.state == "approved", chosen.resource()
        decision = self.rights.decide(caller, action, resource, labels=[label], approved=approved)
        if approved and decision.allowed:
            now, hours = self.acts.clock(), chosen.hours
            if hours is None or hours.open_at(now):
                return decision
            decision = replace(decision, allowed=False, deciding=("outside-opening-hours",))
            opens = hours.next_opening(now)
            what = f"Use case {chosen.id} is open {hours}, and it is closed now."
            advice = f"Ask again when it opens: {opens:%A %d %B %Y, %H:%M}, {hours.zone}."
        elif approved:
            self.rights.refuse(caller, action, resource, decision)
        else:
            # A rule in code: whatever the policy files say, there is no run without an approval.
            decision = replace(decision, allowed=False)
            what = f"Use case {chosen.id} is {chosen.state}, not approved."
            advice = (
                "Ask under another use case: `casemate usecase list`."
                if chosen.state == "retired"
                else f"A second person approves it: `casemate usecase approve {chosen.id}`."
            )
        try:
            self.rights.refuse(caller, action, resource, decision)
        except Refused as refusal:
            raise Refused(what, advice) from refusal

    def _model(self, use_case: UseCase, wanted: str | None) -> tuple[str, str]:
        chosen = use_case.models[0] if wanted is None else wanted
        if chosen not in use_case.models:
            raise Refused(
                f"Use case {use_case.id} does not allow this model.",
                f"It allows: {', '.join(use_case.models)}.",
            )
        return chosen, self.approved_model(chosen)

    def _documents(self, owner: Principal) -> UseCase:
        return UseCase(
            id=DOCUMENTS,
            tenant=owner.tenant,
            owner=owner.id,
            purpose="Questions about one's own documents.",
            legal_basis="Each organisation's own tasks; no decision about a person.",
            risk="minimal",
            models=(QUOTE,),
            ceiling=self.country.policy.lowest(),
            oversight="none",
            retention_days=self.country.retention_floor_days,
            state="approved",
            proposed_by=owner.id,
        )

    def _harmless(self) -> tuple[Answer, ...]:
        """The screening of ``documents``, which is the same everywhere."""
        today, questions = self.acts.clock().date(), self.country.questions
        reason = "It shows what documents say, in their own words; nobody is judged or observed."
        return screened(questions, all_no(questions, reason, today), today)


def _taken_back() -> Refused:
    return Refused(
        "Your access was taken back while this was going on.",
        "Ask an administrator of your installation.",
    )


def _absent(kind: str) -> NotFound:
    what = kind.replace("_", " ")
    return NotFound(f"There is no such {what} that you may see.", f"List them to find the {what}.")


def _no_registry(model: str) -> str:
    raise Unavailable(f"Nobody can say whether model {model!r} is approved.", "Start Casemate.")
