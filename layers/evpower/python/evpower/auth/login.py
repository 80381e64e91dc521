"""Login by a code on the phone, refresh, logout (mobile-api.md §4.2, §4.3).

Flows open their own short transactions on ``deps.db``; none is held while a text message is sent. Nothing tells
whether a phone has an account before its owner has shown the code.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from evpower import metrics, outside
from evpower.accounts import identity
from evpower.accounts.identity import Account
from evpower.accounts.models import Staff
from evpower.audit import service as audit
from evpower.audit.models import AuditEntry
from evpower.auth import code_caps, otp, own_tokens, refresh_tokens, repository
from evpower.auth import phone as phones
from evpower.auth.own_tokens import Grant, OwnTokens
from evpower.auth.rate_limit import RateLimiter
from evpower.auth.rate_rules import Bucket
from evpower.clock import Clock
from evpower.config import Settings
from evpower.db import Conn, Database, system_claims
from evpower.errors import (
    ClientNotFound,
    CodeNotSent,
    CodeRateLimited,
    CodesCapped,
    EvPowerError,
    InvalidCode,
    PhoneNotServed,
    RateLimitExceeded,
    Unauthorized,
    ValidationFailed,
)
from evpower.logging import get_logger
from evpower.notifications.sms import SmsNotSent, SmsSender

LOGOUTS_PER_HOUR = 5
_CAPS = "login-codes"
_HOUR_S = 3600
_TEXTS = {
    "ru": "EvPower: код для входа {code}. Никому его не сообщайте.",
    "ky": "EvPower: кирүү коду {code}. Аны эч кимге айтпаңыз.",
    "en": "EvPower: your login code is {code}. Do not tell it to anybody.",
}

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LoginDeps:
    """What the flows need."""

    db: Database
    limiter: RateLimiter
    sms: SmsSender
    settings: Settings
    clock: Clock
    tokens: OwnTokens


@dataclass(frozen=True, slots=True)
class Caller:
    """Where a request comes from, for limits and audit."""

    address: str
    language: str = "ru"
    user_agent: str | None = None


@dataclass(frozen=True, slots=True)
class Login:
    """A signed-in phone."""

    account: Account
    access_token: str
    refresh_token: str
    expires_in_s: int = own_tokens.LIFETIME_S


def login_deps(db: Database, limiter: RateLimiter, sms: SmsSender, settings: Settings, clock: Clock) -> LoginDeps:
    """The product's login."""
    return LoginDeps(db, limiter, sms, settings, clock, own_tokens.from_settings(settings))


def normalised(phone: str) -> str:
    """The phone in E.164.

    Raises:
        ValidationFailed: it is none.
    """
    try:
        return phones.normalise(phone)
    except phones.BadPhone as error:
        raise ValidationFailed(field="phone", fields=[{"field": "phone", "problem": "phone_number"}]) from error


async def send_code(deps: LoginDeps, phone: str, caller: Caller) -> str:
    """Send a new code, which replaces the one before; the phone in E.164.

    Raises:
        ValidationFailed: not a phone number.
        PhoneNotServed: one of a country that codes are not sent to.
        CodeRateLimited: less than 60 s after the last code, or too many for this phone.
        CodesCapped: too many codes from this address, for this range of numbers or in all.
        CodeNotSent: the message was not accepted.
    """
    phone = normalised(phone)
    if not code_caps.is_served(phone, deps.settings):
        _refused("country", phone, caller)
        raise PhoneNotServed(field="phone", fields=[{"field": "phone", "problem": "country_not_served"}])
    counted = await _admit(deps, phone, caller)
    code = otp.new_code()
    code_hash = otp.hash_code(otp.pepper_of(deps.settings), phone, code)
    now = deps.clock.now()
    try:
        code_id = await deps.db.run(lambda conn: _new_code(conn, phone, code_hash, now), claims=system_claims())
    except Exception:
        await _give_back(deps, counted)
        raise
    text = _TEXTS.get(caller.language, _TEXTS["ru"]).format(code=code)
    try:
        with outside.call("sms", "login_code") as seen:
            await deps.sms.send(phone, text)
            seen.outcome = "Done"
    except SmsNotSent as error:
        _log.error("login code was not sent: %s", error)
        metrics.emit({"LoginCodesNotSent": 1})
        if error.certain:
            # Nobody has this code: the next one need not wait for it.
            await deps.db.run(lambda conn: repository.delete_code(conn, code_id), claims=system_claims())
            await _give_back(deps, counted)
        raise CodeNotSent from error
    metrics.emit({"LoginCodesSent": 1})
    return phone


