"""The IMS AS: the application server that handles data channels."""
