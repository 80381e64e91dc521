"""Signature vectors, computed with `openssl dgst -hmac`, not with our code."""

import json

import pytest

from evpower.payments import odengi_signature as signature

PASSWORD = "p@ss/слово"


def test_request_is_signed_over_its_own_bytes() -> None:
    body = signature.signed_request(
        cmd="createInvoice",
        merchant_id="1234567890",
        password=PASSWORD,
        mktime="1767225600000",
        data={
            "order_id": "evp-1",
            "desc": "Пополнение / EvPower",
            "amount": 50000,
            "currency": "KGS",
            "result_url": "https://pay.example.com/api/v1/payment/webhook",
        },
    )
    unsigned = (
        '{"cmd":"createInvoice","version":1005,"sid":"1234567890","mktime":"1767225600000","lang":"ru","data":'
        '{"order_id":"evp-1","desc":"Пополнение / EvPower","amount":50000,"currency":"KGS",'
        '"result_url":"https://pay.example.com/api/v1/payment/webhook"}'
    )
    assert body.decode() == unsigned + ',"hash":"9f0ab342ab7c57e0c306593ad7afaaf3"}'
    assert json.loads(body)["data"]["desc"] == "Пополнение / EvPower"


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (
            {
                "trans_id": "998877",
                "status_pay": "3",
                "site_id": "1234567890",
                "order_id": "evp-1",
                "amount": "50000",
                "currency": "KGS",
                "mktime": "1767225600",
                "test": "0",
                "mobile": "unsigned",
            },
            "a283df3dc43eabad8d231eb71d64369c",
        ),
        (
            {"status_pay": "3", "site_id": "1234567890", "order_id": "evp-1", "amount": "50000", "currency": "KGS"},
            "674e9606438b7e1f3a0d6e8048ef8008",
        ),
    ],
)
def test_callback_hash(members: dict[str, str], expected: str) -> None:
    assert signature.callback_hash(PASSWORD, members) == expected
    assert signature.verify_callback_hash(PASSWORD, {**members, "hash": expected})
    assert signature.verify_callback_hash(PASSWORD, {**members, "hash": expected.upper()})
    assert not signature.verify_callback_hash(PASSWORD, {**members, "hash": expected[:-1]})
    assert not signature.verify_callback_hash(PASSWORD, {**members, "hash": "ы" * 32})
    assert not signature.verify_callback_hash(PASSWORD, members)
    assert not signature.verify_callback_hash("other", {**members, "hash": expected})


@pytest.mark.parametrize("name", signature.CALLBACK_SIGNED_MEMBERS)
def test_every_signed_member_counts(name: str) -> None:
    members = dict.fromkeys(signature.CALLBACK_SIGNED_MEMBERS, "1")
    signed = {**members, "hash": signature.callback_hash(PASSWORD, members)}
    assert signature.verify_callback_hash(PASSWORD, signed)
    assert not signature.verify_callback_hash(PASSWORD, {**signed, name: "2"})


def test_no_key_verifies_nothing() -> None:
    members = {"order_id": "evp-1"}
    assert not signature.verify_callback_hash("", {**members, "hash": signature.callback_hash("", members)})
    assert not signature.verify_body_signature("", b"x", signature.body_signature("", b"x"))


def test_older_header_scheme() -> None:
    body = b'{"order_id":"evp-1","status":1,"merchant_id":"1234567890"}'
    good = "be8bfc5efc4ced71c9ad27a420ac350e5acee864c604eae1f6ae8196ff7b4ed8"
    assert signature.body_signature("webhook-secret", body) == good
    for header in (good, f"sha256={good}", f" SHA256={good.upper()} "):
        assert signature.verify_body_signature("webhook-secret", body, header)
    for header in ("", "sha256=", good[1:], f"md5={good}", "é" * 64):
        assert not signature.verify_body_signature("webhook-secret", body, header)
    assert not signature.verify_body_signature("webhook-secret", body + b" ", good)
