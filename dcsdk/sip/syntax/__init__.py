"""SIP on the wire: messages, headers, URIs, and their reading."""
