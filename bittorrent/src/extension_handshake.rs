//! The extension handshake (BEP 10): extended message 0, a dictionary in which each side says what it takes.

use std::net::IpAddr;

use krpc::bencode::{self, Limits, Reader, Writer};

/// The extended id under which the other side is to send us `ut_metadata`.
///
/// Ids belong to a connection and a direction: the other side has an id of its own for what it wants to receive.
pub const UT_METADATA_ID: u8 = 2;

/// The extended id under which the other side is to send us `ut_pex` (BEP 11).
pub const UT_PEX_ID: u8 = 1;

/// How much of a client's name is kept.
pub const CLIENT_BYTES_MAX: usize = 64;

/// What we read of the other side's handshake. Whatever is absent, of another type or out of range is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtensionHandshake<'a> {
    /// The id under which the other side takes `ut_metadata`: 1 to 255 (0 switches an extension off).
    pub ut_metadata: Option<u8>,
    /// The id under which the other side takes `ut_pex`; who takes it sends it too.
    pub ut_pex: Option<u8>,
    /// Length of the info dict, for whoever has it.
    pub metadata_size: SizeClaim,
    /// The name of the program (`v`), cut to [`CLIENT_BYTES_MAX`].
    pub client: Option<&'a [u8]>,
    /// How many requests (of any kind) the other side lets stand (`reqq`).
    pub request_queue: Option<u32>,
    /// The address under which the other side sees us (`yourip`).
    pub your_ip: Option<IpAddr>,
    /// The port on which the other side listens (`p`).
    pub listen_port: Option<u16>,
}

/// What a peer says about the length of the info dict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SizeClaim {
    /// Nothing: it has no info dict, or not yet.
    #[default]
    Absent,
    /// Something that is no 64-bit number.
    NotANumber,
    /// A number, unchecked.
    Bytes(i64),
}

impl<'a> ExtensionHandshake<'a> {
    /// Reads what follows the extended id.
    ///
    /// Of a key that stands twice the first counts; keys may come in any order; bytes may follow (all of it is seen
    /// in the wild).
    ///
    /// # Errors
    /// Only when the bytes are not a bencoded dictionary within bounds.
    pub fn parse(payload: &'a [u8]) -> Result<Self, bencode::Error> {
        let mut reader = Reader::new(payload, Limits::EXTENSION)?;
        let mut handshake = Self::default();
        let mut names_seen = false;
        reader.enter_dict()?;
        while let Some(key) = reader.next_key()? {
            match key {
                b"m" if !names_seen && reader.peek() == Some(bencode::Shape::Dict) => {
                    names_seen = true;
                    reader.enter_dict()?;
                    while let Some(name) = reader.next_key()? {
                        let id = reader.int_or_skip()?.and_then(|id| u8::try_from(id).ok());
                        let place = match name {
                            b"ut_metadata" => &mut handshake.ut_metadata,
                            b"ut_pex" => &mut handshake.ut_pex,
                            _ => continue,
                        };
                        if place.is_none() {
                            *place = id.filter(|id| *id != 0);
                        }
                    }
                }
                b"metadata_size" if handshake.metadata_size == SizeClaim::Absent => {
                    handshake.metadata_size =
                        reader.int_or_skip()?.map_or(SizeClaim::NotANumber, SizeClaim::Bytes);
                }
                b"v" if handshake.client.is_none() => {
                    handshake.client =
                        reader.bytes_or_skip()?.map(|name| &name[..name.len().min(CLIENT_BYTES_MAX)]);
                }
                b"reqq" if handshake.request_queue.is_none() => {
                    handshake.request_queue = reader.int_or_skip()?.and_then(|n| u32::try_from(n).ok());
                }
                b"p" if handshake.listen_port.is_none() => {
                    handshake.listen_port =
                        reader.int_or_skip()?.and_then(|port| u16::try_from(port).ok()).filter(|p| *p != 0);
                }
                b"yourip" if handshake.your_ip.is_none() => {
                    handshake.your_ip = reader.bytes_or_skip()?.and_then(read_ip);
                }
                _ => reader.skip()?,
            }
        }
        Ok(handshake)
    }

    /// Whether this is rTorrent, going by its name. Rakshasa's libTorrent writes itself with a capital T and a space.
    pub fn is_rtorrent(&self) -> bool {
        self.client.is_some_and(|name| {
            name.starts_with(b"libTorrent ")
                || name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"rtorrent"))
        })
    }
}

/// What we say of ourselves: which extensions we take, and what we have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnHandshake<'a> {
    /// Our program's name, if it is to be told.
    pub client: Option<&'a str>,
    /// Whether we want to be told of other peers (BEP 11). We never tell of any.
    pub takes_pex: bool,
    /// Length of the info dict, when we have it.
    pub metadata_size: Option<u32>,
}

impl OwnHandshake<'_> {
    /// Appends what follows the extended id.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.begin_dict();
        writer.bytes(b"m");
        writer.begin_dict();
        writer.bytes(b"ut_metadata");
        writer.int(i64::from(UT_METADATA_ID));
        if self.takes_pex {
            writer.bytes(b"ut_pex");
            writer.int(i64::from(UT_PEX_ID));
        }
        writer.end();
        if let Some(size) = self.metadata_size {
            writer.bytes(b"metadata_size");
            writer.int(i64::from(size));
        }
        if let Some(client) = self.client {
            writer.bytes(b"v");
            writer.bytes(client.as_bytes());
        }
        writer.end();
    }
}

