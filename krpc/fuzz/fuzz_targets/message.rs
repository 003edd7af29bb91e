//! Datagrams: no input may panic, and what is read says the same when it is written and read again.
#![no_main]

use krpc::{Kind, Message, NodeId, Oddities, Tid, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|datagram: &[u8]| {
    let message = match Message::parse(datagram) {
        Ok(message) => message,
        Err(error) => {
            let refused = Tid::to_refuse(error, datagram);
            assert!(refused.is_none_or(|tid| Tid::from_raw(tid.raw()).is_some()));
            return;
        }
    };
    assert!(Tid::from_raw(message.tid.raw()).is_some());
    let mut out = Vec::new();
    match message.kind {
        Kind::Query(query) => {
            let written = encode::Query {
                tid: b"tidy",
                id: query.id,
                version: message.version,
                read_only: message.read_only,
                want: query.want,
                method: query.method,
            };
            written.encode(&mut out);
            assert_eq!(out.len(), written.encoded_len());
            let again = Message::parse(&out).expect("a query that was read can be read again");
            assert_eq!(again.tid.bytes(), Some(&b"tidy"[..]));
            assert_eq!(
                Message { tid: message.tid, oddities: message.oddities, ip: message.ip, ..again },
                message
            );
        }
        Kind::Reply(reply) => {
            let nodes: Vec<_> = reply.nodes.iter().collect();
            let nodes6: Vec<_> = reply.nodes6.iter().filter(|node| node.addr.is_ipv6()).collect();
            let values: Vec<_> = reply.values.iter().collect();
            let samples: Vec<_> = reply.samples.into_iter().flatten().collect();
            assert_eq!((nodes.len(), values.len()), (reply.nodes.len(), reply.values.len()));
            let written = encode::Reply {
                version: message.version,
                ip: message.ip,
                nodes: Some(&nodes),
                nodes6: Some(&nodes6),
                values: &values,
                token: reply.token,
                samples: reply.samples.map(|_| &samples[..]),
                num: reply.num,
                interval: reply.interval,
                bloom_seeds: reply.bloom_seeds,
                bloom_peers: reply.bloom_peers,
                value: reply.value,
                key: reply.key,
                signature: reply.signature,
                seq: reply.seq,
                ..encode::Reply::new(message.tid, reply.id.unwrap_or(NodeId::ZERO))
            };
            written.encode(&mut out);
            assert_eq!(out.len(), written.encoded_len());
            let again = Message::parse(&out).expect("a reply that was read can be read again");
            assert_eq!(again.tid, message.tid);
            // What may still be odd is what is passed on as it came.
            assert!(Oddities::PADDED_LENGTH.contains(again.oddities));
            let Kind::Reply(read) = again.kind else { panic!("a reply was written") };
            assert!(
                read.nodes.iter().eq(nodes) && read.nodes6.iter().eq(nodes6) && read.values.iter().eq(values)
            );
            assert_eq!((read.samples, read.token, read.num), (reply.samples, reply.token, reply.num));
            assert_eq!((read.value, read.interval), (reply.value, reply.interval));
        }
        Kind::Error(_) => {}
    }
});
