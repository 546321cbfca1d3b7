"""Errors and model information, as each wire states them and as a client reads them."""

import json

import pytest

from interlingua import errors
from interlingua.dialects.base import ModelTypeSpelling
from interlingua.errors import ApiError
from interlingua.types.models import ModelInfo, ModelType

from .wires import AZURE, BOTH, OPENAI

EVERY = [
    errors.MalformedBody("m"),
    errors.UnknownParameters(("a", "b\r\n")),
    errors.TooManyUnknownParameters("m"),
    errors.InvalidPolicy("ignore"),
    errors.UnknownModel("m"),
    errors.ContextLengthExceeded("m"),
    errors.Unauthorized("Auth token validation failed: m"),
    errors.NotFound("m"),
    errors.DeploymentNotFound("m"),
    errors.MethodNotAllowed("m"),
    errors.BodyTooLarge("m"),
    errors.InvalidValue("m", location=("body", "messages", 0, "role"), value="king"),
    errors.ParameterNotSupported("m", location=("body", "tools"), value=None),
    errors.ExtraForbidden("foo", "bar"),
    errors.RateLimited("m", retry_after_s=7),
    errors.InternalError("m"),
    errors.Unavailable("m"),
    errors.ModelNotReady("m", retry_after_s=3),
    errors.UpstreamError("m"),
    errors.DeadlineExceeded("m"),
]


@pytest.mark.parametrize("error", EVERY, ids=lambda error: type(error).__name__)
def test_an_azure_error_comes_back_as_it_was(error: ApiError) -> None:
    reply = AZURE.write_error(error)
    back = AZURE.read_error(reply.status, reply.headers, reply.body)
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert (back.location, back.value) == (error.location, error.value)
    assert back.retry_after_s == error.retry_after_s


@pytest.mark.parametrize("error", EVERY, ids=lambda error: type(error).__name__)
def test_every_error_has_what_each_client_looks_for(error: ApiError) -> None:
    for dialect in BOTH:
        reply = dialect.write_error(error)
        stated = json.loads(reply.body)["error"]
        assert stated["code"] == error.code
        assert stated["status"] == reply.status == error.status
        assert stated["message"]
        assert reply.headers["x-ms-error-code"] == error.code
        assert reply.headers["content-type"] == "application/json"
        assert ("retry-after" in reply.headers) == (error.status in {429, 503})
    body = json.loads(OPENAI.write_error(error).body)["error"]
    assert {"message", "type", "param", "code"} <= body.keys()
    assert body["param"] == error.param


def test_retry_after_never_goes_out_with_another_status() -> None:
    error = errors.UpstreamError("m", retry_after_s=5)
    assert "retry-after" not in AZURE.write_error(error).headers


def test_a_missing_key_is_told_in_the_words_that_clients_look_for() -> None:
    for dialect in BOTH:
        body = json.loads(dialect.write_error(errors.Unauthorized("no key was given")).body)
        assert body["error"]["message"] == "Auth token validation failed: no key was given"


def test_the_texts_of_the_policy_stand_in_detail() -> None:
    for error in (errors.UnknownParameters(("n",)), errors.InvalidPolicy("ignore")):
        assert json.loads(AZURE.write_error(error).body)["detail"] == str(error)


def test_a_models_refusal_has_the_services_headers() -> None:
    reply = AZURE.write_error(errors.ExtraForbidden("foo", "bar"))
    assert reply.headers["ms-azureml-model-error-reason"] == "model_error"
    assert reply.headers["ms-azureml-model-error-statuscode"] == "422"


def test_what_utf8_or_json_cannot_say_is_left_out() -> None:
    error = errors.InvalidValue("\ud800", location=("body", "\udc00"), value="\ud800")
    odd = errors.InvalidValue("m", location=("body",), value=object())
    for dialect in BOTH:
        assert json.loads(dialect.write_error(error).body)["error"]["message"] == "?"
        json.loads(dialect.write_error(odd).body)
        json.loads(dialect.write_stream_error(error)[6:])


def test_a_reply_stays_small_however_long_the_names_are() -> None:
    error = errors.UnknownParameters(tuple("x" * 100_000 + str(i) for i in range(64)))
    assert len(AZURE.write_error(error).body) < 100_000


