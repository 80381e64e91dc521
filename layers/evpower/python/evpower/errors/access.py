"""Who may come in, and what a request must look like."""

from typing import Any

from evpower.errors.base import Declared, error


class Unauthorized(
    Declared,
    spec=error("unauthorized", 401, "Требуется вход в аккаунт.", "Аккаунтка кирүү талап кылынат.", "Sign in first."),
):
    """No token, or one that does not verify."""


class CredentialRefused(
    Unauthorized,
    spec=error(
        "unauthorized",
        401,
        "Данные для входа не приняты. Войдите ещё раз.",
        "Кирүү маалыматы кабыл алынган жок. Кайра кириңиз.",
        "The credential was not accepted. Sign in again.",
    ),
):
    """A credential that does not verify; ``details['credential']`` is the header that brought it, never why."""


class Forbidden(Declared, spec=error("forbidden", 403, "Нет доступа.", "Кирүүгө уруксат жок.", "Not allowed.")):
    """Another client's object, or a role that is too low."""


class NotFound(Declared, spec=error("not_found", 404, "Не найдено.", "Табылган жок.", "Not found.")):
    """Unknown path or object without a code of its own."""


class ClientNotFound(
    Declared, spec=error("client_not_found", 404, "Клиент не найден.", "Кардар табылган жок.", "Client not found.")
):
    """The token is good, but no such client exists."""


class ClientBlocked(
    Declared,
    spec=error(
        "client_blocked",
        403,
        "Аккаунт заблокирован. Обратитесь в поддержку.",
        "Аккаунт бөгөттөлгөн. Колдоо кызматына кайрылыңыз.",
        "The account is blocked.",
    ),
):
    """Status ``blocked`` or ``inactive``."""


class ClientDeleted(
    Declared, spec=error("client_deleted", 403, "Аккаунт удалён.", "Аккаунт өчүрүлгөн.", "The account is deleted.")
):
    """Deletion is pending or done."""


class ValidationFailed(
    Declared,
    spec=error(
        "validation_error",
        422,
        "Неверные параметры запроса.",
        "Сурамдын параметрлери туура эмес.",
        "The request has wrong parameters.",
    ),
):
    """A member of the body, path or query is missing or wrong; ``details['fields']`` names it."""


class InvalidRequest(
    Declared,
    spec=error("invalid_request", 400, "Неверный запрос.", "Сурам туура эмес.", "The request cannot be read."),
):
    """Malformed body, wrong content type, too deep."""


class IdempotencyConflict(
    Declared,
    spec=error(
        "invalid_request",
        409,
        "Ключ идемпотентности уже использован.",
        "Идемпотенттүүлүк ачкычы мурун колдонулган.",
        "The Idempotency-Key is in use for another request.",
    ),
):
    """Same Idempotency-Key with another request, or the first one is still running."""


class PayloadTooLarge(
    Declared,
    spec=error("invalid_request", 413, "Слишком большой запрос.", "Сурам өтө чоң.", "The request body is too large."),
):
    """Body over the limit."""


class MethodNotAllowed(
    Declared,
    spec=error("invalid_request", 405, "Метод не поддерживается.", "Ыкма колдоого алынбайт.", "Method not allowed."),
):
    """Known path, wrong method."""


class UnsupportedMediaType(
    Declared,
    spec=error(
        "invalid_request",
        415,
        "Неподдерживаемый тип содержимого.",
        "Мазмун түрү колдоого алынбайт.",
        "Content type not supported: send application/json.",
    ),
):
    """Body that is not JSON."""


class TooManyRequests(Declared):
    """Base of every 429: it always tells when to come back (``details['retry_after_seconds']``, ``Retry-After``)."""

    def __init__(self, reason: str | None = None, *, retry_after_seconds: int = 60, **details: Any) -> None:
        super().__init__(reason, retry_after_seconds=max(1, retry_after_seconds), **details)


class RateLimitExceeded(
    TooManyRequests,
    spec=error(
        "rate_limit_exceeded",
        429,
        "Слишком много запросов. Подождите немного.",
        "Сурамдар өтө көп. Бир аз күтө туруңуз.",
        "Too many requests.",
    ),
):
    """A client, or an address, asks too often."""


class InvalidCode(
    Declared,
    spec=error(
        "invalid_code",
        401,
        "Неверный или устаревший код.",
        "Код туура эмес же эскирген.",
        "The code is wrong or has expired.",
    ),
):
    """Login code: wrong, expired, used, tried too often, or never sent; which of them is nobody's business."""


class CodeRateLimited(
    TooManyRequests,
    spec=error(
        "rate_limit",
        429,
        "Код уже отправлен. Подождите немного.",
        "Код жөнөтүлгөн. Бир аз күтө туруңуз.",
        "Too many codes: wait a little.",
    ),
):
    """A code was sent to this phone a moment ago, or too many were."""


class CodesCapped(
    TooManyRequests,
    spec=error(
        "rate_limit",
        429,
        "Слишком много запросов кода. Попробуйте позже.",
        "Код өтө көп суралды. Кийинчерээк аракет кылыңыз.",
        "Too many login codes are asked for. Try again later.",
    ),
):
    """Login codes asked for, or wrong ones tried, too often by others at this address, for these numbers or in all."""


class PhoneNotServed(
    Declared,
    spec=error(
        "validation_error",
        422,
        "На номера этой страны коды не отправляются",
        "Бул өлкөнүн номерлерине код жөнөтүлбөйт",
        "Login codes are not sent to numbers of this country",
    ),
):
    """A phone number of a country that SMS_COUNTRIES does not name."""


class CodeNotSent(
    Declared,
    spec=error(
        "otp_error",
        502,
        "Не удалось отправить код. Попробуйте позже.",
        "Код жөнөтүлбөй калды. Кийинчерээк аракет кылыңыз.",
        "The code could not be sent. Try again later.",
    ),
):
    """The text message was not accepted for delivery."""


class LegacyCodeNotSent(CodeNotSent, spec={"http_status": 400}):
    """The same on the older path ``/auth/otp/send``, whose clients expect 400."""


class FcmTokenInvalid(
    Declared,
    spec=error(
        "fcm_token_invalid",
        422,
        "Неверный токен устройства.",
        "Түзмөктүн токени туура эмес.",
        "Not a push token of that platform.",
    ),
):
    """A push token that no provider could have issued."""


class ServiceUnavailable(
    Declared,
    spec=error(
        "service_unavailable",
        503,
        "Сервис временно недоступен.",
        "Кызмат убактылуу жеткиликсиз.",
        "The service is temporarily unavailable.",
    ),
):
    """A dependency (database, Redis) is away."""


class RequestTimeout(
    Declared,
    spec=error("timeout", 504, "Время ожидания истекло.", "Күтүү убактысы бүттү.", "The request timed out."),
):
    """Our own time budget ran out."""
