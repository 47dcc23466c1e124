"""``python -m evalkit`` is the command line."""

from __future__ import annotations

from evalkit.cli.main import main

raise SystemExit(main())
