//! What an indexer keeps of itself from run to run, as names and bytes: the seed of its ids, the external addresses that it had,
//! and how often its virtual nodes have moved.

use std::{collections::BTreeMap, net::IpAddr};

use mainline::bogon::AddressFilter;

/// Under which name the seed of our ids is kept.
const ID_SEED: &str = "id-seed";

/// Before a local address: under this name its external one is kept, as text.
const EXTERNAL_ADDRESS: &str = "external-address/";

/// Under which name the moves are kept: for each node that has moved its number and how often, 4 bytes each, the least
/// significant first.
const MOVES: &str = "moves";

/// What was kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The seed, once there is one.
    pub id_seed: Option<[u8; 32]>,
    /// Local addresses, each with the external one that others saw.
    pub external: BTreeMap<IpAddr, IpAddr>,
    /// Virtual nodes that have moved, and how often.
    pub moves: Vec<(u32, u32)>,
}

impl Kept {
    /// Reads it back. What cannot be read is as if it had not been kept: it is found out anew.
    pub fn read(values: &BTreeMap<String, Vec<u8>>) -> Self {
        let address = |text: &str| text.parse::<IpAddr>().ok();
        let external = values.iter().filter_map(|(name, value)| {
            let local = address(name.strip_prefix(EXTERNAL_ADDRESS)?)?;
            Some((local, address(std::str::from_utf8(value).ok()?)?))
        });
        let number = |bytes: &[u8]| bytes.try_into().map(u32::from_le_bytes).unwrap_or_default();
        let moves = values.get(MOVES).map_or(&[][..], Vec::as_slice);
        Self {
            id_seed: values.get(ID_SEED).and_then(|seed| <[u8; 32]>::try_from(seed.as_slice()).ok()),
            external: external.collect(),
            moves: moves.chunks_exact(8).map(|pair| (number(&pair[..4]), number(&pair[4..]))).collect(),
        }
    }

    /// The external address of a local one: as it was kept; else the local one itself, if it is one of the internet.
    pub fn external_of(&self, local: IpAddr) -> Option<IpAddr> {
        let is_public = AddressFilter::new([], false).check_ip(local).is_ok();
        self.external.get(&local).copied().or_else(|| is_public.then_some(local))
    }
}

/// The seed, to be kept.
pub fn seed(seed: [u8; 32]) -> BTreeMap<String, Vec<u8>> {
    [(ID_SEED.to_owned(), seed.to_vec())].into()
}

/// An external address, to be kept.
pub(super) fn external_address(local: IpAddr, external: IpAddr) -> BTreeMap<String, Vec<u8>> {
    [(format!("{EXTERNAL_ADDRESS}{local}"), external.to_string().into_bytes())].into()
}

/// All moves, to be kept.
pub(super) fn moves(moves: impl Iterator<Item = (u32, u32)>) -> BTreeMap<String, Vec<u8>> {
    let bytes = moves.flat_map(|(node, moves)| node.to_le_bytes().into_iter().chain(moves.to_le_bytes()));
    [(MOVES.to_owned(), bytes.collect())].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_kept_is_read_back() {
        let mut values = seed([7; 32]);
        values.extend(external_address(ip("192.168.1.2"), ip("85.1.2.3")));
        values.extend(external_address(ip("::"), ip("2a00::1")));
        values.extend(moves([(3, 1), (70_000, 2)].into_iter()));
        let kept = Kept::read(&values);
        assert_eq!(kept.id_seed, Some([7; 32]));
        assert_eq!(kept.external_of(ip("192.168.1.2")), Some(ip("85.1.2.3")));
        assert_eq!(kept.external_of(ip("::")), Some(ip("2a00::1")));
        assert_eq!(kept.moves, [(3, 1), (70_000, 2)]);
    }

    #[test]
    fn of_what_was_not_kept_only_public_addresses_are_known() {
        let kept = Kept::read(&BTreeMap::new());
        assert_eq!(kept, Kept::default());
        for local in ["0.0.0.0", "::", "192.168.1.2", "127.0.0.1", "fe80::1"] {
            assert_eq!(kept.external_of(ip(local)), None, "{local}");
        }
        for local in ["85.1.2.3", "2a00::1"] {
            assert_eq!(kept.external_of(ip(local)), Some(ip(local)));
        }
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        let values = [
            (ID_SEED, b"short".to_vec()),
            (MOVES, vec![1; 13]),
            ("external-address/here", b"85.1.2.3".to_vec()),
            ("external-address/10.0.0.1", b"there".to_vec()),
            ("external-address/10.0.0.2", vec![0xff]),
        ];
        let kept = Kept::read(&values.map(|(name, value)| (name.to_owned(), value)).into());
        assert_eq!(kept, Kept { moves: vec![(0x0101_0101, 0x0101_0101)], ..Kept::default() });
    }
}
