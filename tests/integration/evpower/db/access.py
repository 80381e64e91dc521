"""Who may do what with the rows of each table: the expectations of ``test_access_matrix``, written by hand.

Each table holds one row that is the first client's, or lies at a station of the first admin (``mine``), and one of the
others (``theirs``). An expectation says who reaches which of the two; words are joined by a space (or) and ``&`` (and).
"""

from dataclasses import dataclass
from typing import Final

Claims = dict[str, str]
Rows = frozenset[str]

NONE: Rows = frozenset()
MINE, THEIRS, BOTH = frozenset({"mine"}), frozenset({"theirs"}), frozenset({"mine", "theirs"})

# Callers of the API: the claims that its code sets.
STAFF: Final = {
    name: {"sub": subject, "role": "authenticated", "evp_scope": "staff"}
    for name, subject in {
        "operator": "first-operator",
        "operator of nobody": "lone-operator",
        "operator of a deactivated admin": "stranded-operator",
        "operator of a superadmin": "root-operator",
        "admin": "first-admin",
        "other admin": "second-admin",
        "superadmin": "root",
        "master key": "master",
        "deactivated admin": "former-admin",
        "client who claims to be staff": "client-mine",
    }.items()
}
API: Final[dict[str, Claims]] = {
    "no claims": {},
    "nobody": {"role": "anon"},
    "client": {"sub": "client-mine", "role": "authenticated"},
    "client with an odd id": {"sub": "demo-user-apple-review", "role": "authenticated"},
    "staff without the scope": {"sub": "first-admin", "role": "authenticated"},
    "unknown scope": {"sub": "client-other", "evp_scope": "wide"},
    "system": {"evp_scope": "system"},
    **STAFF,
}
APP: Final[dict[str, tuple[str, Claims]]] = {
    "anon": ("anon", {"role": "anon"}),
    "authenticated": ("authenticated", {"sub": "client-mine", "role": "authenticated"}),
    # A token of Supabase may carry any claim.
    "claims all": ("authenticated", {"sub": "client-other", "evp_scope": "system"}),
}

_ACTIVE_STAFF = set(STAFF) - {"deactivated admin", "client who claims to be staff"}
_EVERYWHERE = {"superadmin", "master key", "operator of a superadmin"}
_REACH: Final[dict[str, dict[str, Rows]]] = {
    "everybody": dict.fromkeys((*API, *APP), BOTH),
    "signed in": {name: BOTH for name, claims in API.items() if "sub" in claims},
    "caller": dict.fromkeys(("client", "client who claims to be staff", "authenticated"), MINE),
    "system": {"system": BOTH},
    "staff": dict.fromkeys(_ACTIVE_STAFF, BOTH),
    "manager": dict.fromkeys(("admin", "other admin", "superadmin", "master key"), BOTH),
    "own": {**dict.fromkeys(_EVERYWHERE, BOTH), "operator": MINE, "admin": MINE, "other admin": THEIRS},
    "first admin": {"admin": BOTH},
    "app with a session": dict.fromkeys(("authenticated", "claims all"), BOTH),
    "app where active": dict.fromkeys(APP, MINE),
    # rows that none of the callers has here; tests of their own try them
    "what it has just added": {},
    "own row of staff": {},
}


def reach(words: str, actor: str) -> Rows:
    """The rows that ``words`` let ``actor`` reach."""
    found = NONE
    for alternative in words.split():
        both = BOTH
        for word in alternative.split("&"):
            both &= _REACH[word.replace("_", " ")].get(actor, NONE)
        found |= both
    return found


@dataclass(frozen=True, slots=True)
class Access:
    """What may be done with one table.

    Attributes:
        select, insert, update, delete: words for callers of the API; empty: no one has the right.
        app, app_writes: words for the app's direct reads, and ``VERB: words`` for its writes.
        worker: verbs of ``evpower_worker`` and ``service_role``, with all rows.
        columns: where a right is to columns: ``role.VERB`` -> their names; names after ``-`` are all that are missing.
    """

    select: str = ""
    insert: str = ""
    update: str = ""
    delete: str = ""
    app: str = ""
    app_writes: tuple[tuple[str, str], ...] = ()
    worker: str = "SELECT INSERT UPDATE DELETE"
    columns: tuple[tuple[str, str], ...] = ()

    def words(self, actor: str, verb: str) -> str:
        if actor in API:
            return str(getattr(self, verb.lower()))
        return self.app if verb == "SELECT" else dict(self.app_writes).get(verb, "")


_ADDED_ONLY = "SELECT INSERT"
_PUBLIC_LOCATION = (
    "id name address city country latitude longitude status working_hours stations_count connectors_count created_at"
    " updated_at"
)
_PUBLIC_STATION = (
    "id serial_number model manufacturer location_id power_capacity connector_types connectors_count status"
    " is_available price_per_kwh session_fee currency tariff_plan_id firmware_version last_heartbeat_at"
    " registration_status ocpp_status created_at updated_at"
)
_OPERATED_STATION = (
    "status price_per_kwh session_fee register_factor updated_at auth_key_hash auth_key_changed_at credentials_version"
    " connected_instance connected_at connection_epoch security_profile requested_security_profile"
    " security_profile_command_id"
)
_PUBLIC_CONNECTOR = "id station_id connector_number connector_type power_kw status error_code"
_OWN_LIST = Access("own", "own", "own", "own")

