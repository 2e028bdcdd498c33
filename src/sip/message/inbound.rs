//! A request that can be worked with: the fields every request must have, read once (RFC 3261 sections 8.1.1, 8.2, 16.3).

use super::parse::Malformed;
use super::values::{CSeq, NameAddr, Via, split_list};
use super::{Method, Request};
use crate::sip::transport::Flow;
use std::net::SocketAddr;

/// A request with its essential fields.
#[derive(Clone, Debug)]
pub struct Inbound {
    /// The request.
    pub request: Request,
    /// Topmost Via.
    pub via: Via,
    /// From.
    pub from: NameAddr,
    /// To.
    pub to: NameAddr,
    /// Call-ID.
    pub call_id: String,
    /// CSeq.
    pub cseq: CSeq,
    /// How it came.
    pub flow: Flow,
}

impl Inbound {
    /// Reads the essential fields, or says which is wrong.
    pub fn new(request: Request, flow: Flow) -> Result<Self, Malformed> {
        match essentials(&request) {
            Ok((via, from, to, call_id, cseq)) => Ok(Self { request, via, from, to, call_id, cseq, flow }),
            Err(what) => Err(Malformed { code: 400, what, request: Some(Box::new(request)) }),
        }
    }

    /// Tag of From; RFC 2543 peers send none.
    #[must_use]
    pub fn from_tag(&self) -> &str {
        self.from.tag().unwrap_or_default()
    }

    /// Where responses go (RFC 3261 section 18.2.2, RFC 3581).
    #[must_use]
    pub fn response_flow(&self) -> Flow {
        response_flow(Some(&self.via), self.flow)
    }

    /// What makes this request's server transaction (section 17.2.3); ACK and CANCEL give the key of their INVITE. Call-ID and
    /// CSeq are in it too, for peers that use one branch twice.
    #[must_use]
    pub fn transaction_key(&self) -> String {
        let method = match self.request.method {
            Method::Ack | Method::Cancel => &Method::Invite,
            ref method => method,
        };
        let Via { host, port, .. } = &self.via;
        let (number, call_id) = (self.cseq.number, &self.call_id);
        match self.via.unique_branch() {
            Some(branch) => format!("{branch} {host}:{port:?} {number} {method} {call_id}"),
            None => {
                format!("2543 {} {:?} {host}:{port:?} {number} {method} {call_id}", self.from_tag(), self.via.branch())
            }
        }
    }

    /// What a request keeps when it comes twice over different ways (section 8.2.2.2).
    #[must_use]
    pub fn merge_key(&self) -> String {
        format!("{} {} {}", self.from_tag(), self.cseq.number, self.call_id)
    }
}

/// Where the answer to a request goes: to the address it came from, there by `rport` to the port it came from, else to the port
/// in sent-by where sent-by is the address we saw. A sent-by that does not name the source (a host name, an address behind NAT)
/// is not believed about its port either: the port we saw is the one that leads back through a NAT, and a peer that hears
/// nowhere else says so by its address. On a stream sent-by is where a new connection is opened once the old one is gone.
#[must_use]
pub(crate) fn response_flow(via: Option<&Via>, flow: Flow) -> Flow {
    let Some(via) = via else { return flow };
    let datagrams = !flow.transport.reliable();
    let believed = via.ip() == Some(flow.remote.ip().to_canonical());
    if datagrams && (via.params.contains("rport") || !believed) {
        return flow;
    }
    let port = via.port.filter(|port| *port != 0).unwrap_or(flow.transport.default_port());
    flow.towards(SocketAddr::new(flow.remote.ip(), port))
}

type Essentials = (Via, NameAddr, NameAddr, String, CSeq);

fn essentials(request: &Request) -> Result<Essentials, String> {
    let headers = &request.headers;
    for name in ["From", "To", "Call-ID", "CSeq", "Max-Forwards", "Content-Type"] {
        if headers.count(name) > 1 {
            return Err(format!("more than one {name}"));
        }
    }
    let needed = |name: &'static str| headers.first(name).ok_or_else(|| format!("no {name}"));
    let wrong = |name: &'static str| move |what: &'static str| format!("{name}: {what}");
    let vias = split_list(needed("Via")?).ok_or("Via: a quoted string does not end")?;
    let via = Via::parse(vias.first().unwrap_or(&"")).map_err(wrong("Via"))?;
    let from = NameAddr::parse(needed("From")?).map_err(wrong("From"))?;
    let to = NameAddr::parse(needed("To")?).map_err(wrong("To"))?;
    if to.params.contains("tag") && to.tag().is_none() {
        return Err("To: the tag is empty".to_owned());
    }
    let call_id = needed("Call-ID")?;
    if call_id.is_empty() || call_id.contains(char::is_whitespace) {
        return Err("Call-ID is empty or holds white space".to_owned());
    }
    let cseq = CSeq::parse(needed("CSeq")?).map_err(str::to_owned)?;
    if cseq.method != request.method {
        return Err("CSeq names another method".to_owned());
    }
    if headers.first("Max-Forwards").is_some_and(|hops| hops.is_empty() || !hops.bytes().all(|b| b.is_ascii_digit())) {
        return Err("Max-Forwards is not a number".to_owned());
    }
    Ok((via, from, to, call_id.to_owned(), cseq))
}

