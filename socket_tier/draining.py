"""Notices that the load balancer takes this container out, long before anybody sends SIGTERM.

Use case: a deployment. ECS first deregisters the task's target and sends SIGTERM only when the deregistration delay is
over; at that moment the load balancer also cuts every WebSocket that is left. A process that asks for its target's
state can send its chargers to the other containers in good order instead.
Source: Amazon ECS Developer Guide, "Optimize load balancer connection draining parameters".
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from evpower.logging import get_logger
from evpower.outside import http as outgoing
from evpower.outside.aws import aws_client

log = get_logger(__name__)

POLL_S = 10.0
TIMEOUT_S = 5.0
WITHIN_S = 25.0  # every attempt of both questions
_METADATA = "ECS_CONTAINER_METADATA_URI_V4"


class TargetWatch:
    """Asks for the state of this container's target in ``target_group_arn`` every ``poll_s`` seconds."""

    def __init__(
        self, target_group_arn: str, region: str, environ: Mapping[str, str], *, poll_s: float = POLL_S
    ) -> None:
        self._arn = target_group_arn
        self._region = region
        self._environ = environ
        self._poll_s = poll_s
        self._client: Any = None
        self._is_failing = False

    async def wait_until_draining(self) -> None:
        """Return when the load balancer drains this container. Errors are logged and the next question is asked."""
        address = ""
        while True:
            try:
                async with asyncio.timeout(WITHIN_S):
                    address = address or await self._own_address()
                    state = await asyncio.to_thread(self._state, address)
            except Exception as error:  # the process serves its chargers whatever AWS answers
                if not self._is_failing:
                    log.warning("the load balancer's view is unknown", extra={"error": str(error)})
                self._is_failing = True
            else:
                self._is_failing = False
                if state == "draining":
                    log.info("the load balancer drains this container", extra={"address": address})
                    return
            await asyncio.sleep(self._poll_s)

    async def _own_address(self) -> str:
        url = self._environ[_METADATA]
        async with outgoing.client(timeout_s=TIMEOUT_S, fixed=[url]) as client:
            answer = (await client.get(url)).raise_for_status().json()
        return str(answer["Networks"][0]["IPv4Addresses"][0])

    def _state(self, address: str) -> str:
        if self._client is None:
            self._client = aws_client(
                "elbv2",
                region=self._region,
                endpoint_url=self._environ.get("AWS_ENDPOINT_URL") or None,
                connect_timeout_s=TIMEOUT_S,
                read_timeout_s=TIMEOUT_S,
            )
        found = self._client.describe_target_health(TargetGroupArn=self._arn, Targets=[{"Id": address}])
        return str(found["TargetHealthDescriptions"][0]["TargetHealth"]["State"])


def watch_from(environ: Mapping[str, str], region: str) -> TargetWatch | None:
    """The watch of a container behind a load balancer; None elsewhere."""
    arn = environ.get("TARGET_GROUP_ARN", "")
    return TargetWatch(arn, region, environ) if arn and environ.get(_METADATA) else None