def test_a_stream_fails_with_an_event() -> None:
    error = errors.UpstreamError("m")
    assert AZURE.write_stream_error(error) == (
        b'data: {"error":{"code":"bad_gateway","message":"m"}}\n\n'
    )
    assert json.loads(OPENAI.write_stream_error(error)[6:])["error"]["type"] == "server_error"


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (400, b'{"detail":"Tools are not supported."}', errors.CallerError, "Tools are not"),
        (
            400,
            b'{"error":{"code":"extra_parameters","message":"m"}}',
            errors.TooManyUnknownParameters,
            "m",
        ),
        (400, b'{"status":"Auth token must be passed"}', errors.CallerError, "Auth token must"),
        (401, b'{"statusCode":401,"message":"Unauthorized. Bad"}', errors.Unauthorized, "Unauth"),
        (401, b'{"status":401,"error":"Unauthorized"}', errors.Unauthorized, "Unauthorized"),
        (403, b"", errors.Forbidden, "without a message (403)"),
        (404, b"<html>", errors.NotFound, "without a message"),
        (418, b"{}", errors.CallerError, "without"),
        (422, b'{"detail":[{"loc":["body","x"],"msg":"m"}]}', errors.InvalidValue, "m"),
        (422, b'{"error":{"code":"Invalid input","message":"{"}}', errors.InvalidValue, "{"),
        (422, b'{"error":{"code":"Invalid input","message":"{}"}}', errors.InvalidValue, "{}"),
        (429, b'{"error":{"code":"429","message":"slow"}}', errors.RateLimited, "slow"),
        (500, b"[" * 99_999, errors.InternalError, "without"),
        (529, b'{"error":{"message":"busy"}}', errors.UpstreamError, "busy"),
    ],
)
def test_shapes_of_other_servers_are_read(
    status: int, body: bytes, kind: type[ApiError], message: str
) -> None:
    error = OPENAI.read_error(status, {}, body)
    assert type(error) is kind
    assert message in error.message


def test_the_place_is_read_from_details_or_param() -> None:
    body = b'{"error":{"message":"m","param":"temperature"}}'
    assert OPENAI.read_error(422, {}, body).location == ("body", "temperature")
    body = b'{"detail":[{"loc":["body","x"],"input":5}]}'
    assert OPENAI.read_error(422, {}, body).value == 5


@pytest.mark.parametrize(("header", "seconds"), [("7", 7), ("99999", 3600), ("soon", 1), ("", 1)])
def test_retry_after_is_read_in_seconds(header: str, seconds: int) -> None:
    error = OPENAI.read_error(429, {"retry-after": header}, b"")
    assert error.retry_after_s == seconds


SPELLED: list[tuple[ModelTypeSpelling, ModelType, str]] = [
    ("service", "chat-completion", "chat-completion"),
    ("service", "embedding", "embedding"),
    ("service", "image-embedding", "image-embedding"),
    ("service", "text-generation", "text-generation"),
    ("documentation", "chat-completion", "chat-completions"),
    ("documentation", "embedding", "embeddings"),
    ("documentation", "image-embedding", "image-embeddings"),
    ("documentation", "text-generation", "text-generation"),
    ("enum", "chat-completion", "chat_completion"),
    ("enum", "embedding", "embeddings"),
    ("enum", "image-embedding", "image_embeddings"),
    ("enum", "text-generation", "text_generation"),
]


@pytest.mark.parametrize(("spelling", "kind", "spelled"), SPELLED)
def test_each_spelling_of_a_type_is_written_and_read_back(
    spelling: ModelTypeSpelling, kind: ModelType, spelled: str
) -> None:
    info = ModelInfo(model_name="m", model_type=kind, model_provider_name="p")
    for dialect in BOTH:
        written = dialect.write_info(info, spelling)
        assert json.loads(written) == {
            "model_name": "m",
            "model_type": spelled,
            "model_provider_name": "p",
        }
        assert dialect.read_info(written) == info


@pytest.mark.parametrize(
    "body", [b"{}", b'{"model_type":"painting"}', b"", b'{"error":{"message":"m"}}']
)
def test_information_without_a_known_type_is_an_error(body: bytes) -> None:
    with pytest.raises(errors.UpstreamError):
        AZURE.read_info(body)
