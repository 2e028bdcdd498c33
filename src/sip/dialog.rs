//! Dialogs (RFC 3261 section 12): what both sides agreed to call this call, and the way its requests go.

use super::message::{Headers, Inbound, Method, NameAddr, Request, Response, Uri};
use super::transport::{Flow, is_hidden};
use bytes::Bytes;
use std::net::{IpAddr, SocketAddr};

/// One dialog, from the first request on.
#[derive(Clone, Debug)]
pub(crate) struct Dialog {
    pub(crate) call_id: String,
    /// Our From or To with our tag, as we write it.
    local: String,
    /// The peer's From or To, as it wrote it.
    remote: String,
    local_tag: String,
    /// Empty until the peer gave one (and for ever with RFC 2543 peers).
    remote_tag: String,
    local_cseq: u32,
    remote_cseq: Option<u32>,
    /// The peer's Contact.
    remote_target: String,
    routes: Vec<String>,
    /// The way back to the peer when its addresses do not tell a better one: where it hears answers.
    flow: Flow,
}

/// How the CSeq of a request within a dialog stands to what came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Newer, perhaps with a gap.
    Next,
    /// Older: to be refused with 500 (section 12.2.2).
    Old,
}

impl Dialog {
    /// What finds the dialog of a request that came in.
    pub(crate) fn key(call_id: &str, local_tag: &str) -> String {
        format!("{local_tag} {call_id}")
    }

    /// As UAS (section 12.1.1). `contact` is what the INVITE's Contact gives, else From's URI (RFC 2543 peers).
    pub(crate) fn called(invite: &Inbound, local_tag: &str) -> Self {
        let headers = &invite.request.headers;
        let own = |name: &str| headers.first(name).unwrap_or_default().to_owned();
        Self {
            call_id: invite.call_id.clone(),
            local: format!("{};tag={local_tag}", own("To")),
            remote: own("From"),
            local_tag: local_tag.to_owned(),
            remote_tag: invite.from_tag().to_owned(),
            local_cseq: 0,
            remote_cseq: Some(invite.cseq.number),
            remote_target: contact(headers).unwrap_or_else(|| invite.from.uri.to_request()),
            routes: headers.list("Record-Route").into_iter().map(str::to_owned).collect(),
            flow: invite.response_flow(),
        }
    }

    /// As UAC, before any answer.
    pub(crate) fn calling(call_id: String, from: &str, to: &str, local_tag: String, flow: Flow) -> Self {
        Self {
            call_id,
            local: format!("<{from}>;tag={local_tag}"),
            remote: format!("<{to}>"),
            local_tag,
            remote_tag: String::new(),
            local_cseq: 0,
            remote_cseq: None,
            remote_target: to.to_owned(),
            routes: Vec::new(),
            flow,
        }
    }

    /// The same INVITE answered by another callee.
    pub(crate) fn fork(&self) -> Self {
        Self { remote_cseq: None, ..self.clone() }
    }

    /// The 2xx to our INVITE completes the dialog (section 12.1.2).
    pub(crate) fn answered(&mut self, response: &Response) {
        let headers = &response.headers;
        if let Some(to) = headers.first("To") {
            to.clone_into(&mut self.remote);
            self.remote_tag = NameAddr::parse(to).ok().and_then(|to| to.tag().map(str::to_owned)).unwrap_or_default();
        }
        if let Some(target) = contact(headers) {
            self.remote_target = target;
        }
        self.routes = headers.list("Record-Route").into_iter().rev().map(str::to_owned).collect();
    }

    pub(crate) fn local_tag(&self) -> &str {
        &self.local_tag
    }

    pub(crate) fn remote_tag(&self) -> &str {
        &self.remote_tag
    }

    /// Whether a request with these tags belongs here.
    pub(crate) fn matches(&self, from_tag: &str) -> bool {
        self.remote_tag.is_empty() || self.remote_tag == from_tag
    }

    /// Takes the peer's sequence number in.
    pub(crate) fn order(&mut self, cseq: u32) -> Order {
        if self.remote_cseq.is_some_and(|seen| cseq < seen) {
            return Order::Old;
        }
        self.remote_cseq = Some(cseq);
        Order::Next
    }

    /// The peer's newest stream is the way back to it: the one that the call came by may be gone.
    pub(crate) fn came_by(&mut self, flow: Flow) {
        if flow.transport == self.flow.transport && flow.transport.reliable() {
            self.flow = flow;
        }
    }

    /// A target refresh (section 12.2): the peer's Contact may move.
    pub(crate) fn refresh_target(&mut self, target: Option<String>) {
        if let Some(target) = target {
            self.remote_target = target;
        }
    }

    /// A request within the early dialog that a provisional response makes (section 12.1.2), and where it goes.
    pub(crate) fn early_request(&mut self, method: Method, response: &Response) -> (Request, Flow) {
        let mut early = self.fork();
        early.answered(response);
        let request = early.request(method);
        // One count for all: it only ever grows in each of them.
        self.local_cseq = early.local_cseq;
        (request, early.next_hop())
    }

