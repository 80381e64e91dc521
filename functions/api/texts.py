"""Sentences of successful answers, in the languages of the errors."""

_TEXTS: dict[str, dict[str, str]] = {
    "charging_started": {
        "ru": "Зарядка запускается.",
        "ky": "Кубаттоо башталууда.",
        "en": "Charging is starting.",
    },
    "charging_waits": {
        "ru": "Станция временно не на связи: зарядка начнётся, когда она вернётся, или деньги будут возвращены.",
        "ky": "Станция убактылуу байланышта эмес: ал кайтканда кубаттоо башталат же акча кайтарылат.",
        "en": "The station is briefly offline: charging starts when it is back, or the money is returned.",
    },
    "charging_stopped": {
        "ru": "Зарядка завершена.",
        "ky": "Кубаттоо аяктады.",
        "en": "Charging has ended.",
    },
    "charging_stopping": {
        "ru": "Зарядка останавливается, окончательная сумма будет позже.",
        "ky": "Кубаттоо токтотулууда, акыркы сумма кийинчерээк болот.",
        "en": "Charging is being stopped; the final amount follows.",
    },
    "code_sent": {
        "ru": "Код отправлен.",
        "ky": "Код жөнөтүлдү.",
        "en": "The code was sent.",
    },
    "signed_in": {
        "ru": "Вы вошли.",
        "ky": "Сиз кирдиңиз.",
        "en": "You are signed in.",
    },
    "signed_out": {
        "ru": "Вы вышли.",
        "ky": "Сиз чыктыңыз.",
        "en": "You are signed out.",
    },
    "account_deleted": {
        "ru": "Аккаунт удалён.",
        "ky": "Аккаунт өчүрүлдү.",
        "en": "The account is deleted.",
    },
    "location_refreshed": {
        "ru": "Статус обновлён.",
        "ky": "Абал жаңыртылды.",
        "en": "The status was refreshed.",
    },
    "staff_deactivated": {
        "ru": "Сотрудник деактивирован.",
        "ky": "Кызматкер өчүрүлдү.",
        "en": "The staff account is deactivated.",
    },
    "staff_activated": {
        "ru": "Сотрудник активирован.",
        "ky": "Кызматкер иштетилди.",
        "en": "The staff account is active.",
    },
    "device_registered": {
        "ru": "Устройство зарегистрировано.",
        "ky": "Түзмөк катталды.",
        "en": "The device is registered.",
    },
    "device_unregistered": {
        "ru": "Устройство отключено.",
        "ky": "Түзмөк өчүрүлдү.",
        "en": "The device is not registered any more.",
    },
    "subscribed": {
        "ru": "Уведомления включены.",
        "ky": "Билдирмелер иштетилди.",
        "en": "Notifications are on.",
    },
    "unsubscribed": {
        "ru": "Уведомления отключены.",
        "ky": "Билдирмелер өчүрүлдү.",
        "en": "Notifications are off.",
    },
    "test_sent": {
        "ru": "Проверочное уведомление отправлено.",
        "ky": "Текшерүү билдирмеси жөнөтүлдү.",
        "en": "A test notification is on its way.",
    },
    "nowhere_to_send": {
        "ru": "Нет устройств для уведомлений.",
        "ky": "Билдирмелер үчүн түзмөк жок.",
        "en": "There is no device to notify.",
    },
    "payment_checked": {
        "ru": "Платёж проверен.",
        "ky": "Төлөм текшерилди.",
        "en": "The payment was checked.",
    },
    "card_confirm": {
        "ru": "Подтвердите оплату на странице банка.",
        "ky": "Төлөмдү банктын барагында ырастаңыз.",
        "en": "Confirm the payment on the bank's page.",
    },
    "card_processing": {
        "ru": "Оплата обрабатывается.",
        "ky": "Төлөм аткарылууда.",
        "en": "The payment is being processed.",
    },
    "card_paid": {
        "ru": "Оплачено.",
        "ky": "Төлөндү.",
        "en": "Paid.",
    },
    "card_token": {
        "ru": "Сохраните карту на странице банка.",
        "ky": "Картаны банктын барагында сактаңыз.",
        "en": "Store the card on the bank's page.",
    },
    "payment_canceled": {
        "ru": "Платёж отменён.",
        "ky": "Төлөм жокко чыгарылды.",
        "en": "The payment was canceled.",
    },
}


def sentence(key: str, language: str) -> str:
    """The sentence in ``ru``, ``ky`` or ``en``."""
    return _TEXTS[key][language]
