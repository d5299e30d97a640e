"""``python -m dcsdk`` is the ``dcsdk`` command."""

from __future__ import annotations

from dcsdk.cli.main import main

if __name__ == "__main__":
    main()
