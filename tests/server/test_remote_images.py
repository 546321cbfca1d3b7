"""Images by URL: fetched from hosts that are allowed, and nothing else is connected to."""

import asyncio
import base64
import contextlib
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Mapping

import httpx2
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from interlingua.backends.base import CallContext
from interlingua.backends.echo import EchoBackend
from interlingua.config.schema import ServerConfig
from interlingua.errors import InvalidValue, Location
from interlingua.server import remote_images
from interlingua.server.remote_images import FetchLimits, RemoteImages, is_public
from interlingua.types.chat import ChatDelta, ChatRequest, ImagePart
from interlingua.types.models import Capabilities

from .service import app_of, client_of, error_of

pytestmark = pytest.mark.anyio

PICTURE = b"\x89PNG and so on\x00\xff"
EMBEDDED = "data:application/octet-stream;base64," + base64.b64encode(PICTURE).decode()
PLACE: Location = ("body", "input", 0, "image")


def reply(body: bytes, *lines: str, status: str = "200 OK") -> bytes:
    head = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *lines, "", ""]
    return "\r\n".join(head).encode("latin-1") + body


def redirect(target: str, status: str = "302 Found") -> bytes:
    return reply(b"", f"location: {target}", status=status)


class Remote:
    """An HTTP server of fixed replies by path; what has none is never answered."""

    def __init__(self) -> None:
        self.replies: dict[str, bytes] = {"/picture": reply(PICTURE)}
        self.connections = 0
        self.heads: list[str] = []
        self.port = 0
        #: Requests being answered, and the most there were; they wait while ``go`` is clear.
        self.open = self.most = 0
        self.go = asyncio.Event()
        self.go.set()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, path: str = "/picture") -> str:
        return f"http://{self.host}{path}"

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            start = await reader.readexactly(1)
            if start == b"\x16":  # a TLS client's first byte
                raise ConnectionError
            head = (start + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            self.heads.append(head)
            self.open += 1
            self.most = max(self.most, self.open)
            await self.go.wait()
            self.open -= 1
            answer = self.replies.get(head.split(" ")[1].partition("?")[0])
            if answer is not None:
                writer.write(answer)
                await writer.drain()
            await reader.read()  # until the client closes
        writer.close()


@contextlib.asynccontextmanager
async def remote() -> AsyncGenerator[Remote]:
    server_of_pictures = Remote()
    server = await asyncio.start_server(server_of_pictures.answer, "127.0.0.1", 0)
    server_of_pictures.port = server.sockets[0].getsockname()[1]
    try:
        yield server_of_pictures
    finally:
        server.close()
        await server.wait_closed()


@pytest.fixture
async def pictures() -> AsyncIterator[Remote]:
    async with remote() as server:
        yield server


@pytest.fixture
async def canary() -> AsyncIterator[Remote]:
    """A server that nobody allowed and that nobody may reach."""
    async with remote() as server:
        yield server
        assert server.connections == 0


class Names(AbstractResolver):
    """Knows the addresses of names, one answer a lookup."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self.answers.pop(0)
        ]

    async def close(self) -> None:
        pass


async def fetched(images: RemoteImages, *urls: str) -> list[str]:
    places: Mapping[Location, str] = {
        ("body", "input", place, "image"): url for place, url in enumerate(urls)
    }
    return list((await images.fetch(images.check(places))).values())


async def refusal(images: RemoteImages, *urls: str) -> InvalidValue:
    with pytest.raises(InvalidValue) as caught:
        await fetched(images, *urls)
    assert caught.value.status == 422
    assert len(caught.value.message) < 400
    return caught.value


# -- In the server --------------------------------------------------------------------------


def client_allowing(*hosts: str, backend: EchoBackend | None = None) -> httpx2.AsyncClient:
    settings = ServerConfig(remote_images=hosts)
    return client_of(app_of(backend or EchoBackend(), settings=settings))


async def test_an_allowed_image_is_embedded_as_if_it_had_been_sent(pictures: Remote) -> None:
    async with client_allowing(pictures.host) as client:
        inputs = [{"image": pictures.url()}, {"image": EMBEDDED}, {"text": "t"}]
        response = await client.post("/images/embeddings", json={"input": inputs})
    assert response.status_code == 200, response.text
    first, second, third = (item["embedding"] for item in response.json()["data"])
    assert first == second != third
    assert pictures.connections == 1


async def test_the_request_says_nothing_about_the_caller_or_the_server(pictures: Remote) -> None:
    await fetched(RemoteImages([pictures.host]), pictures.url("/picture?a=1#part"))
    lines = pictures.heads[0].strip().split("\r\n")
    assert lines[0] == "GET /picture?a=1 HTTP/1.1"
    names = {line.partition(":")[0].lower() for line in lines[1:]}
    assert names <= {"host", "accept", "accept-encoding", "user-agent", "connection"}


async def test_a_failed_fetch_is_422_at_its_input(pictures: Remote) -> None:
    pictures.replies["/gone"] = reply(b"secret", status="404 Secret Reason")
    async with client_allowing(pictures.host) as client:
        inputs = [{"image": pictures.url()}, {"image": pictures.url("/gone")}]
        response = await client.post("/images/embeddings", json={"input": inputs})
    assert response.status_code == 422
    error = error_of(response)
    assert error["param"] == "input[1].image"
    assert "status 404" in str(error["message"])
    assert pictures.host in str(error["message"])
    assert "secret" not in response.text.lower()


async def test_without_the_setting_nothing_is_fetched(canary: Remote) -> None:
    async with client_allowing() as client:
        response = await client.post(
            "/images/embeddings", json={"input": [{"image": canary.url()}]}
        )
    assert response.status_code == 422
    assert "remote_images" in str(error_of(response)["message"])


async def test_a_host_that_is_not_listed_is_named_with_the_setting(canary: Remote) -> None:
    async with client_allowing("images.example") as client:
        response = await client.post(
            "/images/embeddings", json={"input": [{"image": canary.url()}]}
        )
    assert response.status_code == 422
    message = str(error_of(response)["message"])
    assert canary.host in message
    assert "remote_images" in message


def asking(part: Mapping[str, object]) -> dict[str, object]:
    text = {"type": "text", "text": "what is it?"}
    return {
        "messages": [{"role": "user", "content": [text, part]}, {"role": "user", "content": "?"}]
    }


class Seeing(EchoBackend):
    """Keeps what it is asked."""

    def __init__(self, *, fetches_images: bool | None = None) -> None:
        can = Capabilities(
            modalities=frozenset({"text", "image"}),
            fetches_images=fetches_images,
        )
        super().__init__(capabilities=can)
        self.asked: list[ChatRequest] = []

    def chat(self, request: ChatRequest, call: CallContext) -> AsyncGenerator[ChatDelta]:
        self.asked.append(request)
        return super().chat(request, call)


async def test_a_model_that_sees_gets_the_image_itself(pictures: Remote) -> None:
    model = Seeing()
    async with client_allowing(pictures.host, backend=model) as client:
        part = {"type": "image_url", "image_url": {"url": pictures.url(), "detail": "low"}}
        response = await client.post("/chat/completions", json=asking(part))
    assert response.status_code == 200, response.text
    content = model.asked[0].messages[0].content
    assert content is not None
    assert content[1] == ImagePart(url=EMBEDDED, detail="low")


async def test_a_model_that_fetches_images_itself_gets_the_url(canary: Remote) -> None:
    model = Seeing(fetches_images=True)
    async with client_allowing(backend=model) as client:
        part = {"type": "image_url", "image_url": {"url": canary.url(), "detail": "high"}}
        response = await client.post("/chat/completions", json=asking(part))
        assert response.status_code == 200, response.text
        content = model.asked[0].messages[0].content
        assert content is not None
        assert content[1] == ImagePart(url=canary.url(), detail="high")
        for url in ("file:///etc/passwd", "ftp://a/b", "//a/b"):
            part = {"type": "image_url", "image_url": {"url": url}}
            assert (await client.post("/chat/completions", json=asking(part))).status_code == 422
    assert len(model.asked) == 1


async def test_a_model_of_text_is_asked_first(canary: Remote) -> None:
    async with client_allowing(canary.host) as client:
        part = {"type": "image_url", "image_url": {"url": canary.url()}}
        response = await client.post("/chat/completions", json=asking(part))
        assert response.status_code == 422
        assert "doesn't take image content" in str(error_of(response)["message"])
        wrong = {"input": [{"image": canary.url()}], "dimensions": 7}
        assert (await client.post("/images/embeddings", json=wrong)).status_code == 422


async def test_audio_is_never_fetched(canary: Remote) -> None:
    async with client_allowing(canary.host, backend=Seeing()) as client:
        part = {"type": "audio_url", "audio_url": {"url": canary.url()}}
        response = await client.post("/chat/completions", json=asking(part))
    assert response.status_code == 422
    assert error_of(response)["param"] == "messages[0].content[1].audio_url.url"


# -- Which places are connected to ----------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://2130706433:{port}/picture",
        "http://0x7f000001:{port}/picture",
        "http://0177.0.0.1:{port}/picture",
        "http://127.1:{port}/picture",
        "http://0.0.0.0:{port}/picture",
        "http://0:{port}/picture",
        "http://127.0.0.1.:{port}/picture",
        "http://127.0.0.2:{port}/picture",
        "http://[::ffff:127.0.0.1]:{port}/picture",
        "http://[::ffff:7f00:1]:{port}/picture",
        "http://[::127.0.0.1]:{port}/picture",
        "http://[::]:{port}/picture",
        "http://localhost:{port}/picture",
        "http://127.0.0.1:{port}\\@images.example/picture",
        "http://images.example\\@127.0.0.1:{port}/picture",
        "http://images.example@127.0.0.1:{port}/picture",
        "http://user:word@127.0.0.1:{port}/picture",
        "http://:@127.0.0.1:{port}/picture",
        "http://127.0.0.1:{port}@images.example/picture",
        "http://127.0.0.1:{port}.images.example/picture",
        "http://127.0.0.1/picture",
        "http://127.0.0.1:0/picture",
        "http://127.0.0.1:99999/picture",
        "http://[127.0.0.1]:{port}/picture",
        "http://[fe80::1%25lo]:{port}/picture",
        "//127.0.0.1:{port}/picture",
        "127.0.0.1:{port}/picture",
        "http:/picture",
        "http://",
        "file:///etc/passwd",
        "file://127.0.0.1:{port}/picture",
        "ftp://127.0.0.1:{port}/picture",
        "gopher://127.0.0.1:{port}/picture",
        "unix:///tmp/socket",
        "javascript:1",
        "",
        "\ud800",
        "http://127.0.0.1:{port}/" + "a" * 9000,
    ],
)
async def test_what_only_looks_like_an_allowed_url_is_refused(canary: Remote, url: str) -> None:
    error = await refusal(RemoteImages([canary.host]), url.format(port=canary.port))
    assert error.location == PLACE


async def test_a_host_is_compared_without_case_and_with_its_schemes_port() -> None:
    images = RemoteImages(["Images.Example", "[2001:db8::5]:9000"])
    for url in (
        "http://IMAGES.example/a",
        "HTTPS://images.example:443/a",
        "http://images.example:80/a",
        "http://[2001:DB8:0::5]:9000/a",
    ):
        assert list(images.check({PLACE: url})) == [PLACE]
    for url in (
        "http://images.example:443/a",
        "http://images.example:8080/a",
        "http://sub.images.example/a",
        "http://images.example.evil/a",
        "http://[2001:db8::5]/a",
    ):
        with pytest.raises(InvalidValue):
            images.check({PLACE: url})


async def test_a_name_that_leads_to_loopback_is_refused(canary: Remote) -> None:
    images = RemoteImages([f"localhost:{canary.port}"])
    error = await refusal(images, f"http://localhost:{canary.port}/picture")
    assert "isn't public" in error.message
    assert "remote_images" in error.message


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["::ffff:7f00:1"]])
async def test_one_address_that_is_not_public_is_enough(
    canary: Remote, addresses: list[str]
) -> None:
    names = Names(addresses)
    images = RemoteImages([f"images.example:{canary.port}", canary.host], resolver=names)
    error = await refusal(images, f"http://images.example:{canary.port}/picture")
    assert "isn't public" in error.message
    assert names.asked == ["images.example"]


async def test_what_was_looked_up_is_what_is_connected_to(
    pictures: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[str] = []
    monkeypatch.setattr(remote_images, "is_public", lambda text: not judged.append(text))
    names = Names(["127.0.0.1"], ["127.0.0.2"])
    images = RemoteImages([f"images.example:{pictures.port}"], resolver=names)
    assert await fetched(images, f"http://images.example:{pictures.port}/picture") == [EMBEDDED]
    assert judged == ["127.0.0.1"]
    assert names.asked == ["images.example"]


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::10.0.0.1",
        "2002:7f00:1::",
        "2001:0:1::1",
        "fc00::1",
        "fe80::1",
        "fe80::1%lo",
        "fec0::1",
        "ff0e::1",
    ],
)
def test_addresses_that_lead_inside_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2606:4700::1", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_addresses_that_lead_outside_are_public(address: str) -> None:
    assert is_public(address)


# -- Redirects ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        "http://{canary}/picture",
        "//{canary}/picture",
        "http://localhost:{port}/picture",
        "http://169.254.169.254/latest/meta-data",
        "http://u@{host}/picture",
        "http://{host}\\@{canary}/picture",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
        "http://[::1/",
    ],
)
async def test_a_redirect_to_what_is_not_allowed_is_refused(
    pictures: Remote, canary: Remote, target: str
) -> None:
    place = target.format(canary=canary.host, host=pictures.host, port=canary.port)
    pictures.replies["/away"] = redirect(place)
    error = await refusal(RemoteImages([pictures.host]), pictures.url("/away"))
    assert "redirects to" in error.message
    assert pictures.connections == 1
    assert place not in error.message


async def test_three_redirects_are_followed_and_a_fourth_is_not(pictures: Remote) -> None:
    pictures.replies |= {
        "/4": redirect("/3"),
        "/3": redirect(pictures.url("/2"), "308 Permanent Redirect"),
        "/2": redirect(f"//{pictures.host}/1", "307 Temporary Redirect"),
        "/1": redirect("picture", "301 Moved Permanently"),
        "/nowhere": reply(b"", status="302 Found"),
    }
    images = RemoteImages([pictures.host])
    assert await fetched(images, pictures.url("/3")) == [EMBEDDED]
    assert "more than 3 times" in (await refusal(images, pictures.url("/4"))).message
    assert "redirects" in (await refusal(images, pictures.url("/nowhere"))).message


# -- Bounds and failures --------------------------------------------------------------------


async def test_an_image_that_is_too_long_is_refused_announced_or_not(pictures: Remote) -> None:
    pictures.replies["/chunked"] = (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        b"8\r\n12345678\r\n3\r\n9ab\r\n0\r\n\r\n"
    )
    pictures.replies["/announced"] = b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n"
    pictures.replies["/endless"] = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1000
    pictures.replies["/fits"] = reply(b"0123456789")
    images = RemoteImages([pictures.host], FetchLimits(image_bytes=10, seconds=5))
    assert len(await fetched(images, pictures.url("/fits"))) == 1
    for path in ("/chunked", "/announced", "/endless"):
        error = await refusal(images, pictures.url(path))
        assert "more than 10 bytes" in error.message


async def test_all_images_of_a_call_have_one_allowance(pictures: Remote) -> None:
    images = RemoteImages([pictures.host], FetchLimits(call_bytes=2 * len(PICTURE)))
    assert await fetched(images, *[pictures.url()] * 2) == [EMBEDDED] * 2
    assert "max_body_bytes" in (await refusal(images, *[pictures.url()] * 3)).message


async def test_what_is_slow_is_given_up(pictures: Remote) -> None:
    pictures.replies["/half"] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab"
    images = RemoteImages([pictures.host], FetchLimits(seconds=0.02))
    for path in ("/silent", "/half"):
        assert "longer than 0.02 s" in (await refusal(images, pictures.url(path))).message


async def test_few_images_are_fetched_at_once_and_not_too_many_at_all(pictures: Remote) -> None:
    images = RemoteImages([pictures.host], FetchLimits(at_once=3, images=7))
    pictures.go.clear()
    under_way = asyncio.create_task(fetched(images, *[pictures.url()] * 7))
    while pictures.open < 3:
        await asyncio.sleep(0)
    pictures.go.set()
    assert await under_way == [EMBEDDED] * 7
    assert pictures.most == 3
    error = await refusal(images, *[pictures.url()] * 8)
    assert error.location == ("body", "input", 7, "image")
    assert pictures.connections == 7


async def test_a_caller_that_leaves_ends_the_fetch(pictures: Remote) -> None:
    pictures.go.clear()
    under_way = asyncio.create_task(fetched(RemoteImages([pictures.host]), pictures.url()))
    while not pictures.open:
        await asyncio.sleep(0)
    under_way.cancel()
    with pytest.raises(asyncio.CancelledError):
        await under_way
    pictures.go.set()


@pytest.mark.parametrize(
    "answer",
    [
        reply(b"", status="404 Not Found"),
        reply(b"", status="204 No Content"),
        reply(b"", status="500 Internal Server Error"),
        reply(b"", "www-authenticate: Basic", status="401 Unauthorized"),
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"SSH-2.0-secret\r\n\r\n",
    ],
)
async def test_an_answer_that_is_no_image_is_the_callers_error(
    pictures: Remote, answer: bytes
) -> None:
    pictures.replies["/bad"] = answer
    error = await refusal(RemoteImages([pictures.host]), pictures.url("/bad"))
    assert "secret" not in error.message


async def test_a_url_that_is_no_unicode_is_no_failure_of_the_server(pictures: Remote) -> None:
    images = RemoteImages([pictures.host], FetchLimits(seconds=0.02))
    await refusal(images, pictures.url("/\ud800"))


async def test_packed_content_is_not_unpacked(pictures: Remote) -> None:
    pictures.replies["/packed"] = reply(PICTURE, "content-encoding: gzip", "set-cookie: a=b")
    urls = [pictures.url("/packed")] * 2
    assert await fetched(RemoteImages([pictures.host]), *urls) == [EMBEDDED] * 2
    assert not any("cookie" in head.lower() for head in pictures.heads)


async def test_a_host_that_is_not_there_is_the_callers_error(pictures: Remote) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = f"127.0.0.1:{unused.getsockname()[1]}"
        error = await refusal(RemoteImages([closed]), f"http://{closed}/picture")
    assert "can't be reached" in error.message
    not_tls = RemoteImages([pictures.host])
    assert "can't be reached" in (await refusal(not_tls, f"https://{pictures.host}/")).message


async def test_a_name_that_is_not_there_is_the_callers_error() -> None:
    class Nothing(Names):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[ResolveResult]:
            raise OSError(f"no {host}")

    error = await refusal(RemoteImages(["a.example"], resolver=Nothing()), "http://a.example/")
    assert "can't be reached" in error.message
