"""An engine killed in mid-stream: the stream fails visibly, and the rest goes on."""

import asyncio
import os
import signal
from pathlib import Path

import openai
import pytest
from azure.ai.inference import ChatCompletionsClient, aio
from azure.ai.inference.models import UserMessage
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import HttpResponseError

from .conftest import Server, serving

CONFIG = """
[server]
port = 0
keys = ["${E2E_KEY}"]

[[deployment]]
name = "smollm2"
model = "smollm2-135m-instruct"
slots = 2

[[deployment]]
name = "other"
model = "smollm2-135m-instruct"
slots = 2
"""
LONG = [UserMessage("Write a long story about the sea.")]


def kill_engine(server: Server) -> None:
    (pid,) = server.engines("llamacpp_process")
    os.kill(pid, signal.SIGKILL)


def test_every_client_sees_the_cut_and_the_next_call_works(tmp_path: Path) -> None:
    with serving(CONFIG, tmp_path) as server:
        credential = AzureKeyCredential(server.key)
        with ChatCompletionsClient(server.url, credential) as client:
            stream = client.complete(messages=LONG, max_tokens=2000, stream=True)
            for _, _update in zip(range(5), stream, strict=False):
                pass
            kill_engine(server)
            with pytest.raises(HttpResponseError):
                list(stream)
            assert client.complete(messages=LONG, max_tokens=4).choices

        with openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key) as client:
            chunks = client.chat.completions.create(
                model="smollm2",
                messages=[{"role": "user", "content": "Write a long story."}],
                max_tokens=2000,
                stream=True,
            )
            next(chunks)
            kill_engine(server)
            with pytest.raises(openai.APIError):
                list(chunks)
        assert "Traceback" not in server.log.read_text()


@pytest.mark.anyio
async def test_other_models_go_on_while_one_engine_dies(tmp_path: Path) -> None:
    with serving(CONFIG, tmp_path) as server:
        async with aio.ChatCompletionsClient(server.url, AzureKeyCredential(server.key)) as client:
            victim = await client.complete(messages=LONG, max_tokens=2000, stream=True)
            await anext(victim)
            kill = server.engines("llamacpp_process")
            neighbour = await client.complete(
                messages=LONG, max_tokens=200, stream=True, model="other"
            )
            await anext(neighbour)
            os.kill(kill[0], signal.SIGKILL)
            with pytest.raises(Exception, match=r"(?i)payload|incomplete|ended|closed"):
                async for _ in victim:
                    pass
            async for update in neighbour:
                last = update
            assert last.choices[0].finish_reason in {"stop", "length"}
            again = await asyncio.gather(
                *(client.complete(messages=LONG, max_tokens=4) for _ in range(3))
            )
            assert all(answer.choices for answer in again)
