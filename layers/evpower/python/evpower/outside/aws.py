"""The one maker of clients of AWS's SDK. Their hosts are fixed: AWS's own by region, or the deployer's endpoint."""

from typing import Any


def aws_client(
    service: str,
    *,
    region: str,
    endpoint_url: str | None,
    connect_timeout_s: float = 2,
    read_timeout_s: float = 5,
    retries: Any = None,
    access_key: str | None = None,
    secret_key: str | None = None,
    **config: Any,
) -> Any:
    """A boto3 client that gives up quickly. Blocking; takes 0.4 s of imports the first time.

    Without keys it finds the process's own credentials. ``retries`` and ``config`` go into botocore's ``Config``.
    """
    import boto3
    from botocore.config import Config

    # A session of its own: the default one is not safe in several threads.
    session = boto3.session.Session(region_name=region, aws_access_key_id=access_key, aws_secret_access_key=secret_key)
    attempts: Any = retries or {"max_attempts": 2, "mode": "standard"}
    limits = Config(
        connect_timeout=connect_timeout_s,
        read_timeout=read_timeout_s,
        retries=attempts,
        **config,
    )
    return session.client(service, endpoint_url=endpoint_url, config=limits)  # type: ignore[call-overload]
