"""What a vLLM server takes beyond OpenAI's API, and what is read of it (no server)."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.models.catalog import catalog
from evalkit.models.entry import ModelChoice
from evalkit.models.served.frames import content_names, frame_parts
from evalkit.models.served.settings import ServedSettings
from evalkit.models.served.turns import StreamChat, Turn
from evalkit.models.served.vllm import (
    first_retokenised,
    likeliest_by_id,
    opened_reply,
    option_fields,
    qwen_tokens,
    stream_fields,
    without_known_frames,
)

IMAGES, VIDEO = ServedSettings(server="vllm"), ServedSettings(server="vllm", frames_as="video")


def done(text: str) -> Future[str]:
    future: Future[str] = Future()
    future.set_result(text)
    return future


def test_a_video_says_its_frame_rate_and_that_all_its_frames_are_meant() -> None:
    fields = stream_fields(VIDEO, 0.5, "run")
    assert fields["media_io_kwargs"] == {"video": {"num_frames": -1, "fps": 0.5, "do_sample_frames": False}}
    assert (fields["return_token_ids"], fields["cache_salt"]) == (True, "run")
    assert "media_io_kwargs" not in stream_fields(IMAGES, 0.5, "run")


def test_the_same_frames_have_one_name_and_others_another() -> None:
    names = content_names(["a", "b"], IMAGES, "run:2")
    assert names == content_names(["a", "b"], IMAGES, "run:2")
    assert len(set(names)) == 2
    others = [
        content_names(["a", "c"], VIDEO, "run:2"),
        content_names(["a", "b"], VIDEO, "run:1"),  # another frame rate stands elsewhere in time
        content_names(["a", "b"], VIDEO, "other:2"),
        content_names(["a,b"], IMAGES, "run:2"),
    ]
    (video,) = content_names(["a", "b"], VIDEO, "run:2")
    assert all(len(one) == 1 for one in others)
    assert len({video, *names, *(one for (one,) in others)}) == 7
    assert content_names([], VIDEO, "run:2") == content_names([], IMAGES, "run:2") == []


@pytest.mark.parametrize("settings", [IMAGES, VIDEO])
def test_what_the_server_has_goes_by_its_name_alone(settings: ServedSettings) -> None:
    chat = StreamChat(settings, salt="run:2")
    for second in range(2):
        chat.add(Turn(second, second, second + 1, [done(f"f{second}")]))
    whole = chat.question_messages("Which?")
    slim, names = without_known_frames(whole, set())
    assert slim == whole
    first = chat.turns[0].names[0]
    assert names == {first, chat.turns[1].names[0]}
    kind = "video_url" if settings.frames_as == "video" else "image_url"
    slim, again = without_known_frames(whole, {first, "of another chat"})
    parts = [part for part in slim[-1]["content"] if part["type"] == kind]
    assert parts[0] == {"type": kind, kind: None, "uuid": first}
    assert parts[1][kind]["url"].endswith("base64,f1")
    assert again == names
    assert chat.question_messages("Which?") == whole


def test_frames_have_no_names_where_the_server_is_any() -> None:
    chat = StreamChat(ServedSettings())
    chat.add(Turn(0, 0, 1, [done("f")]))
    messages = chat.question_messages("Which?")
    assert "uuid" not in str(messages)
    assert without_known_frames(messages, set()) == (messages, set())
    assert frame_parts(["f"], ServedSettings()) == [
        part for part in messages[-1]["content"] if "image_url" in part
    ]


def test_a_reply_begins_in_the_assistants_turn() -> None:
    question = [{"role": "user", "content": "Which?"}]
    messages, fields = opened_reply(question, "Answer:")
    assert messages == [*question, {"role": "assistant", "content": "Answer:"}]
    assert fields == {"continue_final_message": True, "add_generation_prompt": False}
    assert opened_reply(question, "") == (question, {})


def listed(*rows: tuple[Any, Any]) -> list[dict[str, Any]]:
    return [{"token": "token_id:9", "top_logprobs": [{"token": token, "logprob": value} for token, value in rows]}]


def test_options_are_found_by_id_wherever_they_stand() -> None:
    rows = listed(("token_id:9", -0.1), ("token_id:34", -7.0), ("token_id:32", -7.5), ("token_id:33", -7.0))
    choice = likeliest_by_id(rows, ("A", "B", "C"), (32, 33, 34))
    assert choice is not None
    assert (choice.option, choice.unknown) == ("B", ())  # of equals the first, as a local session has it
    assert choice.logprobs == {"A": -7.5, "B": -7.0, "C": -7.0}
    assert option_fields((32, 33))["logprob_token_ids"] == [32, 33]


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [{"token": "A"}],
        listed(("token_id:32", -1.0)),
        listed(("token_id:32", -1.0), (" B", -2.0)),
        listed(("token_id:32", -1.0), ("token_id:33", float("nan"))),
        listed(("token_id:32", -1.0), ("token_id:33", None), (None, -1.0)),
        listed(("token_id:32", -1.0), ("token_id:33", 10**400)),
        listed(("token_id:32", -1.0), ("token_id:" + "3" * 5000, -1.0)),
    ],
)
def test_options_without_every_log_probability_are_no_choice(rows: list[dict[str, Any]]) -> None:
    assert likeliest_by_id(rows, ("A", "B"), (32, 33)) is None


def test_a_reply_that_came_back_as_other_tokens_is_found() -> None:
    prompt = [1, 2, 70, 71, 3, 1, 2, 80, 3]
    assert first_retokenised(prompt, [(0, (70, 71)), (1, (80,))]) is None
    assert first_retokenised(prompt, [(0, (70, 71)), (1, (81,))]) == 1
    assert first_retokenised(prompt, [(0, (80,)), (1, (70, 71))]) == 1  # each stands after the one before
    assert first_retokenised(prompt, [(0, ()), (1, (80,))]) is None


@given(st.lists(st.integers(0, 300), max_size=40), st.data())
def test_tokens_that_stand_in_a_prompt_are_found_whatever_stands_around(prompt: list[int], data: Any) -> None:
    start = data.draw(st.integers(0, len(prompt)))
    stop = data.draw(st.integers(start, len(prompt)))
    assert first_retokenised(prompt, [(0, prompt[start:stop])]) is None
    lost = data.draw(st.integers(301, 70_000))
    assert first_retokenised(prompt, [(0, [*prompt[start:stop], lost])]) == 0


def test_two_frames_of_a_video_cost_the_tokens_of_one_image() -> None:
    assert qwen_tokens((2, 252, 336), VIDEO) == 108
    assert qwen_tokens((3, 252, 336), VIDEO) == qwen_tokens((4, 252, 336), VIDEO) == 216
    assert qwen_tokens((2, 252, 336), IMAGES) == 216
    assert qwen_tokens((0, 252, 336), VIDEO) == 0


def test_vllm_s_entry_is_the_api_with_what_vllm_adds_and_another_fingerprint() -> None:
    here = "http://127.0.0.1:1/v1"
    plain, more = (catalog(name).recipe(ModelChoice("m", here)) for name in ("api", "vllm-api"))
    assert plain.identity() != more.identity()
    assert more.identity()["model.server"] == "vllm"
    assert more.facts()["fields"] == "those of vLLM"
    assert "fields" not in plain.facts()


def test_frames_are_brought_to_the_size_that_the_model_s_processor_would_give_them() -> None:
    assert ServedSettings(fit="qwen").frame_size(640, 360) == (644, 364)
    assert ServedSettings(fit="384x384").frame_size(640, 360) == (384, 384)
    assert ServedSettings(fit="qwen", long_side=448).frame_size(1920, 1080) == (448, 252)
    with pytest.raises(ValueError, match="fit"):
        ServedSettings(fit="28")
