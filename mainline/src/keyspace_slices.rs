//! Parts of the keyspace: several engines that share what they find sample different nodes.

use krpc::NodeId;

/// Some of the sixteen equal parts of the keyspace, told apart by the first four bits of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyspaceSlices(u16);

impl KeyspaceSlices {
    /// Slices in all: as many engines can have one of their own, and most numbers of engines get about equal shares.
    pub const COUNT: u8 = 16;

    /// The whole keyspace.
    pub const ALL: KeyspaceSlices = KeyspaceSlices(u16::MAX);

    /// These slices, each below [`KeyspaceSlices::COUNT`]; others are passed over.
    pub fn new(slices: impl IntoIterator<Item = u8>) -> KeyspaceSlices {
        let known = slices.into_iter().filter(|slice| *slice < KeyspaceSlices::COUNT);
        KeyspaceSlices(known.fold(0, |slices, slice| slices | 1 << slice))
    }

    /// Whether a node lies in one of them.
    pub fn contains(self, id: &NodeId) -> bool {
        let first = id.as_bytes().first().copied().unwrap_or_default();
        self.0 & 1 << (first >> 4) != 0
    }

    /// How many they are.
    pub fn count(self) -> u32 {
        self.0.count_ones()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_lies_in_the_slice_of_its_first_four_bits() {
        let id = |first: u8| {
            let mut bytes = [0xff; 20];
            bytes[0] = first;
            NodeId::from_bytes(bytes)
        };
        let slices = KeyspaceSlices::new([0, 3, 15, 16, 200, 3]);
        assert_eq!(slices.count(), 3);
        for (first, inside) in
            [(0x00, true), (0x0f, true), (0x10, false), (0x3a, true), (0xef, false), (0xf0, true)]
        {
            assert_eq!(slices.contains(&id(first)), inside, "{first:02x}");
        }
        assert!((0..=255).all(|first| KeyspaceSlices::ALL.contains(&id(first))));
        assert!((0..=255).all(|first| !KeyspaceSlices::new([]).contains(&id(first))));
    }
}