#[cfg(test)]
mod tests {
    use super::super::{Framing, Message, parse};
    use super::*;
    use crate::sip::transport::Transport;
    use bytes::Bytes;

    fn inbound(via: &str, more: &str) -> Result<Inbound, Malformed> {
        let text = format!(
            "BYE sip:a@h SIP/2.0\r\nVia: {via}\r\nFrom: sip:a@h;tag=1\r\nTo: sip:b@h\r\nCall-ID: c\r\n{more}\r\n\r\n"
        );
        let flow = Flow {
            transport: Transport::Udp,
            socket: 0,
            connection: 0,
            local: "127.0.0.1:5060".parse().unwrap(),
            remote: "192.0.2.9:40000".parse().unwrap(),
        };
        match parse(&Bytes::from(text), Framing::Datagram) {
            Ok(Message::Request(request)) => Inbound::new(request, flow),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_missing_doubled_or_wrong_is_named() {
        let via = "SIP/2.0/UDP h;branch=z9hG4bK1";
        assert!(inbound(via, "CSeq: 1 BYE").is_ok());
        for (via, more, what) in [
            (via, "", "no CSeq"),
            (via, "CSeq: 1 INVITE", "CSeq names another method"),
            (via, "CSeq: 1 BYE\r\nt: sip:b@h", "more than one To"),
            (via, "CSeq: 1 BYE\r\nMax-Forwards: -1", "Max-Forwards is not a number"),
            ("SIP/2.0/UDP 192.0.2.15;;,;,,", "CSeq: 1 BYE", "Via: a parameter is empty"),
        ] {
            assert_eq!(inbound(via, more).unwrap_err().what, what);
        }
    }

    #[test]
    fn responses_go_by_rport_else_to_sent_by_where_it_is_the_source() {
        for (via, port) in [
            ("SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1", 5060),
            ("SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bK1", 5070),
            ("SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bK1;rport", 40000),
            ("SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bK1", 40000),
            ("SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bK1;rport", 40000),
            ("SIP/2.0/UDP 198.51.100.1:5070;branch=z9hG4bK1", 40000),
            ("SIP/2.0/UDP pbx.example.com;branch=z9hG4bK1", 40000),
            ("SIP/2.0/UDP pbx.example.com:5070;branch=z9hG4bK1", 40000),
            ("SIP/2.0/UDP pbx.example.com:5070;branch=z9hG4bK1;rport", 40000),
            ("SIP/2.0/UDP pbx.example.com:0;branch=z9hG4bK1", 40000),
        ] {
            let flow = inbound(via, "CSeq: 1 BYE").unwrap().response_flow();
            assert_eq!(flow.remote, format!("192.0.2.9:{port}").parse().unwrap(), "{via}");
        }
    }

    #[test]
    fn a_stream_that_is_gone_is_opened_again_to_a_port_that_listens() {
        for (via, port) in [
            ("SIP/2.0/TCP 192.0.2.9:5070;branch=z9hG4bK1;rport", 5070),
            ("SIP/2.0/TCP pbx.example.com;branch=z9hG4bK1", 5060),
            ("SIP/2.0/TCP 10.0.0.1:5080;branch=z9hG4bK1", 5080),
        ] {
            let mut inbound = inbound(via, "CSeq: 1 BYE").unwrap();
            inbound.flow = Flow { transport: Transport::Tcp, connection: 7, ..inbound.flow };
            let flow = inbound.response_flow();
            assert_eq!((flow.remote, flow.connection), (format!("192.0.2.9:{port}").parse().unwrap(), 7), "{via}");
        }
    }

    #[test]
    fn an_empty_to_tag_is_wrong() {
        let text = "BYE sip:a@h SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nFrom: sip:a@h\r\nTo: <sip:b@h>;tag=\r\nCall-ID: c\r\n\
                    CSeq: 1 BYE\r\n\r\n";
        let flow = inbound("SIP/2.0/UDP h", "CSeq: 1 BYE").unwrap().flow;
        let Ok(Message::Request(request)) = parse(&Bytes::from(text), Framing::Datagram) else { panic!() };
        assert_eq!(Inbound::new(request, flow).unwrap_err().what, "To: the tag is empty");
    }

    #[test]
    fn the_key_does_not_mix_up_peers_that_use_one_branch_for_all() {
        let one = inbound("SIP/2.0/UDP h;branch=z9hG4bK", "CSeq: 1 BYE").unwrap().transaction_key();
        let two = inbound("SIP/2.0/UDP h;branch=z9hG4bK", "CSeq: 2 BYE").unwrap().transaction_key();
        let three = inbound("SIP/2.0/UDP h;branch=z9hG4bKx", "CSeq: 1 BYE").unwrap().transaction_key();
        assert!(one != two && one != three && two != three);
    }
}
