"""Let torchvision be imported beside a torch of another build, in the environment that runs this script.

A wheel of torchvision built for CUDA has compiled operators that the CPU build of torch does not load, and its
import fails on two that are registered without asking whether they are there. Declared here, they do no harm:
vLLM's Qwen path uses neither.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

_AFTER = "import torchvision.extension  # noqa: F401\n"
_DECLARED = """
if not torchvision.extension._has_ops():
    _declared = torch.library.Library("torchvision", "FRAGMENT")
    for _name in ("nms", "qnms"):
        _declared.define(_name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""


def main() -> None:
    """Add the declaration, once."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        raise SystemExit("torchvision is not installed here")
    path = Path(spec.origin).with_name("_meta_registrations.py")
    text = path.read_text(encoding="utf-8")
    if _DECLARED in text:
        return
    if _AFTER not in text:
        raise SystemExit(f"{path} is not as expected: another release of torchvision?")
    path.write_text(text.replace(_AFTER, _AFTER + _DECLARED, 1), encoding="utf-8")


if __name__ == "__main__":
    main()
