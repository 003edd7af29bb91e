//! Packets of real implementations.

#![allow(clippy::unwrap_used, reason = "part of tests")]

/// One recorded packet.
#[derive(Debug)]
pub(crate) struct Packet {
    /// Who sent it.
    pub(crate) sender: &'static str,
    /// Whether it is a query, or else an answer to one.
    pub(crate) is_query: bool,
    /// What was asked.
    pub(crate) name: &'static str,
    /// The datagram.
    pub(crate) bytes: Vec<u8>,
}

/// Every packet, in the order of the file.
pub(crate) fn packets() -> Vec<Packet> {
    include_str!("packets.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let [sender, direction, name, hex] = line.split('\t').collect::<Vec<_>>()[..] else {
                panic!("four fields: {line}")
            };
            let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
            Packet { sender, is_query: direction == "query", name, bytes: bytes.collect() }
        })
        .collect()
}
