"""Hypothesis strategies for SIP: values that are valid, and octets that almost are."""

from __future__ import annotations

import string

from hypothesis import strategies as st

from msrpconf.protocols.sip.headers import CSeq, MediaType, NameAddr, Reason, Via, Warning_
from msrpconf.protocols.sip.message import Headers, Message, Request, Response
from msrpconf.protocols.sip.uri import URI, OtherURI, SipURI, TelURI
from tests.protocols.sip.archive import names, torture

_ALPHANUM = string.ascii_letters + string.digits


def _is_canonical(text: str) -> bool:
    """Whether text comes back from octets as it went: surrogates must not spell valid UTF-8."""
    octets = text.encode("utf-8", "surrogateescape")
    return octets.decode("utf-8", "surrogateescape") == text


tokens = st.text(_ALPHANUM + "-.!%*_+`'~", min_size=1, max_size=12)
#: Any text that a quoted string or an escaped URI part can carry, undecodable octets included.
texts = st.text(
    st.one_of(
        st.characters(codec="utf-8", exclude_characters="\r\n"),
        st.sampled_from('"\\;,<>%@ \t\0\udc80\udcff'),
    ),
    max_size=20,
).filter(_is_canonical)
labels = st.from_regex(r"[a-z]([a-z0-9-]{0,6}[a-z0-9])?", fullmatch=True)
hosts = st.one_of(
    st.lists(labels, min_size=1, max_size=3).map(".".join),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).filter(lambda address: not address.is_link_local).map("[{}]".format),
)
ports = st.none() | st.integers(1, 65535)


def _parameters(
    names: st.SearchStrategy[str], values: st.SearchStrategy[str | None]
) -> st.SearchStrategy[tuple[tuple[str, str | None], ...]]:
    return st.lists(
        st.tuples(names, values), max_size=3, unique_by=lambda pair: pair[0].lower()
    ).map(tuple)


header_parameters = _parameters(tokens, st.none() | texts)
uri_parts = texts.filter(bool)

sip_uris = st.builds(
    SipURI,
    st.sampled_from(["sip", "sips"]),
    uri_parts,
    st.none() | texts,
    hosts,
    ports,
    _parameters(uri_parts, st.none() | uri_parts),
    st.lists(st.tuples(uri_parts, texts), max_size=2).map(tuple),
) | st.builds(SipURI, st.just("sip"), st.none(), st.none(), hosts, ports)
tel_uris = st.builds(
    TelURI,
    st.from_regex(r"\+[0-9][0-9.()-]{0,10}|[0-9A-F*#][0-9A-F*#.-]{0,6}", fullmatch=True),
    _parameters(st.from_regex(r"[a-z][a-z0-9-]{0,5}", fullmatch=True), st.none() | uri_parts),
)
other_uris = st.builds(
    OtherURI,
    st.sampled_from(["im", "pres", "http", "urn", "xmpp"]),
    st.text(_ALPHANUM + "-_.!~*'();/?:@&=+$,", min_size=1, max_size=20),
)
uris: st.SearchStrategy[URI] = st.one_of(sip_uris, tel_uris, other_uris)

name_addrs = st.builds(NameAddr, uris, st.none() | texts, header_parameters)
vias = st.builds(Via, tokens, hosts, ports, header_parameters)
cseqs = st.builds(CSeq, st.integers(0, 2**32 - 1), tokens)
media_types = st.builds(MediaType, tokens, tokens, header_parameters)
reasons = st.builds(Reason, tokens, st.none() | st.integers(0, 2**31 - 1), st.none() | texts)
warnings = st.builds(Warning_, st.integers(100, 999), hosts, texts)

#: The value of a header field that we know nothing of.
field_values = texts.map(lambda text: text.strip(" \t"))
unknown_fields = st.tuples(tokens.map("X-{}".format), field_values)


@st.composite
def messages(draw: st.DrawFn) -> Message:
    """A request or response as some peer might send it, header fields in any order."""
    method = draw(st.sampled_from(["INVITE", "BYE", "PUBLISH", "N%4F-METHOD"]))
    fields = [
        (draw(st.sampled_from(["Via", "v", "VIA"])), str(draw(vias))),
        (draw(st.sampled_from(["From", "f"])), str(draw(name_addrs))),
        ("To", str(draw(name_addrs))),
        ("Call-ID", draw(st.text(_ALPHANUM + "@.-", min_size=1))),
        ("CSeq", f"{draw(st.integers(0, 2**32 - 1))} {method}"),
        ("P-Asserted-Identity", str(draw(name_addrs))),
        ("Contact", ", ".join(map(str, draw(st.lists(name_addrs, min_size=1, max_size=2))))),
        *draw(st.lists(unknown_fields, max_size=3)),
    ]
    body = draw(st.binary(max_size=60))
    fields.append((draw(st.sampled_from(["Content-Length", "l"])), str(len(body))))
    headers = Headers(draw(st.permutations(fields)))
    if draw(st.booleans()):
        uri = draw(uris)
        return Request(
            method, SipURI("sip", None, None, "x") if "?" in str(uri) else uri, headers, body
        )
    return Response(draw(st.integers(100, 699)), draw(field_values), headers, body)


@st.composite
def damaged_messages(draw: st.DrawFn) -> bytes:
    """A message of RFC 4475 with something cut out, put in or repeated."""
    data = torture(draw(st.sampled_from(names())))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 12)))
        middle = draw(
            st.one_of(
                st.binary(max_size=6),
                st.sampled_from(
                    [b"\r\n", b"\r\n ", b"\n", b",", b";", b'"', b"<", b">", b"%", b"[", b"*", b"="]
                ),
                st.just(data[start:end] * 2),
            )
        )
        data = data[:start] + middle + data[end:]
    return data
