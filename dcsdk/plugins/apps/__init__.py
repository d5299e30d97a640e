"""Application protocols on data channels."""