async def _admit(deps: LoginDeps, phone: str, caller: Caller) -> list[Bucket]:
    """Count one code in every cap; what may be taken back when no message is sent.

    Raises:
        CodesCapped: a cap is reached.
    """
    spellings = phones.spellings(phone)
    is_client = await deps.db.run(lambda conn: identity.has_account(conn, spellings), claims=system_claims())
    counted = {
        bucket: cap.kind
        for cap in code_caps.caps(phone, caller.address, deps.settings)
        for bucket in cap.buckets(is_client=is_client)
    }
    full = await deps.limiter.hit_all(_CAPS, list(counted), durable=True)
    if full is not None:
        _refused(counted[full.bucket], phone, caller)
        raise CodesCapped(retry_after_seconds=full.retry_after_s)
    # The address stays counted: it bounds how often somebody may try.
    return [bucket for bucket, kind in counted.items() if kind != "address"]


async def _give_back(deps: LoginDeps, counted: list[Bucket]) -> None:
    """Use case: the provider is out of order, and everybody tries again. Codes that were not sent cost nothing, so they
    must not use up the caps."""
    await deps.limiter.give_back(_CAPS, counted, durable=True)


def _refused(reason: str, phone: str, caller: Caller) -> None:
    """Leave the reason where an operator finds it: the number's range, never the number."""
    metrics.emit({"LoginCodesRefused": 1}, Reason=reason)
    _log.warning(
        "login code refused",
        extra={"reason": reason, "number_range": code_caps.prefix_of(phone), "client_address": caller.address},
    )


async def _new_code(conn: Conn, phone: str, code_hash: bytes, now: datetime) -> int:
    await repository.lock_phone(conn, phone)
    times = await repository.code_times(conn, phone, now - timedelta(seconds=_HOUR_S))
    free_at = now
    if times:
        free_at = times[0] + timedelta(seconds=otp.RESEND_AFTER_S)
    if len(times) >= otp.MAX_CODES_PER_HOUR:
        free_at = max(free_at, times[otp.MAX_CODES_PER_HOUR - 1] + timedelta(seconds=_HOUR_S))
    if free_at > now:
        raise CodeRateLimited(retry_after_seconds=max(1, round((free_at - now).total_seconds())))
    expires_at = now + timedelta(seconds=otp.LIFETIME_S)
    return await repository.insert_code(conn, phone, code_hash, now=now, expires_at=expires_at)


async def verify_code(deps: LoginDeps, phone: str, code: str, caller: Caller) -> Login:
    """Sign the phone in with its newest code, good once, 5 minutes and 3 attempts.

    Raises:
        ValidationFailed: not a phone number.
        CodesCapped: wrong as below, and too many such attempts came from this address. The right code is never refused
            for what others at the address did; guessing is bounded by the attempts at each code and the codes sent.
        InvalidCode: wrong, used, expired, or no attempt left.
        ClientBlocked, ClientDeleted: the account; the code is used up.
    """
    phone = normalised(phone)
    given = otp.hash_code(otp.pepper_of(deps.settings), phone, code)
    now = deps.clock.now()
    outcome = await deps.db.run(lambda conn: _verify(conn, deps, phone, given, caller, now), claims=system_claims())
    if isinstance(outcome, InvalidCode):
        limit = deps.settings.otp_checks_per_address_per_minute
        wait = await deps.limiter.hit(f"otp-wrong:{caller.address}", limit, durable=True)
        if wait is not None:
            raise CodesCapped(retry_after_seconds=wait)
    if isinstance(outcome, EvPowerError):
        raise outcome
    return outcome


