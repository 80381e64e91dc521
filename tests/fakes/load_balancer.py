"""What a container behind a load balancer sees of AWS: its own metadata, and the health of its target."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs

from aiohttp import web

from infra.local.processes import LOOPBACK, free_port

TARGET_GROUP = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:targetgroup/tasks/0123456789abcdef"
ADDRESS = "10.40.64.17"
_ANSWER = """<DescribeTargetHealthResponse xmlns="http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/">
<DescribeTargetHealthResult><TargetHealthDescriptions><member>
<TargetHealth><State>{state}</State></TargetHealth><Target><Id>{address}</Id><Port>9220</Port></Target>
</member></TargetHealthDescriptions></DescribeTargetHealthResult></DescribeTargetHealthResponse>"""


class FakeLoadBalancer:
    """``state`` is what the next question is answered; ``failures`` questions before that get a 503."""

    def __init__(self, port: int) -> None:
        self.url = f"http://{LOOPBACK}:{port}"
        self.state = "healthy"
        self.failures = 0
        self.questions: list[dict[str, list[str]]] = []

    @property
    def environ(self) -> dict[str, str]:
        """The container's environment variables."""
        return {
            "TARGET_GROUP_ARN": TARGET_GROUP,
            "ECS_CONTAINER_METADATA_URI_V4": f"{self.url}/v4/metadata",
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_REGION": "eu-central-1",
        }

    async def metadata(self, _request: web.Request) -> web.Response:
        return web.json_response({"Networks": [{"NetworkMode": "awsvpc", "IPv4Addresses": [ADDRESS]}]})

    async def health(self, request: web.Request) -> web.Response:
        self.questions.append(parse_qs((await request.read()).decode()))
        if self.failures:
            self.failures -= 1
            return web.Response(status=503)
        return web.Response(text=_ANSWER.format(state=self.state, address=ADDRESS), content_type="text/xml")


@asynccontextmanager
async def load_balancer() -> AsyncIterator[FakeLoadBalancer]:
    """One that listens on loopback."""
    port = free_port()
    fake = FakeLoadBalancer(port)
    app = web.Application()
    app.router.add_get("/v4/metadata", fake.metadata)
    app.router.add_post("/", fake.health)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, port).start()
    try:
        yield fake
    finally:
        await runner.cleanup()
