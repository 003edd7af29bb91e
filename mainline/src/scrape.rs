//! How many take part in a torrent, from the filters of the nodes that store its peers (BEP 33).
//!
//! No node knows all peers: announces go to whoever was close when they were made. So the filters of all that answer are
//! united, and the size of the union is estimated, which counts nobody twice.
//!
//! A union believes the greatest liar: one filter of ones makes any torrent the most popular of all. So a filter has to be
//! in proportion to the others (`Filters::unite`): while at most a third of the nodes lie, t of them, what comes out is
//! at most (1 + 4 t) times what the honest ones hold, and 64 t.

use krpc::bloom::BloomFilter;

/// How many take part in a torrent, as far as nodes have told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scrape {
    /// About how many have all of it.
    pub seeds: u32,
    /// About how many do not.
    pub downloaders: u32,
    /// Nodes whose filters this comes from: at least one.
    pub nodes: u32,
    /// Nodes whose filters were out of all proportion, and do not count.
    pub discarded: u32,
    /// The closest nodes of the network were all asked. Otherwise it is what some nodes know, and there may be more.
    pub whole: bool,
}

/// The filters that nodes have given in one lookup.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    of_nodes: Vec<Pair>,
}

#[derive(Debug)]
struct Pair {
    seeds: BloomFilter,
    downloaders: BloomFilter,
}

impl Pair {
    fn seeds(&self) -> &BloomFilter {
        &self.seeds
    }

    fn downloaders(&self) -> &BloomFilter {
        &self.downloaders
    }
}

impl Filters {
    /// Takes the filters of a node's answer, if it has any: one that is missing holds nobody. Whether they were taken.
    pub(crate) fn take(&mut self, seeds: Option<&[u8; 256]>, downloaders: Option<&[u8; 256]>) -> bool {
        if seeds.or(downloaders).is_none() || self.of_nodes.len() >= NODES_MAX {
            return false;
        }
        let filter = |bytes: Option<&[u8; 256]>| {
            bytes.map_or_else(BloomFilter::new, |bytes| BloomFilter::from_bytes(*bytes))
        };
        self.of_nodes.push(Pair { seeds: filter(seeds), downloaders: filter(downloaders) });
        true
    }

    /// The size of the union of all that can be believed; `None` when nobody has given a filter that can be.
    ///
    /// A node does not count when one of its filters
    /// - estimates more than [`READABLE_MAX`], where BEP 33 says that filters stop telling anything;
    /// - or, with three nodes or more, is among the fullest third and estimates more than [`DISPROPORTION`] times what the
    ///   others hold together, and [`SLACK`] more;
    /// - or, with fewer nodes to compare, estimates more than [`UNWITNESSED_MAX`].
    pub(crate) fn unite(&self, whole: bool) -> Option<Scrape> {
        let mut believed: Vec<&Pair> = self.of_nodes.iter().collect();
        drop_absurd(&mut believed, Pair::seeds);
        drop_absurd(&mut believed, Pair::downloaders);
        let nodes = believed.len();
        (nodes > 0).then(|| Scrape {
            seeds: rounded(&union(believed.iter().map(|pair| pair.seeds()))),
            downloaders: rounded(&union(believed.iter().map(|pair| pair.downloaders()))),
            nodes: nodes as u32,
            discarded: (self.of_nodes.len() - nodes) as u32,
            whole,
        })
    }
}

/// Keeps the nodes whose filter, one of their two, can be believed.
fn drop_absurd(nodes: &mut Vec<&Pair>, filter: fn(&Pair) -> &BloomFilter) {
    nodes.retain(|pair| filter(pair).estimate() <= READABLE_MAX);
    if nodes.len() < WITNESSES_MIN {
        nodes.retain(|pair| filter(pair).estimate() <= UNWITNESSED_MAX);
        return;
    }
    nodes.sort_by(|a, b| filter(a).estimate().total_cmp(&filter(b).estimate()));
    let suspects = nodes.len() / 3;
    let witnesses = nodes.len() - suspects;
    let limit = DISPROPORTION * union(nodes[..witnesses].iter().map(|pair| filter(pair))).estimate() + SLACK;
    let fitting = nodes.partition_point(|pair| filter(pair).estimate() <= limit);
    nodes.truncate(fitting.max(witnesses));
}

fn union<'a>(filters: impl Iterator<Item = &'a BloomFilter>) -> BloomFilter {
    let mut all = BloomFilter::new();
    filters.for_each(|filter| all.union(filter.as_bytes()));
    all
}

fn rounded(filter: &BloomFilter) -> u32 {
    filter.estimate().round() as u32
}

/// Filters kept of one lookup, 512 bytes each: twice the nodes that have to answer.
const NODES_MAX: usize = 16;

/// Up to so many a filter can tell (BEP 33); an honest one is never fuller, since no client stores so many.
pub const READABLE_MAX: f64 = 6_000.0;

/// A filter this many times as large as all the others together is not of the same torrent. Honest nodes differ, since a
/// new neighbour has heard few announces.
pub const DISPROPORTION: f64 = 4.0;

/// What one node may know more than the others of a small swarm.
pub const SLACK: f64 = 64.0;

/// What one or two nodes are believed without others to compare: twice the 500 peers that libtorrent stores of a torrent,
/// since it stores those of IPv4 and IPv6 apart.
pub const UNWITNESSED_MAX: f64 = 1_000.0;

