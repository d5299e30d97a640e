"""Plug-ins dcsdk brings itself; ``builtins`` offers them through the ordinary hooks."""
