"""Root of the service: the addresses of its pages and documents."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from service.answers.documents import Addresses
from service.negotiation import qualities
from service.requests.parameters import KNOWN_QUERY, NEEDS_NO_KEY, answer, public_problems

router = APIRouter(tags=["health"], dependencies=[KNOWN_QUERY])

VARY = {"Vary": "Accept"}


@router.get(
    "/",
    operation_id="root",
    summary="List the service's addresses",
    response_model=Addresses,
    responses={307: {"description": "Redirect to /docs, for a client that prefers text/html"}, **public_problems()},
    openapi_extra=NEEDS_NO_KEY,
)
async def root(request: Request) -> Response:
    """Return the paths from which to start; a browser is redirected to the page that documents every call."""
    wanted = qualities(request.headers.get("accept", ""))
    if wanted.get("text/html", 0) > wanted.get("application/json", 0):
        return RedirectResponse("/docs", status_code=307, headers=VARY)
    return answer(Addresses(version=request.app.version), status=200, headers=VARY)
