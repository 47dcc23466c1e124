"""What is sent to a server each second, and how replies are read (no server)."""

from __future__ import annotations

import base64
import io
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from evalkit.errors import UsageError
from evalkit.models.catalog import catalog
from evalkit.models.entry import ModelChoice
from evalkit.models.served.frames import encode_frame, frame_parts
from evalkit.models.served.options import likeliest_option
from evalkit.models.served.probe import probe_messages, sees_images
from evalkit.models.served.settings import ServedSettings
from evalkit.models.served.turns import StreamChat, Turn, window_messages
from evalkit.stream import Narration

HERE = "http://127.0.0.1:1/v1"


def encoded(text: str) -> Future[str]:
    done: Future[str] = Future()
    done.set_result(text)
    return done


def chat_of(seconds: int, settings: ServedSettings, narration: Narration | None = None) -> StreamChat:
    chat = StreamChat(settings, narration)
    for second in range(seconds):
        chat.add(Turn(second, second, second + 1, [encoded(f"f{second}")], reply=f"said {second}"))
    return chat


def sent_seconds(chat: StreamChat) -> list[int]:
    return [turn.second for turn in chat.turns]


def test_a_window_keeps_the_last_seconds_and_the_words_of_those_before() -> None:
    chat = chat_of(20, ServedSettings(window_seconds=4, said_characters=15))
    assert sent_seconds(chat) == [16, 17, 18, 19]
    assert chat.said == "said 14 said 15"


def test_chunks_start_afresh_and_growing_keeps_everything() -> None:
    assert sent_seconds(chat_of(10, ServedSettings(schedule="chunked", chunk_seconds=5))) == [5, 6, 7, 8, 9]
    assert sent_seconds(chat_of(11, ServedSettings(schedule="chunked", chunk_seconds=5))) == [10]
    assert sent_seconds(chat_of(50, ServedSettings(schedule="growing"))) == list(range(50))


@given(st.integers(1, 200), st.integers(1, 40), st.sampled_from(["window", "chunked"]))
def test_what_is_kept_never_grows_with_the_stream(seconds: int, size: int, schedule: Any) -> None:
    settings = ServedSettings(schedule=schedule, window_seconds=size, chunk_seconds=size, said_characters=50)
    chat = chat_of(seconds, settings)
    assert len(chat.turns) <= size
    assert len(chat.said) <= 50
    assert sent_seconds(chat)[-1] == seconds - 1


def test_narration_has_a_turn_a_second_the_instruction_in_the_first_and_the_paper_s_order() -> None:
    narration = Narration("Describe.", previous_text="Before.", system="You comment.")
    chat = chat_of(2, ServedSettings(), narration)
    chat.turns[-1].reply = None
    image = {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,f0"}}
    assert chat.narration_messages() == [
        {"role": "system", "content": "You comment."},
        {"role": "system", "content": "Previous text: Before."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "Time=0.0-1.0s"}, image, {"type": "text", "text": "Describe."}],
        },
        {"role": "assistant", "content": "said 0"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Time=1.0-2.0s"},
                {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,f1"}},
            ],
        },
    ]


def test_the_previous_text_has_the_role_that_was_set() -> None:
    narration = Narration("Describe.", previous_text="Before.")
    chat = chat_of(1, ServedSettings(previous_role="previous text"), narration)
    assert chat.narration_messages()[1] == {"role": "previous text", "content": "Before."}


def test_streamingvlm_s_own_layout_has_the_turn_of_previous_text_also_where_it_is_empty() -> None:
    settings = ServedSettings(previous_role="previous text", silent_turns=True)
    chat = chat_of(2, settings, Narration("Describe."))
    chat.turns[0].reply, chat.turns[1].reply = "", None
    messages = chat.narration_messages()
    assert messages[1] == {"role": "previous text", "content": ""}
    assert [message["role"] for message in messages[2:]] == ["user", "assistant", "user"]
    assert messages[3]["content"] == ""
    assert [message["role"] for message in chat_of(1, settings).question_messages("Which?")] == ["system", "user"]
    plain = chat_of(2, ServedSettings(), Narration("Describe."))
    plain.turns[0].reply = ""
    assert [message["role"] for message in plain.narration_messages()][:3] == ["system", "user", "user"]


def test_a_question_stands_behind_everything_kept_and_changes_nothing() -> None:
    chat = StreamChat(ServedSettings(window_seconds=2), time_stamps=False)
    for second in range(3):
        chat.add(Turn(second, second, second + 1, [encoded(f"f{second}")], texts=(f"line {second}",)))
    before = list(chat.turns)
    *_, user = chat.question_messages("Which?")
    texts = [part.get("text") or part["image_url"]["url"][-2:] for part in user["content"]]
    assert texts == ["f1", "line 1", "f2", "line 2", "Which?"]
    assert list(chat.turns) == before


def test_the_baseline_s_request_has_its_text_first_and_images_without_detail() -> None:
    messages = window_messages("system", "header", ["a", "b"], ServedSettings())
    kinds = [part["type"] for part in messages[1]["content"]]
    assert kinds == ["text", "image_url", "image_url"]
    assert set(messages[1]["content"][1]["image_url"]) == {"url"}


