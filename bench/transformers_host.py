"""sentence-transformers behind HTTP, as its users write it; run by an interpreter that has it.

``python transformers_host.py MODEL PORT``: an endpoint that encodes what each call brings.
Starlette runs such a handler in its threads, as FastAPI does one that isn't ``async``.
"""

import sys

import uvicorn
from sentence_transformers import SentenceTransformer
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


def main(folder: str, port: str) -> None:
    model = SentenceTransformer(folder, device="cpu")

    async def embed(request: Request) -> JSONResponse:
        asked = await request.json()
        vectors = await run_in_threadpool(
            model.encode, asked["input"], normalize_embeddings=True, show_progress_bar=False
        )
        data = [
            {"object": "embedding", "index": index, "embedding": vector}
            for index, vector in enumerate(vectors.tolist())
        ]
        return JSONResponse({"object": "list", "model": asked["model"], "data": data})

    async def health(_: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    app = Starlette(
        routes=[Route("/embeddings", embed, methods=["POST"]), Route("/health", health)]
    )
    uvicorn.run(app, host="127.0.0.1", port=int(port), access_log=False, log_level="warning")


if __name__ == "__main__":
    main(*sys.argv[1:])
