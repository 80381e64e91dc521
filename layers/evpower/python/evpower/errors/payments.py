"""Top-ups, cards and the payment providers."""

from evpower.errors.base import Declared, error


class PaymentNotFound(
    Declared, spec=error("payment_not_found", 404, "Платёж не найден.", "Төлөм табылган жок.", "Payment not found.")
):
    """No such top-up of this client."""


class PaymentNotCancellable(
    Declared,
    spec=error(
        "payment_not_cancellable",
        409,
        "Платёж нельзя отменить.",
        "Төлөмдү жокко чыгарууга болбойт.",
        "The payment cannot be cancelled any more.",
    ),
):
    """Already approved or cancelled."""


class PaymentNotProcessing(
    Declared,
    spec=error(
        "payment_not_processing", 409, "Платёж уже завершён.", "Төлөм аяктаган.", "The payment is not in progress."
    ),
):
    """A check was asked for a payment that has ended."""


class InvalidAmount(
    Declared, spec=error("invalid_amount", 422, "Неверная сумма.", "Сумма туура эмес.", "The amount is wrong.")
):
    """Not a positive amount of whole tyiyn."""


class MinimumAmountRequired(
    Declared,
    spec=error(
        "minimum_amount_required",
        422,
        "Сумма меньше минимальной.",
        "Сумма минималдуудан аз.",
        "The amount is below the minimum.",
    ),
):
    """``details['minimum_amount']`` in som."""


class MaximumAmountExceeded(
    Declared,
    spec=error(
        "maximum_amount_exceeded",
        422,
        "Сумма больше максимальной.",
        "Сумма максималдуудан көп.",
        "The amount is above the maximum.",
    ),
):
    """``details['maximum_amount']`` in som."""


class ProviderError(
    Declared,
    spec=error(
        "provider_error",
        502,
        "Ошибка платёжной системы.",
        "Төлөм системасынын катасы.",
        "The payment provider reported an error.",
    ),
):
    """``details``: provider_code, provider_message."""


class ProviderUnavailable(
    Declared,
    spec=error(
        "provider_unavailable",
        503,
        "Платёжная система недоступна.",
        "Төлөм системасы жеткиликсиз.",
        "The payment provider cannot be reached.",
    ),
):
    """Connection failed before the request was sent."""


class ProviderTimeout(
    Declared,
    spec=error(
        "provider_timeout",
        504,
        "Платёжная система не отвечает.",
        "Төлөм системасы жооп бербейт.",
        "The payment provider did not answer in time.",
    ),
):
    """Outcome unknown; it is asked for later."""


class H2HNotAvailable(
    Declared,
    spec=error(
        "h2h_not_available",
        503,
        "Оплата картой недоступна.",
        "Карта менен төлөө жеткиликсиз.",
        "Card payments are not available.",
    ),
):
    """OBANK is disabled."""


class H2HNotSupported(
    Declared,
    spec=error(
        "h2h_not_supported",
        503,
        "Оплата картой не поддерживается.",
        "Карта менен төлөө колдоого алынбайт.",
        "The payment provider has no card payments.",
    ),
):
    """O!Dengi has no card commands."""


class TokenNotAvailable(
    Declared,
    spec=error(
        "token_not_available",
        503,
        "Оплата сохранённой картой недоступна.",
        "Сакталган карта менен төлөө жеткиликсиз.",
        "Stored-card payments are not available.",
    ),
):
    """OBANK is disabled."""


class TokenNotSupported(
    Declared,
    spec=error(
        "token_not_supported",
        503,
        "Сохранённые карты не поддерживаются.",
        "Сакталган карталар колдоого алынбайт.",
        "The payment provider has no stored cards.",
    ),
):
    """O!Dengi has no card commands."""


class PendingPaymentExists(
    Declared,
    spec=error(
        "pending_payment_exists",
        409,
        "Предыдущая оплата картой ещё выполняется.",
        "Мурунку карта төлөмү али аткарылууда.",
        "The earlier card payment is still in progress.",
    ),
):
    """A card may be charged once at a time; ``details['order_id']`` names the payment that is under way."""


class H2HPaymentFailed(
    Declared,
    spec=error(
        "h2h_payment_failed",
        502,
        "Оплата картой не прошла.",
        "Карта менен төлөө өткөн жок.",
        "The card payment failed.",
    ),
):
    """The bank refused it. ``details``: provider_code, provider_message."""


class TokenPaymentFailed(
    Declared,
    spec=error(
        "token_payment_failed",
        502,
        "Оплата сохранённой картой не прошла.",
        "Сакталган карта менен төлөө өткөн жок.",
        "The payment by the stored card failed.",
    ),
):
    """The bank refused it. ``details``: provider_code, provider_message."""


class TokenCreationFailed(
    Declared,
    spec=error(
        "token_creation_failed",
        502,
        "Не удалось сохранить карту.",
        "Картаны сактоо мүмкүн болгон жок.",
        "The card could not be stored.",
    ),
):
    """The bank refused it. ``details``: provider_code, provider_message."""


class PaymentExpired(
    Declared,
    spec=error("payment_expired", 409, "Срок оплаты истёк.", "Төлөм мөөнөтү өттү.", "The payment has expired."),
):
    """Legacy routes: a check was asked for a payment that ended unpaid; ``details['current_status']``."""


class PaymentCompleted(
    Declared,
    spec=error("payment_completed", 409, "Платёж уже оплачен.", "Төлөм төлөнгөн.", "The payment is paid already."),
):
    """Legacy routes: a check was asked for a paid payment; ``details['current_status']``."""


class CannotCancel(PaymentNotCancellable, spec={"code": "cannot_cancel"}):
    """The same in the words of the legacy routes."""
