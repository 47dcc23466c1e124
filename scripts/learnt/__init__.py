"""What `scripts/train_learnt.py` is made of: vocabulary, network, chunks, stages."""

__all__: list[str] = []
