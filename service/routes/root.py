"""The service's own address: where its pages and descriptions are."""

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
    summary="Where is what?",
    response_model=Addresses,
    responses={307: {"description": "To /docs, for a client that asks for text/html"}, **public_problems()},
    openapi_extra=NEEDS_NO_KEY,
)
async def root(request: Request) -> Response:
    """Return the paths to start from; a browser is sent to the page that shows and tries every call."""
    wanted = qualities(request.headers.get("accept", ""))
    if wanted.get("text/html", 0) > wanted.get("application/json", 0):
        return RedirectResponse("/docs", status_code=307, headers=VARY)
    return answer(Addresses(version=request.app.version), status=200, headers=VARY)
