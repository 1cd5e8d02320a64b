"""Plain FastAPI: a thread pool, one session in each process, as a tutorial has it."""

import peer_net
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool

app = FastAPI()
net = peer_net.Net()


@app.post("/predict")
async def predict(request: Request) -> Response:
    """Answer one body."""
    body = await request.body()
    return Response((await run_in_threadpool(net.answer, [body]))[0])


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(
        "serve_fastapi:app",
        host="127.0.0.1",
        port=peer_net.PORT,
        workers=peer_net.WORKERS,
        access_log=False,
        log_level="warning",
    )
