"""Write the built-in tiny models' tokenizer: a byte-level BPE over commentary words with Qwen's special tokens."""

from __future__ import annotations

from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

WORDS = """
the a and to of in on at for with by from is are was it he she they his her this that as up down out over back
now here there what again still just one two three four five six seven eight nine ten first second third last
next ball shot goal save corner cross pass kick throw header tackle foul card whistle referee keeper striker
defender midfielder winger captain coach crowd fans home away side team match game half minute minutes seconds
clock score board lead leads level ahead behind wins loses draws plays runs shoots scores saves passes crosses
clears blocks turns takes gives drives dribbles strikes lifts curls chips heads misses hits finds holds drops
rises breaks waits looks moves left right middle wide deep high low far near post bar net box line area flank
pitch field touch red blue green yellow white black circle square player number great brilliant superb poor
lovely calm quick slow sharp clean late early brave wonderful chance danger pressure space time attack defence
counter press tempo rebound dunk layup basket three pointer hoop court bounce steal block paint arc bench
timeout quarter what a finish and that is the moment they keep the ball here comes another one so close it is in
nothing doing yes no question answer video player letter option only please respond describe event happened
""".split()  # noqa: SIM905
LINES = """
Here they come again down the left and the cross is in
The home side leads by one goal with ten minutes on the clock
What a save from the keeper and it stays level
Blue circle takes the ball and shoots from far out
Red square scores and the crowd is up it is two to one now
You are a helpful assistant. previous text Time user system
Question: How many goals did they score? Options: A. one B. two C. three D. four Answer: Yes No
""".strip().splitlines()
SIZE = 1024
SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<image>",
    "<video>",
]


def corpus() -> list[str]:
    """Return the text whose words become tokens; each word stands often enough to be merged whole."""
    words = " ".join(dict.fromkeys(WORDS))
    named = " ".join(word.capitalize() for word in dict.fromkeys(WORDS[:200]))
    return [*LINES * 4, *[" " + words] * 8, *[" " + named] * 4, " ..." * 200]


def main() -> None:
    """Train and write the tokenizer."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=False))
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=SIZE - len(SPECIAL), initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    target = Path(__file__).parents[1] / "evalkit" / "models" / "tiny_tokenizer.json"
    tokenizer.save(str(target), pretty=False)
    print(f"{target.name}: {tokenizer.get_vocab_size()} tokens, {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
