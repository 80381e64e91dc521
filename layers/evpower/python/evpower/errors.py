"""Every failure that a client can see: one exception class per error code of the wire contract (mobile-api.md §8).

``code`` is the machine word, ``http_status`` the status of the HTTP answer, ``details`` extra members of the flat
envelope. :meth:`EvPowerError.message` gives the human sentence in ``ru`` (default), ``ky`` or ``en``.
"""

from typing import Any, ClassVar

LANGUAGES = ("ru", "ky", "en")


class EvPowerError(Exception):
    """Base of all domain failures; also the answer for a fault of ours (``internal_error``)."""

    code: ClassVar[str] = "internal_error"
    http_status: ClassVar[int] = 500
    texts: ClassVar[dict[str, str]] = {
        "ru": "Внутренняя ошибка сервера. Попробуйте ещё раз.",
        "ky": "Сервердин ички катасы. Кайра аракет кылыңыз.",
        "en": "Internal server error. Please try again.",
    }

    def __init__(self, reason: str | None = None, **details: Any) -> None:
        super().__init__(reason or self.code)
        self.reason = reason
        self.details = details

    def message(self, language: str = "ru") -> str:
        """Human sentence; a ``reason`` given at the raise (English, technical) is shown only in ``en``."""
        if language == "en" and self.reason:
            return self.reason
        return self.texts.get(language) or self.texts["ru"]


def _error(code: str, http_status: int, ru: str, ky: str, en: str) -> dict[str, Any]:
    return {"code": code, "http_status": http_status, "texts": {"ru": ru, "ky": ky, "en": en}}


