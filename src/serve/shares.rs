//! Shares: so many of something for everybody, and no more than a part of it for one address.
//!
//! Whoever may reach the port can open connections and send bodies. A bound for all of them keeps
//! the process alive; a bound for each address keeps it there for the others.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What there is to share.
#[derive(Clone)]
pub(super) struct Shares {
    free: Arc<Semaphore>,
    /// The most that one address may hold.
    most: usize,
    held: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// What somebody holds; it is given back when this is dropped.
pub(super) struct Share {
    of: Shares,
    address: IpAddr,
    count: usize,
    permit: OwnedSemaphorePermit,
}

impl Shares {
    /// So many in all, and at most so many for one address.
    pub(super) fn new(all: usize, most: usize) -> Shares {
        Shares { free: Arc::new(Semaphore::new(all)), most, held: Arc::default() }
    }

    /// A share of nothing yet.
    pub(super) fn of(&self, address: IpAddr) -> Share {
        let nothing = self.free.clone().try_acquire_many_owned(0);
        let permit = nothing.expect("there is always nothing to be had, and the semaphore is never closed");
        Share { of: self.clone(), address: network(address), count: 0, permit }
    }
}

impl Share {
    /// Takes so many more; false if there are none, or none for this address.
    pub(super) fn take(&mut self, count: usize) -> bool {
        let mut held = self.of.held.lock().expect("no panic happens while it is held");
        let now = held.get(&self.address).copied().unwrap_or_default().saturating_add(count);
        let wanted = u32::try_from(count).ok().filter(|_| now <= self.of.most);
        let Some(more) = wanted.and_then(|wanted| self.of.free.clone().try_acquire_many_owned(wanted).ok()) else {
            return false;
        };
        self.permit.merge(more);
        self.count += count;
        held.insert(self.address, now);
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.of.held.lock().expect("no panic happens while it is held");
        let left = held.get(&self.address).map_or(0, |held| held.saturating_sub(self.count));
        match left {
            0 => drop(held.remove(&self.address)),
            left => drop(held.insert(self.address, left)),
        }
    }
}

/// What counts as one address: with IPv6 a network of 64 bits, since one machine has all of it.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn one_address_cannot_take_everything_and_what_it_gives_back_is_there_again() {
        let shares = Shares::new(10, 6);
        let mut one = shares.of(address("192.0.2.1"));
        assert!(one.take(4));
        let mut again = shares.of(address("::ffff:192.0.2.1"));
        assert!(!again.take(3), "it is the same address");
        assert!(again.take(2));
        let mut other = shares.of(address("192.0.2.2"));
        assert!(!other.take(5), "there are four left");
        assert!(other.take(4));
        drop(one);
        assert!(again.take(4));
        drop((again, other));
        assert!(shares.held.lock().expect("nobody panicked").is_empty(), "nobody is remembered for ever");
    }

    #[test]
    fn all_addresses_of_one_network_are_one() {
        let networks = ["2001:db8:1:2::1", "2001:db8:1:2:ffff::1", "2001:db8:1:3::1"].map(|it| network(address(it)));
        assert_eq!(networks[0], networks[1]);
        assert_ne!(networks[0], networks[2]);
    }
}
