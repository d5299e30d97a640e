"""BUNDLE: several ``m=`` sections on one transport (RFC 9143), as rules over whole descriptions.

A section has an identification-tag (``a=mid``); ``a=group:BUNDLE`` lists the tags of the sections
that share a transport. One section of a group is *tagged*: its address and its TRANSPORT and
IDENTICAL attributes count for all of them. In the offer that first asks for a group each section
still has its own, in case the answerer moves it out; afterwards only the tagged section has them.

The rest of the code knows none of this. It reads effective descriptions (``layout.effective``), in
which every section has what counts for it, and gives complete descriptions to ``writing``, which
takes away what must not be written. Who shares a transport with whom is a ``layout.BundleLayout``:
what a description says (``layout.read_layout``), what a peer's offer asks for and what our answer
makes of it, or what a peer's answer makes of our offer (``checking``).

The layout of the last completed offer/answer exchange is the one *in force*. A group that has a
section of a group in force is that group, changed; every other group is new.

A peer of RFC 8843 gives untagged sections port 0 and ``a=bundle-only`` where RFC 9143 repeats the
address of the tagged one. That is read as bundled (RFC 9143 7.3.5, 7.4.1) and never written.
"""
