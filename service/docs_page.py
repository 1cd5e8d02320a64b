"""The page at `/docs`: Swagger UI 5.35.0 (Apache-2.0), from files that ship with the service, so it needs no internet.

swagger-ui-dist is the one that FastAPI's own page loads from a content network; its two files are in static/swagger-ui.
"""

from pathlib import Path
from typing import Literal

from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse

from service.answers.stored_files import StoredFile

FILES = Path(__file__).parent / "static" / "swagger-ui"
PREFIX = "/docs/assets"

router = APIRouter(include_in_schema=False)


@router.get("/docs")
def page() -> HTMLResponse:
    """Return the page that documents every call and can send it."""
    answer = get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="Espalier",
        swagger_js_url=f"{PREFIX}/swagger-ui-bundle.js",
        swagger_css_url=f"{PREFIX}/swagger-ui.css",
        swagger_favicon_url=f"{PREFIX}/favicon-32x32.png",
    )
    answer.headers["Content-Security-Policy"] = "frame-ancestors 'none'"  # or a foreign page could have it clicked
    return answer


@router.get(f"{PREFIX}/{{name}}")
def asset(name: Literal["swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png"]) -> StoredFile:
    """Return one of the page's files."""
    return StoredFile(FILES / name, headers={"Cache-Control": "public, max-age=86400"})