    /// A request within the dialog (section 12.2.1.1), without Via.
    pub(crate) fn request(&mut self, method: Method) -> Request {
        self.local_cseq += 1;
        self.numbered(method, self.local_cseq)
    }

    /// ACK of the 2xx to the INVITE with this number (section 13.2.2.4), without Via.
    pub(crate) fn ack(&self, cseq: u32) -> Request {
        self.numbered(Method::Ack, cseq)
    }

    fn numbered(&self, method: Method, cseq: u32) -> Request {
        let mut headers = Headers::default();
        let mut routes = self.routes.clone();
        let mut uri = self.remote_target.clone();
        let strict =
            routes.first().and_then(|route| NameAddr::parse(route).ok()).filter(|first| !first.uri.is_loose_router());
        if let Some(first) = strict {
            routes.remove(0);
            routes.push(format!("<{uri}>"));
            uri = first.uri.to_request();
        }
        for route in &routes {
            headers.push("Route", route);
        }
        headers.push("Max-Forwards", "70");
        headers.push("From", &self.local);
        headers.push("To", &self.remote);
        headers.push("Call-ID", &self.call_id);
        headers.push("CSeq", &format!("{cseq} {method}"));
        Request { method, uri, headers, body: Bytes::new() }
    }

    /// Where requests go: to the first Route, else to the Contact, over the path the call came by. No name is looked up: what
    /// is not an address that can be reached is replaced by the address the call came from. On a stream that address is only
    /// used once the connection is gone, and then with a port that listens: never with the one the peer connected from.
    pub(crate) fn next_hop(&self) -> Flow {
        let route = self.routes.first().and_then(|route| NameAddr::parse(route).ok()).map(|route| route.uri);
        let recorded = route.is_some();
        let hop = route.or_else(|| Uri::parse(&self.remote_target).ok());
        let source = self.flow.remote.ip();
        let port = hop.as_ref().and_then(|uri| uri.port);
        match hop.as_ref().and_then(Uri::ip) {
            Some(ip) if port != Some(0) && is_reachable(ip, source) && (recorded || !is_hidden(ip, source)) => {
                self.flow.towards(SocketAddr::new(ip, port.unwrap_or(self.flow.transport.default_port())))
            }
            _ if self.flow.transport.reliable() => {
                let port = port.filter(|port| *port != 0).unwrap_or(self.flow.remote.port());
                self.flow.towards(SocketAddr::new(source, port))
            }
            _ => self.flow,
        }
    }
}

