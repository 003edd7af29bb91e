//! By which transports the peers answer that run the same program.

use std::collections::HashMap;

use bittorrent::Transport;

/// Programs told apart: there are some dozen in use. Those beyond are not learned of.
const CLIENTS_MAX: usize = 64;

/// Attempts from which on a share of answers means something.
const ATTEMPTS_MIN: u32 = 16;

/// Attempts after which all counts are halved: what is newer counts more.
const ATTEMPTS_MAX: u32 = 1_024;

/// What was seen of each program, by the two letters that it goes by in the DHT and in peer ids.
#[derive(Debug, Default)]
pub(super) struct ClientHabits {
    clients: HashMap<[u8; 2], [Tally; Transport::COUNT]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    attempts: u32,
    answers: u32,
}

impl ClientHabits {
    /// An attempt at a peer with this program has ended, with a handshake or without.
    pub(super) fn count(&mut self, client: [u8; 2], transport: Transport, answered: bool) {
        if self.clients.len() >= CLIENTS_MAX && !self.clients.contains_key(&client) {
            return;
        }
        let tallies = self.clients.entry(client).or_default();
        let Some(tally) = tallies.get_mut(transport as usize) else { return };
        tally.attempts += 1;
        tally.answers += u32::from(answered);
        if tally.attempts >= ATTEMPTS_MAX {
            tally.attempts /= 2;
            tally.answers /= 2;
        }
    }

    /// The transport to begin with, where plain TCP, which comes first otherwise, is answered less than half as often as
    /// another.
    pub(super) fn hint(&self, client: [u8; 2]) -> Option<Transport> {
        let tallies = self.clients.get(&client)?;
        let share = |transport: Transport| {
            let tally = tallies.get(transport as usize).filter(|tally| tally.attempts >= ATTEMPTS_MIN)?;
            Some(f64::from(tally.answers) / f64::from(tally.attempts))
        };
        let plain = share(Transport::Tcp)?;
        let shares = Transport::ALL.into_iter().filter_map(|transport| Some((transport, share(transport)?)));
        let (best, most) = shares.max_by(|a, b| a.1.total_cmp(&b.1))?;
        (plain * 2.0 < most).then_some(best)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_tcp_stays_first_where_it_is_answered_about_as_often_as_others() {
        let mut habits = ClientHabits::default();
        for n in 0..100 {
            habits.count(*b"LT", Transport::Tcp, n % 3 > 0);
            habits.count(*b"LT", Transport::Utp, true);
        }
        assert_eq!(habits.hint(*b"LT"), None);
        for _ in 0..1_000 {
            habits.count(*b"LT", Transport::Tcp, false);
        }
        assert_eq!(habits.hint(*b"LT"), Some(Transport::Utp), "the newer counts more");
    }

    #[test]
    fn the_number_of_programs_is_bounded() {
        let mut habits = ClientHabits::default();
        for n in 0..1_000_u16 {
            habits.count(n.to_be_bytes(), Transport::Tcp, true);
        }
        assert_eq!(habits.clients.len(), CLIENTS_MAX);
    }
}
