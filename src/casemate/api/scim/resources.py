"""Users and groups as SCIM writes them: what is taken, kept and given of them, and no more.

RFC 7643, sections 4.1 and 4.2. Published as schemas: what a directory sends beside it is not kept.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar

from pydantic import Field
from scim2_models import (
    URN,
    CaseExact,
    ComplexAttribute,
    Email,
    Meta,
    Mutability,
    Reference,
    Required,
    Resource,
    Returned,
    ScimPolicy,
    Uniqueness,
)

from casemate.gate import group as gate_group
from casemate.gate import provisioning as gate

POLICY = ScimPolicy(
    # Directories send all they know of somebody; what has no use here is left out, not refused.
    unknown=ScimPolicy.Unknown.ignore,
    remove_value_as_filter=ScimPolicy.RemoveValue.apply,  # as Entra asks for it
    unmatched_path_filter=ScimPolicy.UnmatchedPathFilter.create,
)


class Name(ComplexAttribute):
    """A person's name in parts."""

    formatted: str | None = None
    family_name: str | None = None
    given_name: str | None = None


class Membership(ComplexAttribute):
    """A group that somebody is in."""

    value: Annotated[str | None, Mutability.read_only, CaseExact.true] = None
    ref: Annotated[Reference[Group] | None, Mutability.read_only] = Field(
        None, serialization_alias="$ref", validation_alias="$ref"
    )
    display: Annotated[str | None, Mutability.read_only] = None


class User(Resource[Any]):
    """A person."""

    __schema__ = URN("urn:ietf:params:scim:schemas:core:2.0:User")

    user_name: Annotated[str | None, Uniqueness.server, Required.true] = None
    name: Name | None = None
    display_name: str | None = None
    active: bool | None = None
    emails: list[Email] | None = None
    groups: Annotated[list[Membership] | None, Mutability.read_only, Returned.default] = None

    Name: ClassVar[type[ComplexAttribute]] = Name

    @classmethod
    def of(cls, person: gate.Person, base: str) -> User:
        """How ``person`` is shown. ``base``: the address of the service."""
        made = cls.model_validate(dict(person.attributes))
        made.id, made.user_name, made.active = person.id, person.name, person.active
        made.meta = _meta("User", f"{base}/Users/{person.id}", person)
        made.groups = [
            Membership(value=id, display=name, ref=Reference["Group"](f"{base}/Groups/{id}"))
            for id, name in person.groups
        ] or None
        return made

    def attributes(self) -> dict[str, Any]:
        """What is kept of it beside its name and whether it is active."""
        kept: dict[str, Any] = self.model_dump(
            exclude={"id", "meta", "schemas", "user_name", "active", "groups"}
        )
        return kept


class Member(ComplexAttribute):
    """Somebody who is in a group."""

    value: Annotated[str | None, Mutability.immutable, Required.true, CaseExact.true] = None
    ref: Annotated[Reference[User] | None, Mutability.immutable] = Field(
        None, serialization_alias="$ref", validation_alias="$ref"
    )
    type: Annotated[str | None, Mutability.immutable] = Field(None, examples=["User"])


class Group(Resource[Any]):
    """A group of people."""

    __schema__ = URN("urn:ietf:params:scim:schemas:core:2.0:Group")

    display_name: Annotated[str | None, Uniqueness.server, Required.true] = None
    members: list[Member] | None = None

    Members: ClassVar[type[ComplexAttribute]] = Member

    @classmethod
    def of(cls, group: gate_group.Group, base: str) -> Group:
        """How ``group`` is shown. ``base``: the address of the service."""
        made = cls.model_validate(dict(group.attributes))
        made.id, made.display_name = group.id, group.name
        made.meta = _meta("Group", f"{base}/Groups/{group.id}", group)
        made.members = [
            Member(value=id, type="User", ref=Reference["User"](f"{base}/Users/{id}"))
            for id in group.members
        ] or None
        return made

    def attributes(self) -> dict[str, Any]:
        """What is kept of it beside its name and members."""
        return {} if self.external_id is None else {"externalId": self.external_id}

    def member_ids(self) -> list[str]:
        """Ids of its members, each once."""
        return list(dict.fromkeys(one.value for one in self.members or () if one.value))


def etag(version: int) -> str:
    """The entity tag of a version (RFC 7644, section 3.14); weak, since bytes are not compared."""
    return f'W/"{version}"'


def _meta(kind: str, location: str, thing: gate.Person | gate_group.Group) -> Meta:
    return Meta(
        resource_type=kind,
        created=datetime.fromisoformat(thing.created),
        last_modified=datetime.fromisoformat(thing.changed),
        location=location,
        version=etag(thing.version),
    )