class _Declared(EvPowerError):
    """Takes its class attributes from one line of declaration."""

    def __init_subclass__(cls, spec: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, value in (spec or {}).items():
            setattr(cls, name, value)


class Unauthorized(
    _Declared,
    spec=_error("unauthorized", 401, "Требуется вход в аккаунт.", "Аккаунтка кирүү талап кылынат.", "Sign in first."),
):
    """No token, or one that does not verify."""


class Forbidden(_Declared, spec=_error("forbidden", 403, "Нет доступа.", "Кирүүгө уруксат жок.", "Not allowed.")):
    """Another client's object, or a role that is too low."""


class NotFound(_Declared, spec=_error("not_found", 404, "Не найдено.", "Табылган жок.", "Not found.")):
    """Unknown path or object without a code of its own."""


class ClientNotFound(
    _Declared, spec=_error("client_not_found", 404, "Клиент не найден.", "Кардар табылган жок.", "Client not found.")
):
    """The token is good, but no such client exists."""


class ClientBlocked(
    _Declared,
    spec=_error(
        "client_blocked",
        403,
        "Аккаунт заблокирован. Обратитесь в поддержку.",
        "Аккаунт бөгөттөлгөн. Колдоо кызматына кайрылыңыз.",
        "The account is blocked.",
    ),
):
    """Status ``blocked`` or ``inactive``."""


class ClientDeleted(
    _Declared, spec=_error("client_deleted", 403, "Аккаунт удалён.", "Аккаунт өчүрүлгөн.", "The account is deleted.")
):
    """Deletion is pending or done."""


class ValidationFailed(
    _Declared,
    spec=_error(
        "validation_error",
        422,
        "Неверные параметры запроса.",
        "Сурамдын параметрлери туура эмес.",
        "The request has wrong parameters.",
    ),
):
    """A member of the body, path or query is missing or wrong; ``details['fields']`` names it."""


class InvalidRequest(
    _Declared,
    spec=_error("invalid_request", 400, "Неверный запрос.", "Сурам туура эмес.", "The request cannot be read."),
):
    """Malformed body, wrong content type, too deep."""


class IdempotencyConflict(
    _Declared,
    spec=_error(
        "invalid_request",
        409,
        "Ключ идемпотентности уже использован.",
        "Идемпотенттүүлүк ачкычы мурун колдонулган.",
        "The Idempotency-Key is in use for another request.",
    ),
):
    """Same Idempotency-Key with another request, or the first one is still running."""


class PayloadTooLarge(
    _Declared,
    spec=_error("invalid_request", 413, "Слишком большой запрос.", "Сурам өтө чоң.", "The request body is too large."),
):
    """Body over the limit."""


class MethodNotAllowed(
    _Declared,
    spec=_error("invalid_request", 405, "Метод не поддерживается.", "Ыкма колдоого алынбайт.", "Method not allowed."),
):
    """Known path, wrong method."""


class UnsupportedMediaType(
    _Declared,
    spec=_error(
        "invalid_request",
        415,
        "Неподдерживаемый тип содержимого.",
        "Мазмун түрү колдоого алынбайт.",
        "Content type not supported: send application/json.",
    ),
):
    """Body that is not JSON."""


class RateLimitExceeded(
    _Declared,
    spec=_error(
        "rate_limit_exceeded",
        429,
        "Слишком много запросов. Подождите немного.",
        "Сурамдар өтө көп. Бир аз күтө туруңуз.",
        "Too many requests.",
    ),
):
    """``details['retry_after_seconds']`` tells when to come back."""


class InvalidCode(
    _Declared,
    spec=_error(
        "invalid_code",
        401,
        "Неверный или устаревший код.",
        "Код туура эмес же эскирген.",
        "The code is wrong or has expired.",
    ),
):
    """Login code: wrong, expired, used, tried too often, or never sent; which of them is nobody's business."""


class CodeRateLimited(
    _Declared,
    spec=_error(
        "rate_limit",
        429,
        "Код уже отправлен. Подождите немного.",
        "Код жөнөтүлгөн. Бир аз күтө туруңуз.",
        "Too many codes: wait a little.",
    ),
):
    """Login codes asked for, or tried, too often; ``details['retry_after_seconds']``."""


class CodeNotSent(
    _Declared,
    spec=_error(
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
    _Declared,
    spec=_error(
        "fcm_token_invalid",
        422,
        "Неверный токен устройства.",
        "Түзмөктүн токени туура эмес.",
        "Not a push token of that platform.",
    ),
):
    """A push token that no provider could have issued."""


class StationNotFound(
    _Declared,
    spec=_error("station_not_found", 404, "Станция не найдена.", "Станция табылган жок.", "Station not found."),
):
    """Unknown or inactive station."""


class StationMaintenance(
    _Declared,
    spec=_error(
        "station_maintenance", 409, "Станция на обслуживании.", "Станция тейлөөдө.", "The station is under maintenance."
    ),
):
    """Administrative status ``maintenance``."""


class StationOffline(
    _Declared,
    spec=_error("station_offline", 409, "Станция не на связи.", "Станция байланышта эмес.", "The station is offline."),
):
    """Not seen for longer than STATION_OFFLINE_AFTER_S."""


class StationUnavailable(
    _Declared,
    spec=_error(
        "station_unavailable", 409, "Станция недоступна.", "Станция жеткиликсиз.", "The station is unavailable."
    ),
):
    """The station does not take charging sessions now (not admitted, or connector 0 unavailable)."""


class ConnectorNotFound(
    _Declared,
    spec=_error("connector_not_found", 404, "Разъём не найден.", "Туташтыргыч табылган жок.", "Connector not found."),
):
    """The station has no such connector number."""


class ConnectorOccupied(
    _Declared,
    spec=_error("connector_occupied", 409, "Разъём занят.", "Туташтыргыч бош эмес.", "The connector is occupied."),
):
    """Another session, or the charger says so."""


class ConnectorFaulted(
    _Declared,
    spec=_error("connector_faulted", 409, "Разъём неисправен.", "Туташтыргыч бузук.", "The connector is faulted."),
):
    """The charger reported Faulted."""


class ConnectorUnavailable(
    _Declared,
    spec=_error(
        "connector_unavailable", 409, "Разъём недоступен.", "Туташтыргыч жеткиликсиз.", "The connector is unavailable."
    ),
):
    """The charger reported Unavailable."""


class SessionNotFound(
    _Declared, spec=_error("session_not_found", 404, "Сессия не найдена.", "Сессия табылган жок.", "Session not found.")
):
    """No such session."""


class SessionAlreadyActive(
    _Declared,
    spec=_error(
        "session_already_active",
        409,
        "У вас уже есть активная зарядка.",
        "Сизде активдүү кубаттоо бар.",
        "You already have an active charging session.",
    ),
):
    """One live session per client."""


class InsufficientBalance(
    _Declared,
    spec=_error(
        "insufficient_balance",
        402,
        "Недостаточно средств на балансе.",
        "Баланста каражат жетишсиз.",
        "Not enough money on the balance.",
    ),
):
    """``details``: current_balance, required_amount (som)."""


class PaymentNotFound(
    _Declared, spec=_error("payment_not_found", 404, "Платёж не найден.", "Төлөм табылган жок.", "Payment not found.")
):
    """No such top-up of this client."""


class PaymentNotCancellable(
    _Declared,
    spec=_error(
        "payment_not_cancellable",
        409,
        "Платёж нельзя отменить.",
        "Төлөмдү жокко чыгарууга болбойт.",
        "The payment cannot be cancelled any more.",
    ),
):
    """Already approved or cancelled."""


class PaymentNotProcessing(
    _Declared,
    spec=_error(
        "payment_not_processing", 409, "Платёж уже завершён.", "Төлөм аяктаган.", "The payment is not in progress."
    ),
):
    """A check was asked for a payment that has ended."""


class InvalidAmount(
    _Declared, spec=_error("invalid_amount", 422, "Неверная сумма.", "Сумма туура эмес.", "The amount is wrong.")
):
    """Not a positive amount of whole tyiyn."""


class MinimumAmountRequired(
    _Declared,
    spec=_error(
        "minimum_amount_required",
        422,
        "Сумма меньше минимальной.",
        "Сумма минималдуудан аз.",
        "The amount is below the minimum.",
    ),
):
    """``details['minimum_amount']`` in som."""


class MaximumAmountExceeded(
    _Declared,
    spec=_error(
        "maximum_amount_exceeded",
        422,
        "Сумма больше максимальной.",
        "Сумма максималдуудан көп.",
        "The amount is above the maximum.",
    ),
):
    """``details['maximum_amount']`` in som."""


class ChargingLimitExceeded(
    _Declared,
    spec=_error(
        "charging_limit_exceeded",
        422,
        "Превышен предел зарядки.",
        "Кубаттоо чегинен ашты.",
        "The charging limit is too high.",
    ),
):
    """Energy or amount limit above what the contract allows."""


class ProviderError(
    _Declared,
    spec=_error(
        "provider_error",
        502,
        "Ошибка платёжной системы.",
        "Төлөм системасынын катасы.",
        "The payment provider reported an error.",
    ),
):
    """``details``: provider_code, provider_message."""


class ProviderUnavailable(
    _Declared,
    spec=_error(
        "provider_unavailable",
        503,
        "Платёжная система недоступна.",
        "Төлөм системасы жеткиликсиз.",
        "The payment provider cannot be reached.",
    ),
):
    """Connection failed before the request was sent."""


class ProviderTimeout(
    _Declared,
    spec=_error(
        "provider_timeout",
        504,
        "Платёжная система не отвечает.",
        "Төлөм системасы жооп бербейт.",
        "The payment provider did not answer in time.",
    ),
):
    """Outcome unknown; it is asked for later."""


class H2HNotAvailable(
    _Declared,
    spec=_error(
        "h2h_not_available",
        503,
        "Оплата картой недоступна.",
        "Карта менен төлөө жеткиликсиз.",
        "Card payments are not available.",
    ),
):
    """OBANK is disabled."""


class H2HNotSupported(
    _Declared,
    spec=_error(
        "h2h_not_supported",
        503,
        "Оплата картой не поддерживается.",
        "Карта менен төлөө колдоого алынбайт.",
        "The payment provider has no card payments.",
    ),
):
    """O!Dengi has no card commands."""


class TokenNotAvailable(
    _Declared,
    spec=_error(
        "token_not_available",
        503,
        "Оплата сохранённой картой недоступна.",
        "Сакталган карта менен төлөө жеткиликсиз.",
        "Stored-card payments are not available.",
    ),
):
    """OBANK is disabled."""


class TokenNotSupported(
    _Declared,
    spec=_error(
        "token_not_supported",
        503,
        "Сохранённые карты не поддерживаются.",
        "Сакталган карталар колдоого алынбайт.",
        "The payment provider has no stored cards.",
    ),
):
    """O!Dengi has no card commands."""


class PendingPaymentExists(
    _Declared,
    spec=_error(
        "pending_payment_exists",
        409,
        "Предыдущая оплата картой ещё выполняется.",
        "Мурунку карта төлөмү али аткарылууда.",
        "The earlier card payment is still in progress.",
    ),
):
    """A card may be charged once at a time; ``details['order_id']`` names the payment that is under way."""


class H2HPaymentFailed(
    _Declared,
    spec=_error(
        "h2h_payment_failed",
        502,
        "Оплата картой не прошла.",
        "Карта менен төлөө өткөн жок.",
        "The card payment failed.",
    ),
):
    """The bank refused it. ``details``: provider_code, provider_message."""


class TokenPaymentFailed(
    _Declared,
    spec=_error(
        "token_payment_failed",
        502,
        "Оплата сохранённой картой не прошла.",
        "Сакталган карта менен төлөө өткөн жок.",
        "The payment by the stored card failed.",
    ),
):
    """The bank refused it. ``details``: provider_code, provider_message."""


class TokenCreationFailed(
    _Declared,
    spec=_error(
        "token_creation_failed",
        502,
        "Не удалось сохранить карту.",
        "Картаны сактоо мүмкүн болгон жок.",
        "The card could not be stored.",
    ),
):
    """The bank refused it. ``details``: provider_code, provider_message."""


class PaymentExpired(
    _Declared,
    spec=_error("payment_expired", 409, "Срок оплаты истёк.", "Төлөм мөөнөтү өттү.", "The payment has expired."),
):
    """Legacy routes: a check was asked for a payment that ended unpaid; ``details['current_status']``."""


class PaymentCompleted(
    _Declared,
    spec=_error("payment_completed", 409, "Платёж уже оплачен.", "Төлөм төлөнгөн.", "The payment is paid already."),
):
    """Legacy routes: a check was asked for a paid payment; ``details['current_status']``."""


class CannotCancel(PaymentNotCancellable, spec={"code": "cannot_cancel"}):
    """The same in the words of the legacy routes."""


class ServiceUnavailable(
    _Declared,
    spec=_error(
        "service_unavailable",
        503,
        "Сервис временно недоступен.",
        "Кызмат убактылуу жеткиликсиз.",
        "The service is temporarily unavailable.",
    ),
):
    """A dependency (database, Redis) is away."""


class RequestTimeout(
    _Declared, spec=_error("timeout", 504, "Время ожидания истекло.", "Күтүү убактысы бүттү.", "The request timed out.")
):
    """Our own time budget ran out."""
