"""An exported checkpoint has every file that a server reads, and writes chats as a session does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors import safe_open

from evalkit.models.export import export_checkpoint
from evalkit.models.layout import VisionBlock
from evalkit.models.load import LoadRequest, load_backbone

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module", params=["tiny-wide", "tiny-llava-wide"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A built-in checkpoint, exported."""
    return request.param, export_checkpoint(request.param, tmp_path_factory.mktemp("export") / "out")


def test_the_folder_is_a_checkpoint_like_any_other(exported: tuple[str, Path]) -> None:
    name, folder = exported
    whole, again = (load_backbone(LoadRequest(which, device="cpu")) for which in (name, str(folder)))
    for (key, one), (other, two) in zip(
        sorted(whole.network.state_dict().items()), sorted(again.network.state_dict().items()), strict=True
    ):
        assert key == other
        assert one.equal(two), key
    assert again.layout.text.encode("A goal! <|im_end|>") == whole.layout.text.encode("A goal! <|im_end|>")


def test_the_heads_are_as_wide_as_servers_want_them(exported: tuple[str, Path]) -> None:
    text = json.loads((exported[1] / "config.json").read_text())["text_config"]
    assert text["hidden_size"] / text["num_attention_heads"] == 32


def test_every_file_that_a_server_reads_is_there(exported: tuple[str, Path]) -> None:
    name, folder = exported
    wanted = {
        "config.json",
        "model.safetensors",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        "preprocessor_config.json",
        "video_preprocessor_config.json",
    }
    files = {path.name for path in folder.iterdir()}
    assert wanted <= files
    assert ("processor_config.json" in files) == ("llava" in name)
    assert json.loads((folder / "tokenizer_config.json").read_text())["model_max_length"] == 32768
    assert json.loads((folder / "generation_config.json").read_text())["do_sample"] is False


def test_a_tower_has_the_names_of_published_checkpoints(exported: tuple[str, Path]) -> None:
    name, folder = exported
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        tower = [key for key in file.keys() if "vision_tower." in key]  # noqa: SIM118 - no mapping
    assert bool(tower) == ("llava" in name)
    assert all("vision_tower.vision_model." in key for key in tower)


def test_the_chat_template_writes_what_a_session_puts_in(exported: tuple[str, Path]) -> None:
    from transformers import AutoTokenizer

    name, folder = exported
    backbone = load_backbone(LoadRequest(name, device="cpu"))
    layout = backbone.layout
    one = VisionBlock((1, 1, 1))
    spans = [
        layout.system(),
        *layout.previous_text("It was said."),
        layout.user_open(0),
        *layout.vision(one, 0),
        layout.query("Describe.", 0),
        *layout.reply_open(0),
    ]
    ids = [int(i) for span in spans for i in span.ids]
    messages = [
        {"role": "previous text", "content": "It was said."},
        {"role": "user", "content": [{"type": "video"}, {"type": "text", "text": "Describe."}]},
    ]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert layout.text.encode(text) == ids


def test_export_is_a_command_and_refuses_a_folder_that_holds_something(evalkit: Call, tmp_path: Path) -> None:
    assert evalkit("export", "--checkpoint", "tiny-wide", "--out", tmp_path / "out")[0] == 0
    code, _, err = evalkit("export", "--checkpoint", "tiny-wide", "--out", tmp_path / "out")
    assert code == 2
    assert "exists and is not an empty folder" in err
    assert evalkit("export", "--checkpoint", tmp_path, "--out", tmp_path / "new")[0] == 2
    assert not (tmp_path / "new").exists()
