"""What IMS adds to SIP and SDP: media security lists, feature tags, mini-apps, open choices."""