/// From so many nodes on they are compared.
const WITNESSES_MIN: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    use std::ops::Range;

    fn filter(peers: impl IntoIterator<Item = u32>) -> [u8; 256] {
        let mut filter = BloomFilter::new();
        peers.into_iter().for_each(|peer| filter.insert(IpAddr::V4(Ipv4Addr::from_bits(peer))));
        *filter.as_bytes()
    }

    fn scrape(nodes: &[(Range<u32>, Range<u32>)], liars: usize) -> Option<Scrape> {
        let mut filters = Filters::default();
        for (seeds, downloaders) in nodes {
            assert!(filters.take(Some(&filter(seeds.clone())), Some(&filter(downloaders.clone()))));
        }
        for _ in 0..liars {
            assert!(filters.take(Some(&[0xff; 256]), Some(&[0xff; 256])));
        }
        filters.unite(true)
    }

    fn about(estimate: u32, truth: u32) -> bool {
        estimate.abs_diff(truth) * 20 <= truth
    }

    #[test]
    fn the_union_of_nodes_is_estimated_and_nobody_counts_twice() {
        // Each of six nodes knows 300 of 400 seeds, and 100 of 120 downloaders.
        let nodes: Vec<_> = (0..6).map(|n| (n * 20..n * 20 + 300, 1_000 + n * 4..1_100 + n * 4)).collect();
        let found = scrape(&nodes, 0).unwrap();
        assert!(about(found.seeds, 400) && about(found.downloaders, 120), "{found:?}");
        assert_eq!((found.nodes, found.discarded, found.whole), (6, 0, true));
    }

    #[test]
    fn the_addresses_of_the_specification_are_counted_over_several_nodes() {
        // BEP 33's test vector, dealt out to four nodes: the union is its filter, the estimate is its estimate.
        let peers: Vec<IpAddr> = (0..=255)
            .map(|last| Ipv4Addr::new(192, 0, 2, last).into())
            .chain((0..=0x3e7).map(|last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last).into()))
            .collect();
        let mut filters = Filters::default();
        for node in 0..4 {
            let mut filter = BloomFilter::new();
            peers.iter().skip(node).step_by(4).for_each(|peer| filter.insert(*peer));
            assert!(filters.take(Some(filter.as_bytes()), None));
        }
        let found = filters.unite(false).unwrap();
        assert_eq!(found, Scrape { seeds: 1_225, downloaders: 0, nodes: 4, discarded: 0, whole: false });
    }

    #[test]
    fn a_filter_of_ones_counts_for_nothing() {
        let nodes: Vec<_> = (0..6).map(|_| (0..50, 100..110)).collect();
        let found = scrape(&nodes, 2).unwrap();
        assert!(about(found.seeds, 50) && found.downloaders.abs_diff(10) <= 1, "{found:?}");
        assert_eq!((found.nodes, found.discarded), (6, 2));
        assert_eq!(scrape(&[], 1), None);
    }

    #[test]
    fn what_a_few_nodes_alone_claim_is_bounded() {
        let sizes = |nodes: &[(Range<u32>, Range<u32>)]| scrape(nodes, 0).map(|found| found.seeds);
        assert!(about(sizes(&[(0..900, 0..0)]).unwrap(), 900));
        assert_eq!(sizes(&[(0..1_200, 0..0)]), None);
        // Of three, one knows a hundred times what the other two know.
        assert_eq!(sizes(&[(0..10, 0..0), (0..10, 0..0), (0..1_000, 0..0)]), Some(10));
        assert_eq!(sizes(&[(0..0, 0..0)]), Some(0));
    }

    #[test]
    fn new_neighbours_that_know_nobody_yet_do_not_make_liars_of_the_old_ones() {
        let new = (0..5).map(|_| (0..1, 0..0));
        let old = [(0..200, 0..0), (10..210, 0..0), (0..220, 0..0)];
        let found = scrape(&new.chain(old).collect::<Vec<_>>(), 0).unwrap();
        assert!(about(found.seeds, 220), "{found:?}");
        assert_eq!(found.discarded, 0);
    }

    #[test]
    fn an_answer_without_filters_is_no_testimony_and_filters_are_bounded() {
        let mut filters = Filters::default();
        assert!(!filters.take(None, None));
        assert_eq!(filters.unite(true), None);
        for _ in 0..NODES_MAX {
            assert!(filters.take(None, Some(&filter(0..3))));
        }
        assert!(!filters.take(None, Some(&filter(0..3))));
        assert_eq!(filters.unite(true).unwrap().nodes, NODES_MAX as u32);
    }

    proptest! {
        /// Whatever a third of the nodes say, the sizes stay within the bound that the module promises.
        #[test]
        fn liars_are_bounded(
            honest in prop::collection::vec((0_u32..200, 1_u32..300), 4..10),
            lies in prop::collection::vec(prop::array::uniform32(any::<u64>()), 0..2),
        ) {
            let mut filters = Filters::default();
            let mut all = BloomFilter::new();
            for (start, count) in &honest {
                let of_node = filter(*start..start + count);
                all.union(&of_node);
                filters.take(Some(&of_node), None);
            }
            for lie in &lies {
                let bytes: Vec<u8> = lie.iter().flat_map(|word| word.to_le_bytes()).collect();
                filters.take(Some(&<[u8; 256]>::try_from(bytes.as_slice()).unwrap()), None);
            }
            let found = filters.unite(true).unwrap();
            let liars = lies.len() as f64;
            let bound = (1.0 + DISPROPORTION * liars) * all.estimate() + SLACK * liars;
            // Bits that lies share with the truth make a union smaller than its parts, never greater: but estimates have errors.
            prop_assert!(f64::from(found.seeds) <= bound * 1.1 + 1.0, "{found:?} {bound}");
            prop_assert_eq!(found.nodes + found.discarded, (honest.len() + lies.len()) as u32);
        }
    }
}