def test_frames_go_as_images_or_as_one_video_of_frames() -> None:
    images = list(frame_parts(["a", "b"], ServedSettings(image_detail="low")))
    assert [one["image_url"] for one in images] == [
        {"url": "data:image/jpeg;base64,a", "detail": "low"},
        {"url": "data:image/jpeg;base64,b", "detail": "low"},
    ]
    video = list(frame_parts(["a", "b"], ServedSettings(frames_as="video")))
    assert video == [{"type": "video_url", "video_url": {"url": "data:video/jpeg;base64,a,b"}}]
    assert list(frame_parts([], ServedSettings(frames_as="video"))) == []


@pytest.mark.parametrize("form", ["jpeg", "png"])
def test_a_frame_is_encoded_in_the_format_and_size_it_has(form: Any) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    image = Image.open(io.BytesIO(base64.b64decode(encode_frame(frame, ServedSettings(image_format=form)))))
    assert (image.format, image.size) == (form.upper(), (60, 40))
    if form == "png":
        assert np.array_equal(np.asarray(image), frame)


def test_frames_are_made_smaller_and_never_larger() -> None:
    assert ServedSettings(max_height=360).frame_size(1920, 1080) == (640, 360)
    assert ServedSettings(max_height=360).frame_size(320, 180) == (320, 180)
    assert ServedSettings(long_side=448).frame_size(720, 1280) == (252, 448)
    assert ServedSettings().frame_size(1920, 1080) == (1920, 1080)


def listed(*pairs: tuple[str, float]) -> list[dict[str, Any]]:
    return [{"token": "x", "top_logprobs": [{"token": token, "logprob": value} for token, value in pairs]}]


def test_options_are_compared_by_their_own_tokens_with_and_without_a_blank() -> None:
    choice = likeliest_option(listed(("The", -0.1), (" B", -1.0), ("A", -1.5), ("B", -3.0)), ("A", "B", "C"))
    assert choice is not None
    assert (choice.option, choice.logprobs, choice.unknown) == ("B", {"B": -1.0, "A": -1.5}, ("C",))


def test_the_beginning_of_an_option_is_none_of_it_and_no_list_is_no_choice() -> None:
    choice = likeliest_option(listed(("1", -0.1), ("Y", -0.2)), ("10", "Yes"))
    assert choice is not None
    assert (choice.option, choice.unknown) == ("", ("10", "Yes"))
    assert likeliest_option([], ("A",)) is None
    nonsense = likeliest_option(listed(("A", 10**400)), ("A",))  # a number that no float holds
    assert nonsense is not None
    assert (nonsense.option, nonsense.unknown) == ("", ("A",))
    assert likeliest_option([{"token": "A"}], ("A",)) is None


def test_the_probe_shows_one_small_frame_and_two_large_ones() -> None:
    first, second = (messages[0]["content"] for messages in probe_messages(ServedSettings()))
    assert [len(first), len(second)] == [2, 3]
    assert first[-1] == second[-1]
    assert sees_images([100, 700])
    assert not sees_images([100, 100])
    assert sees_images([None, 100])


@pytest.mark.parametrize(
    ("name", "choice", "says"),
    [
        ("api", {}, "--checkpoint NAME"),
        ("api", {"checkpoint": "m", "base_url": "host"}, "must begin with http"),
        ("api", {"checkpoint": "m"}, "needs a key"),
        ("gpt-4o-mini", {}, "needs a key"),
        ("api", {"checkpoint": "m", "base_url": HERE, "dtype": "float32"}, "leave --dtype out"),
        ("api", {"checkpoint": "m", "base_url": HERE, "max_cost": 1.0}, "--max-cost needs prices"),
        ("api", {"checkpoint": "m", "base_url": HERE, "settings": {"model": {"price_in": 1.0}}}, "two prices"),
        ("api", {"checkpoint": "m", "base_url": HERE, "settings": {"model": {"extra": ("x",)}}}, "FIELD=VALUE"),
    ],
)
def test_wrong_use_of_a_served_model_is_one_line(
    name: str, choice: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(UsageError, match=says):
        catalog(name).recipe(ModelChoice(**choice))


def test_the_paper_s_baseline_is_set_as_its_script_has_it() -> None:
    recipe = catalog("gpt-4o-mini").recipe(ModelChoice(base_url=HERE))
    identity = recipe.identity()
    assert (recipe.concurrency, recipe.capabilities.narrate) == (64, "windows")
    assert {key: identity[f"model.{key}"] for key in ("max_height", "jpeg_quality", "temperature")} == {
        "max_height": 360,
        "jpeg_quality": 85,
        "temperature": None,
    }
    assert HERE not in str(identity)


def test_further_fields_reach_into_objects() -> None:
    settings = ServedSettings(extra=("top_k=20", "chat_template_kwargs.enable_thinking=false", "tier=flex"))
    assert settings.further == {"top_k": 20, "chat_template_kwargs": {"enable_thinking": False}, "tier": "flex"}
