//! The info dicts of a swarm as the parser of the indexer reads them.

use bittorrent::{InfoLimits, Version};
use swarm::{Swarm, SwarmConfig};

#[test]
fn every_info_dict_means_what_the_swarm_says_it_does() {
    let swarm =
        Swarm::start(SwarmConfig { nodes: 1, torrents: 2_000, seed: 7, ..SwarmConfig::default() }).unwrap();
    let mut hybrids = 0;
    for truth in swarm.torrents() {
        let raw = swarm.info_dict(truth.index);
        let read = bittorrent::Torrent::parse(&raw, &InfoLimits::default()).unwrap();
        assert_eq!((read.v1, read.v2), (truth.v1, truth.v2), "{}", truth.name);
        assert_eq!((&read.name, &read.name_raw), (&truth.name, &None));
        let files: Vec<_> = read.files.iter().map(|file| (&file.path, file.length)).collect();
        assert_eq!(files, truth.files.iter().map(|file| (&file.path, file.length)).collect::<Vec<_>>());
        assert_eq!((read.total_size, read.piece_length), (truth.total_size, u64::from(truth.piece_length)));
        assert_eq!(read.oddities, Default::default(), "{}", truth.name);
        assert!(!read.private);
        hybrids += u32::from(read.version == Version::Hybrid);
    }
    assert!(hybrids > 100, "{hybrids}");
}
