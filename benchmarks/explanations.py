"""Why a target is missed where it is: what a profile showed. The page quotes this.

Keys are names of figures. An entry is used only while its target is missed.
"""

from __future__ import annotations

EXPLANATIONS: dict[str, str] = {}
