"""What every part of an association shares: settings, events, congestion control, TSN sets."""
