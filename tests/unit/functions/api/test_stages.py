"""Drivers' routes load at the start, those of the staff when somebody of the staff comes."""

import os
import pkgutil
import subprocess
import sys

import httpx
import pytest
from fastapi.routing import APIRoute

import functions.api.routes
from evpower.config import Settings
from functions.api.app import create_app
from functions.api.deps import build_deps
from functions.api.routes import DRIVER_MODULES, MODULES, STAFF_MODULES, STAFF_PATH, routers

# Of a process that has answered nothing yet: what a cold start must not pay for.
_LAZY = {
    "aws_xray_sdk",
    "boto3",
    "botocore.session",
    "evpower.admin",
    "functions.api.openapi",
    "functions.api.staff",
    "httpx",
    "ocpp",
    "redis",
    "sentry_sdk",
    "websockets",
}


def test_every_module_of_routes_is_registered_once() -> None:
    found = {module.name for module in pkgutil.iter_modules(functions.api.routes.__path__)}
    assert set(MODULES) == found
    assert len(MODULES) == len(found)


def test_the_path_tells_the_routes_of_the_staff() -> None:
    for modules, is_staff in ((DRIVER_MODULES, False), (STAFF_MODULES, True)):
        paths = [route.path for router in routers(modules) for route in router.routes if isinstance(route, APIRoute)]
        assert paths
        assert {STAFF_PATH.match(path) is not None for path in paths} == {is_staff}


def test_heavy_modules_and_the_staffs_are_lazy() -> None:
    code = "import sys, functions.api.handler; print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "ENVIRONMENT": "test"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    loaded = set(run.stdout.split())
    assert "functions.api.routes.balance" in loaded
    assert not loaded & (_LAZY | {f"functions.api.routes.{name}" for name in STAFF_MODULES})


@pytest.mark.parametrize(
    ("path", "status"),
    [("/api/v1/admin/stats", 401), ("/api/v1/admin/nowhere", 404), ("/api/v1/balance/current", 401), ("/nowhere", 404)],
)
async def test_both_stages_answer(path: str, status: int) -> None:
    app = create_app(build_deps(Settings.model_validate({"environment": "test"})))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="https://api.example") as http:
        answer = await http.get(path)
        assert (await http.get("/openapi.json")).status_code == 404, "documentation is off unless switched on"
    assert answer.status_code == status
    assert answer.json()["success"] is False