async def _verify(
    conn: Conn, deps: LoginDeps, phone: str, given: bytes, caller: Caller, now: datetime
) -> Login | EvPowerError:
    """Failures are returned, not raised: the attempt that they cost must be committed."""
    taken = await repository.take_attempt(conn, phone, otp.MAX_ATTEMPTS, now)
    expected = taken[1] if taken else bytes(len(given))
    if not otp.same(expected, given) or taken is None:
        return InvalidCode()
    await repository.mark_code_used(conn, taken[0], now)
    try:
        account = await identity.account_of_phone(conn, phones.spellings(phone), now)
    except EvPowerError as refusal:
        return refusal
    login_id, refresh_token = await refresh_tokens.open_login(conn, account.client.id, caller.user_agent, now)
    await _audit(conn, "auth.login", account.client.id, caller)
    grant = _grant(account.client.id, account.staff, login_id, phone)
    return Login(account, deps.tokens.issue(grant, now), refresh_token)


def _grant(subject: str, staff: Staff | None, login_id: str, phone: str | None) -> Grant:
    return Grant(
        subject=subject,
        user_type="admin" if staff else "client",
        login_id=login_id,
        role=staff.role if staff else "client",
        phone=phone,
    )


async def refresh(deps: LoginDeps, refresh_token: str) -> str:
    """A new access token; the refresh token stays and lives 90 more days.

    Raises:
        RateLimitExceeded: this token is used too often. What others at the same address do does not count: the app
            erases its tokens at any refusal (mobile-api.md §2.2).
        Unauthorized: unknown, expired or ended.
        ClientBlocked, ClientDeleted: the account.
    """
    await _count_token(deps, refresh_token)
    now = deps.clock.now()

    async def work(conn: Conn) -> str:
        used = await refresh_tokens.use(conn, refresh_token, now)
        if used is None:
            raise Unauthorized
        login_id, client_id = used
        client, staff = await identity.account_of_id(conn, client_id)
        phone = staff.phone if staff else client.phone if client else None
        return deps.tokens.issue(_grant(client_id, staff, login_id, phone), now)

    try:
        return await deps.db.run(work, claims=system_claims())
    except ClientNotFound as error:
        raise Unauthorized from error


async def logout(deps: LoginDeps, refresh_token: str, caller: Caller) -> None:
    """End one login; an unknown token is no failure.

    Raises:
        RateLimitExceeded: this token is used too often.
    """
    await _count_token(deps, refresh_token)

    async def work(conn: Conn) -> None:
        client_id = await refresh_tokens.revoke(conn, refresh_token)
        if client_id is not None:
            await _audit(conn, "auth.logout", client_id, caller)

    await deps.db.run(work, claims=system_claims())


async def logout_all(deps: LoginDeps, client_id: str, caller: Caller) -> int:
    """End all logins of a client; how many.

    Raises:
        RateLimitExceeded: more than 5 in an hour.
    """
    wait = await deps.limiter.hit(f"logout-all:{client_id}", LOGOUTS_PER_HOUR, durable=True, window_s=_HOUR_S)
    if wait is not None:
        raise RateLimitExceeded(retry_after_seconds=wait)

    async def work(conn: Conn) -> int:
        ended = await refresh_tokens.revoke_all(conn, client_id)
        await _audit(conn, "auth.logout_all", client_id, caller)
        return ended

    return await deps.db.run(work, claims=system_claims())


async def _count_token(deps: LoginDeps, refresh_token: str) -> None:
    name = f"refresh-token:{hashlib.sha256(refresh_token.encode(errors='surrogatepass')).hexdigest()}"
    wait = await deps.limiter.hit(name, deps.settings.rate_limit_default_per_minute, durable=False)
    if wait is not None:
        raise RateLimitExceeded(retry_after_seconds=wait)


async def _audit(conn: Conn, operation: str, client_id: str, caller: Caller) -> None:
    await audit.record(
        conn, AuditEntry(operation, actor=client_id, actor_role="own", client_id=client_id, client_ip=caller.address)
    )