fn read_ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> ExtensionHandshake<'_> {
        ExtensionHandshake::parse(bytes).unwrap()
    }

    #[test]
    fn ours_is_what_others_read() {
        let written = |own: OwnHandshake<'_>| {
            let mut out = Vec::new();
            own.write(&mut out);
            assert!(bencode::is_canonical(&out, 2), "{}", out.escape_ascii());
            out
        };
        assert_eq!(written(OwnHandshake::default()), b"d1:md11:ut_metadatai2eee");
        let seeker =
            written(OwnHandshake { client: Some("indexer 0.1"), takes_pex: true, metadata_size: None });
        assert_eq!(seeker, b"d1:md11:ut_metadatai2e6:ut_pexi1ee1:v11:indexer 0.1e");
        assert_eq!(parse(&seeker).ut_pex, Some(UT_PEX_ID));
        let giver = written(OwnHandshake { metadata_size: Some(34_256), ..OwnHandshake::default() });
        assert_eq!(giver, b"d1:md11:ut_metadatai2ee13:metadata_sizei34256ee");
        assert_eq!(parse(&giver).metadata_size, SizeClaim::Bytes(34_256));
    }

    #[test]
    fn the_handshake_of_a_libtorrent_seed_is_read() {
        let bytes =
            b"d12:complete_agoi1e1:md11:lt_donthavei7e10:share_modei8e11:upload_onlyi3e12:ut_holepunchi4e\
            11:ut_metadatai2e6:ut_pexi1ee13:metadata_sizei34256e1:pi6881e4:reqqi2000e11:upload_onlyi1e\
            1:v16:libtorrent/2.1.16:yourip4:\x7f\0\x09\x09e";
        assert_eq!(
            parse(bytes),
            ExtensionHandshake {
                ut_metadata: Some(2),
                ut_pex: Some(1),
                metadata_size: SizeClaim::Bytes(34256),
                client: Some(b"libtorrent/2.1.1"),
                request_queue: Some(2000),
                your_ip: Some(IpAddr::from([127, 0, 9, 9])),
                listen_port: Some(6881),
            }
        );
        assert!(!parse(bytes).is_rtorrent());
    }

    #[test]
    fn unsorted_and_double_keys_and_what_follows_are_tolerated() {
        let handshake = parse(b"d1:v3:abc13:metadata_sizei7e1:md6:ut_pexi1e11:ut_metadatai9ee1:v1:ze rest");
        assert_eq!(handshake.client, Some(&b"abc"[..]));
        assert_eq!(handshake.metadata_size, SizeClaim::Bytes(7));
        assert_eq!((handshake.ut_metadata, handshake.ut_pex), (Some(9), Some(1)));
    }

    #[test]
    fn values_of_another_type_or_range_are_as_if_absent() {
        let handshake = parse(b"d1:mi3e1:p3:abc4:reqqi-1e1:vli1ee6:yourip5:abcdee");
        assert_eq!(handshake, ExtensionHandshake::default());
        assert_eq!(parse(b"d1:md11:ut_metadatai0eee").ut_metadata, None);
        assert_eq!(parse(b"d1:md11:ut_metadatai256eee").ut_metadata, None);
        assert_eq!(parse(b"d1:md11:ut_metadatai-2eee").ut_metadata, None);
        assert_eq!(parse(b"d1:md11:ut_metadata1:2ee").ut_metadata, None);
    }

    #[test]
    fn a_size_that_is_no_number_is_told_from_an_absent_one() {
        assert_eq!(parse(b"d13:metadata_size2:16e").metadata_size, SizeClaim::NotANumber);
        assert_eq!(parse(b"d13:metadata_sizei99999999999999999999ee").metadata_size, SizeClaim::NotANumber);
        assert_eq!(parse(b"d13:metadata_sizei-5ee").metadata_size, SizeClaim::Bytes(-5));
        assert_eq!(parse(b"de").metadata_size, SizeClaim::Absent);
    }

    #[test]
    fn a_long_client_name_is_cut() {
        let bytes = [b"d1:v200:".to_vec(), vec![b'x'; 200], b"e".to_vec()].concat();
        assert_eq!(parse(&bytes).client.map(<[u8]>::len), Some(CLIENT_BYTES_MAX));
    }

    #[test]
    fn what_is_no_dictionary_is_refused() {
        for bytes in [&b""[..], b"i1e", b"d", b"d1:m", b"d1:md", b"di1ei1ee", b"d1:vi01ee"] {
            assert!(ExtensionHandshake::parse(bytes).is_err(), "{}", bytes.escape_ascii());
        }
        let deep = [b"d1:x".to_vec(), vec![b'l'; 16 << 10]].concat();
        assert_eq!(ExtensionHandshake::parse(&deep), Err(bencode::Error::TooDeep));
    }

    #[test]
    fn rtorrent_is_known_by_its_name() {
        assert!(parse(b"d1:v17:libTorrent 0.13.8e").is_rtorrent());
        assert!(parse(b"d1:v14:rTorrent 0.9.8e").is_rtorrent());
        assert!(!parse(b"d1:v17:libtorrent/2.0.11e").is_rtorrent());
        assert!(!parse(b"d1:v1:re").is_rtorrent());
    }
}