TABLES: Final[dict[str, Access]] = {
    # people
    "users": Access(
        "system manager",
        "own&manager",
        "own&manager",
        app="own_row_of_staff",
        columns=(
            ("evpower_api.SELECT", "- password_hash"),
            ("evpower_api.UPDATE", "role admin_id name is_active updated_at"),
            ("authenticated.SELECT", "id email role is_active admin_id created_at updated_at"),
        ),
    ),
    "clients": Access(
        "caller system staff",
        "system manager",
        "caller manager",
        app="caller",
        app_writes=(("UPDATE", "caller"),),
        columns=(("authenticated.UPDATE", "name updated_at"),),
    ),
    "otp_codes": Access("system", "system", "system", "system"),
    "refresh_tokens": Access("caller system manager", "system", "system", "caller system manager"),
    "devices": Access("caller system", "system", "system", "caller system"),
    "push_subscriptions": Access("caller system", "system", "system", "caller system"),
    "user_favorites": Access(
        "caller", "caller", delete="caller", app="caller", app_writes=(("INSERT", "caller"), ("DELETE", "caller"))
    ),
    "id_tags": Access("caller staff", "manager", "manager", "caller manager"),
    # the network and its prices
    "locations": Access(
        "everybody",
        app="app_where_active",
        columns=(("anon.SELECT", _PUBLIC_LOCATION), ("authenticated.SELECT", _PUBLIC_LOCATION)),
    ),
    "stations": Access(
        "everybody",
        update="own",
        app="app_where_active",
        columns=(
            ("anon.SELECT", _PUBLIC_STATION),
            ("authenticated.SELECT", _PUBLIC_STATION),
            ("evpower_api.UPDATE", _OPERATED_STATION),
        ),
    ),
    "connectors": Access(
        "everybody",
        update="caller own",
        app="everybody",
        columns=(
            ("anon.SELECT", _PUBLIC_CONNECTOR),
            ("authenticated.SELECT", _PUBLIC_CONNECTOR),
            ("evpower_api.UPDATE", "live_session_id updated_at"),
        ),
    ),
    "tariff_plans": Access("everybody", app="app_with_a_session"),
    "tariff_rules": Access("everybody", app="app_with_a_session"),
    "promo_codes": Access("signed_in"),
    "client_tariffs": Access("caller", app="caller"),
    # money
    "balance_topups": Access("caller system", "caller", "caller", app="caller"),
    "payment_transactions_odengi": Access("caller manager own", "caller manager", app="caller", worker=_ADDED_ONLY),
    "payment_inbox": Access(),
    "topup_refunds": Access(),
    "pricing_history": Access("caller", "caller"),
    "charging_sessions": Access("caller own system", "caller", "caller own", app="caller"),
    "settlements": Access("own", "caller own&manager", worker=_ADDED_ONLY),
    "write_offs": Access("", "caller own&manager"),
    "promo_code_usage": Access(
        "caller own&manager",
        "caller own&manager",
        "caller own&manager",
        columns=(("evpower_api.UPDATE", "discount_amount"),),
    ),
    "session_reviews": Access("own", "own", worker=_ADDED_ONLY),
    # chargers
    "ocpp_transactions": Access("caller own manager", update="own&manager"),
    "ocpp_meter_values": Access("own"),
    "station_commands": Access("caller own", "caller own", "own"),
    "ocpp_configuration": Access("own"),
    "configuration_disputes": Access(),
    "station_events": Access("own", "own"),
    "station_messages": Access("own", worker=_ADDED_ONLY),
    "quarantined_messages": Access("own", update="own"),
    "station_jobs": Access("own", "own", "own"),
    "firmware_files": Access("own", "own&manager", "own&manager"),
    "reservations": Access("caller own", "own", "own"),
    "local_lists": Access("own", "own", "own"),
    "local_list_entries": _OWN_LIST,
    "local_list_parts": _OWN_LIST,
    "charging_profiles": Access("own", "own", "own"),
    "station_key_candidates": Access("own", "own&manager", "own", "own"),
    "station_certificates": Access("own", update="own"),
    "installed_certificates": Access("own"),
    # bookkeeping
    "ledger_audit_progress": Access(),
    "hearing_runs": Access(),
    "meter_flushes": Access(),
    "audit_logs": Access("", "caller system first_admin"),
    "push_outbox": Access("what_it_has_just_added", "caller staff"),
    "used_nonces": Access("system", "system", "system"),
    "rate_counters": Access("system", "system", "system"),
    "idempotency_keys": Access(),
    "schema_migrations": Access(worker=""),
}
