"""Login by a code on the phone: A1-A4, A7, A8, A13 (mobile-api.md §4.2, §4.3)."""

from typing import Annotated

from fastapi import Depends, Request

from evpower.auth import login as logins
from evpower.auth import otp, own_tokens
from evpower.auth.login import Caller as From
from evpower.errors import CodeNotSent, LegacyCodeNotSent, Unauthorized
from functions.api import presenters
from functions.api.context import context_of, headers_of
from functions.api.routing import CallerParam, DepsParam, router
from functions.api.schemas.auth import (
    CodeSent,
    RefreshBody,
    Refreshed,
    SendBody,
    SignedIn,
    SignedOut,
    StaffSignedIn,
    VerifyBody,
)
from functions.api.texts import sentence

routes = router("/api/v1/auth", "auth")


def _from(request: Request) -> From:
    context = context_of(request.scope)
    return From(context.client_address, context.language, headers_of(request.scope).get("user-agent"))


FromParam = Annotated[From, Depends(_from)]


async def _send(body: SendBody, deps: DepsParam, caller: From) -> CodeSent:
    return CodeSent(
        phone=await logins.send_code(deps.logins, body.phone, caller),
        message=sentence("code_sent", caller.language),
        expires_in_seconds=otp.LIFETIME_S,
        resend_available_in_seconds=otp.RESEND_AFTER_S,
    )


@routes.post("/send-otp", response_model=CodeSent)
async def send_otp(body: SendBody, deps: DepsParam, caller: FromParam) -> CodeSent:
    """A1: send a login code to the phone. The answer is the same whether the phone has an account or not."""
    return await _send(body, deps, caller)


@routes.post("/otp/send", response_model=CodeSent)
async def send_otp_by_older_path(body: SendBody, deps: DepsParam, caller: FromParam) -> CodeSent:
    """A7: as A1; a code that could not be sent is 400."""
    try:
        return await _send(body, deps, caller)
    except CodeNotSent as error:
        raise LegacyCodeNotSent from error


async def _verify(body: VerifyBody, deps: DepsParam, caller: From, *, staff_word: str) -> SignedIn:
    login = await logins.verify_code(deps.logins, body.phone, body.code, caller)
    staff, client = login.account.staff, login.account.client
    members = {
        "message": sentence("signed_in", caller.language),
        "access_token": login.access_token,
        "refresh_token": login.refresh_token,
        "expires_in": login.expires_in_s,
        "user_type": staff_word if staff else "client",
        "is_new_user": login.account.is_new,
        "user_id": client.id,
    }
    if staff is None:
        return SignedIn(user=presenters.client_user(client), **members)
    return StaffSignedIn(user=presenters.staff_user(staff), role=staff.role, admin_id=staff.admin_id, **members)


@routes.post("/verify-otp", response_model=StaffSignedIn | SignedIn)
async def verify_otp(body: VerifyBody, deps: DepsParam, caller: FromParam) -> SignedIn:
    """A2: sign in with the code; the first time makes the account."""
    return await _verify(body, deps, caller, staff_word="admin")


@routes.post("/otp/verify", response_model=StaffSignedIn | SignedIn)
async def verify_otp_by_older_path(body: VerifyBody, deps: DepsParam, caller: FromParam) -> SignedIn:
    """A8: as A2; ``user_type`` of staff is ``owner``."""
    return await _verify(body, deps, caller, staff_word="owner")


@routes.post("/refresh", response_model=Refreshed)
async def refresh(deps: DepsParam, body: RefreshBody | None = None) -> Refreshed:
    """A3: a new access token for 30 minutes; the refresh token stays good for 90 days from now."""
    if body is None or not body.refresh_token:
        raise Unauthorized
    access_token = await logins.refresh(deps.logins, body.refresh_token)
    return Refreshed(access_token=access_token, expires_in=own_tokens.LIFETIME_S)


@routes.post("/logout", response_model=SignedOut)
async def logout(deps: DepsParam, caller: FromParam, body: RefreshBody | None = None) -> SignedOut:
    """A4: end the login of this refresh token and forget its devices; 200 for unknown tokens as well."""
    if body is not None and body.refresh_token:
        await logins.logout(deps.logins, body.refresh_token, caller)
    return SignedOut(message=sentence("signed_out", caller.language))


@routes.post("/logout-all", response_model=SignedOut)
async def logout_all(client: CallerParam, deps: DepsParam, caller: FromParam) -> SignedOut:
    """A13: end all logins of the caller; 5 an hour. Access tokens that are out end within 30 minutes."""
    await logins.logout_all(deps.logins, client.client_id, caller)
    return SignedOut(message=sentence("signed_out", caller.language))
