"""SIP on sockets: flows, transactions, dialogs, the user agent."""