fn is_reachable(ip: IpAddr, source: IpAddr) -> bool {
    let broadcast = matches!(ip, IpAddr::V4(four) if four.is_broadcast());
    ip.is_ipv4() == source.is_ipv4() && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

/// The URI of the first Contact, where it is one that a request can go to, as its Request-URI.
pub(crate) fn contact(headers: &Headers) -> Option<String> {
    let first = *headers.list("Contact").first()?;
    NameAddr::parse(first).ok().map(|contact| contact.uri.to_request())
}

#[cfg(test)]
mod tests {
    use super::super::message::{Framing, Message, parse};
    use super::super::transport::Transport;
    use super::*;

    fn called(via: &str, more: &str) -> Dialog {
        called_by(Transport::Udp, via, more)
    }

    fn called_by(transport: Transport, via: &str, more: &str) -> Dialog {
        let text = format!(
            "INVITE sip:gw@h SIP/2.0\r\nVia: SIP/2.0/UDP {via};branch=z9hG4bK1\r\nFrom: \"A\" <sip:a@h>;tag=1\r\nTo: sip:b@h\r\n\
             Call-ID: c\r\nCSeq: 7 INVITE\r\n{more}\r\n\r\n"
        );
        let flow = Flow {
            transport,
            socket: 0,
            connection: 0,
            local: "192.0.2.1:5060".parse().unwrap(),
            remote: "192.0.2.9:40000".parse().unwrap(),
        };
        let Ok(Message::Request(request)) = parse(&Bytes::from(text), Framing::Datagram) else { panic!() };
        Dialog::called(&Inbound::new(request, flow).unwrap(), "us")
    }

    fn hop(dialog: &Dialog) -> String {
        dialog.next_hop().remote.to_string()
    }

    #[test]
    fn requests_go_loosely_through_the_recorded_routes() {
        let mut dialog = called(
            "192.0.2.9",
            "Record-Route: <sip:192.0.2.20:5070;lr>, <sip:p2.example.com;lr>\r\nContact: <sip:a@10.0.0.7:5080>",
        );
        let bye = dialog.request(Method::Bye);
        assert_eq!(bye.uri, "sip:a@10.0.0.7:5080");
        assert_eq!(bye.headers.list("Route"), ["<sip:192.0.2.20:5070;lr>", "<sip:p2.example.com;lr>"]);
        assert_eq!(bye.headers.first("From"), Some("sip:b@h;tag=us"));
        assert_eq!(bye.headers.first("To"), Some("\"A\" <sip:a@h>;tag=1"));
        assert_eq!(bye.headers.first("CSeq"), Some("1 BYE"));
        assert_eq!(hop(&dialog), "192.0.2.20:5070");
    }

    #[test]
    fn a_strict_router_gets_its_own_uri_in_the_request_line() {
        let mut dialog = called("192.0.2.9", "Record-Route: <sip:192.0.2.20>\r\nContact: <sip:a@192.0.2.9>");
        let bye = dialog.request(Method::Bye);
        assert_eq!(bye.uri, "sip:192.0.2.20");
        assert_eq!(bye.headers.list("Route"), ["<sip:a@192.0.2.9>"]);
    }

    #[test]
    fn without_routes_the_contact_is_the_way_unless_it_cannot_be_reached() {
        for (via, contact, expected) in [
            ("192.0.2.9", "<sip:a@192.0.2.9:5080>", "192.0.2.9:5080"),
            ("192.0.2.9", "<sip:a@192.0.2.77>", "192.0.2.77:5060"),
            ("pbx.example.com", "<sip:a@192.0.2.77:5080>", "192.0.2.77:5080"),
            ("192.0.2.9", "<sip:a@pbx.example.com>", "192.0.2.9:5060"),
            ("pbx.example.com:5070", "<sip:a@pbx.example.com>", "192.0.2.9:40000"),
            ("pbx.example.com:5070;rport", "<sip:a@pbx.example.com>", "192.0.2.9:40000"),
            ("10.0.0.7", "<sip:a@10.0.0.7:5080>", "192.0.2.9:40000"),
            ("192.0.2.9;rport", "<sip:a@10.0.0.7:5080>", "192.0.2.9:40000"),
            ("192.0.2.9", "<sip:a@127.0.0.1>", "192.0.2.9:5060"),
            ("192.0.2.9", "<sip:a@0.0.0.0>", "192.0.2.9:5060"),
            ("192.0.2.9", "<sip:a@224.0.0.1>", "192.0.2.9:5060"),
            ("192.0.2.9", "<sip:a@[2001:db8::1]>", "192.0.2.9:5060"),
            ("192.0.2.9", "<sip:a@192.0.2.9:0>", "192.0.2.9:5060"),
            ("192.0.2.9", "*", "192.0.2.9:5060"),
        ] {
            assert_eq!(hop(&called(via, &format!("Contact: {contact}"))), expected, "{via} {contact}");
        }
    }

    #[test]
    fn a_stream_is_never_opened_to_the_port_that_the_peer_connected_from() {
        for (via, more, expected) in [
            ("pbx.example.com:5070", "Contact: <sip:a@pbx.example.com:5080>", "192.0.2.9:5080"),
            ("pbx.example.com:5070", "Contact: <sip:a@pbx.example.com>", "192.0.2.9:5070"),
            ("pbx.example.com", "Contact: <sip:a@10.0.0.7>", "192.0.2.9:5060"),
            ("h", "Record-Route: <sip:p.example.com:5090;lr>\r\nContact: <sip:a@192.0.2.1>", "192.0.2.9:5090"),
            ("192.0.2.9;rport", "X: y", "192.0.2.9:5060"),
        ] {
            let hop = called_by(Transport::Tcp, via, more).next_hop();
            assert_eq!(hop.remote.to_string(), expected, "{via} {more}");
        }
    }

    #[test]
    fn a_request_line_has_nothing_of_the_contact_that_does_not_belong_there() {
        let contact = "Contact: <sip:a@192.0.2.9:5080;transport=udp;method=INVITE?Subject=x>";
        assert_eq!(called("192.0.2.9", contact).request(Method::Bye).uri, "sip:a@192.0.2.9:5080;transport=udp");
    }

    #[test]
    fn the_newest_stream_of_the_peer_is_the_way_back() {
        let mut dialog = called("192.0.2.9", "Contact: <sip:a@192.0.2.9>");
        let other = Flow { connection: 7, ..dialog.flow };
        dialog.came_by(other);
        assert_eq!(dialog.next_hop().connection, 0, "datagrams have no connection to follow");
        dialog.flow.transport = Transport::Tcp;
        dialog.came_by(Flow { transport: Transport::Tcp, ..other });
        assert_eq!(dialog.next_hop().connection, 7);
    }

    #[test]
    fn older_sequence_numbers_are_seen() {
        let mut dialog = called("192.0.2.9", "X: y");
        assert_eq!((dialog.order(6), dialog.order(7), dialog.order(90), dialog.order(8)), {
            (Order::Old, Order::Next, Order::Next, Order::Old)
        });
        assert!(dialog.matches("1") && !dialog.matches("2"));
    }
}
