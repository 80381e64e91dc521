"""The page of the API's routes at ``/docs``. Its script and style are served by ourselves: no network is needed."""

from importlib.util import find_spec
from pathlib import Path

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

PATH = "/docs"
_ASSETS = f"{PATH}/assets"


def _assets() -> Path:
    """Folder with Swagger UI's files. The package is found, not imported: its files are all that is needed."""
    package = find_spec("fastapi_offline")
    if package is None or not package.submodule_search_locations:
        raise RuntimeError("the package fastapi-offline is not installed: it holds Swagger UI")
    return Path(package.submodule_search_locations[0]) / "static"


def install(app: FastAPI) -> None:
    """Serve the page and what it loads."""
    app.mount(_ASSETS, StaticFiles(directory=_assets()))

    @app.get(PATH, include_in_schema=False)
    async def page() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title=app.title,
            swagger_js_url=f"{_ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{_ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{_ASSETS}/favicon.png",
        )
