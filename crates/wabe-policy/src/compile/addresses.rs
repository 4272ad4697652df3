//! Classes of source addresses, and the trie that tells them apart.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::{IpAddr, Ipv6Addr},
};

use ipnet::IpNet;
use wabe_abi::PrefixKey;
use wabe_model::Source;

use super::{Bits, FlatRule, intern};

/// The demand on an address that any address meets.
pub(super) const ANYWHERE: usize = 0;

/// All of IPv4.
const IPV4: Block = Block { base: 0xffff_0000_0000, length: 96 };

/// The address lists that rules have. A different pair of lists is a demand of its own.
pub(super) struct Addresses {
    demands: Vec<(Vec<Block>, Vec<Block>)>,
    numbers: HashMap<(Vec<Block>, Vec<Block>), usize>,
    blocks: HashSet<Block>,
}

/// Classes before merging: which demands an address meets.
pub(super) struct Prefixes {
    /// Class 0 is that of an address in no block.
    pub(super) classes: Vec<Bits>,
    /// Blocks with their classes, each before those inside it.
    nodes: Vec<(Block, usize)>,
}

/// A range of addresses; IPv4 as mapped. Ordered so that a block precedes those inside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Block {
    base: u128,
    length: u8,
}

impl Addresses {
    pub(super) fn new(rules: &[FlatRule<'_>]) -> Self {
        let nowhere_special = (Vec::new(), Vec::new());
        let mut addresses = Self {
            demands: vec![nowhere_special.clone()],
            numbers: HashMap::from([(nowhere_special, ANYWHERE)]),
            blocks: HashSet::new(),
        };
        for source in rules.iter().flat_map(|rule| rule.rule.from.iter().chain(&rule.rule.when_sources)) {
            let lists = lists(source);
            addresses.blocks.extend(lists.0.iter().chain(&lists.1));
            intern(&mut addresses.demands, &mut addresses.numbers, lists);
        }
        addresses
    }

    /// How many different blocks the rules name.
    pub(super) fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// The number of the demand that a source of one of the rules makes on the address.
    pub(super) fn demand(&self, source: &Source) -> usize {
        *self.numbers.get(&lists(source)).expect("invariant: all sources were looked at when this was made")
    }

    /// Walks the blocks from the widest to the narrowest and notes which demands are met within each.
    pub(super) fn classes(&self) -> Prefixes {
        let count = self.demands.len();
        let mut without_list = Bits::none(count);
        let mut named: BTreeMap<Block, Named> = BTreeMap::from([(IPV4, Named::none(count))]);
        for (number, (wanted, unwanted)) in self.demands.iter().enumerate() {
            if wanted.is_empty() {
                without_list.insert(number);
            }
            for block in wanted {
                named.entry(*block).or_insert_with(|| Named::none(count)).wanted.insert(number);
            }
            for block in unwanted {
                named.entry(*block).or_insert_with(|| Named::none(count)).unwanted.insert(number);
            }
        }

        let (mut classes, mut numbers, mut nodes) = (Vec::new(), HashMap::new(), Vec::new());
        intern(&mut classes, &mut numbers, without_list.clone());
        let mut around: Vec<(Block, Named)> = Vec::new();
        for (block, here) in named {
            while around.pop_if(|(outer, _)| !outer.contains(&block)).is_some() {}
            let inherited = around.last().filter(|_| block != IPV4);
            let here = match inherited {
                Some((_, outer)) => here.within(outer),
                None => here,
            };
            let met = without_list.union(&here.wanted).minus(&here.unwanted);
            nodes.push((block, intern(&mut classes, &mut numbers, met)));
            around.push((block, here));
        }
        Prefixes { classes, nodes }
    }
}

impl Prefixes {
    /// The trie's entries, where `class` maps classes before merging to the final ones. An entry that says what the
    /// next wider one says already is left out.
    pub(super) fn trie(&self, class: impl Fn(usize) -> u16) -> BTreeMap<PrefixKey, u16> {
        let mut trie = BTreeMap::new();
        let mut around: Vec<(Block, u16)> = Vec::new();
        for (block, old) in &self.nodes {
            while around.pop_if(|(outer, _)| !outer.contains(block)).is_some() {}
            let inherited = around.last().map_or(0, |(_, class)| *class);
            let class = class(*old);
            if class != inherited {
                trie.insert(block.key(), class);
            }
            around.push((*block, class));
        }
        trie
    }
}

/// The demands whose lists have a block, or one around it.
struct Named {
    wanted: Bits,
    unwanted: Bits,
}

impl Named {
    fn none(count: usize) -> Self {
        Self { wanted: Bits::none(count), unwanted: Bits::none(count) }
    }

    fn within(&self, outer: &Self) -> Self {
        Self { wanted: self.wanted.union(&outer.wanted), unwanted: self.unwanted.union(&outer.unwanted) }
    }
}

impl Block {
    fn of(net: &IpNet) -> Self {
        let (base, length) = match net {
            IpNet::V4(net) => (net.network().to_ipv6_mapped(), net.prefix_len() + 96),
            IpNet::V6(net) => (net.network(), net.prefix_len()),
        };
        Self { base: base.to_bits(), length }
    }

    fn contains(&self, other: &Self) -> bool {
        let differing = (self.base ^ other.base).leading_zeros();
        self.length <= other.length && differing >= u32::from(self.length)
    }

    fn key(&self) -> PrefixKey {
        PrefixKey {
            bits: 32 + u32::from(self.length),
            table: 0,
            address: IpAddr::V6(Ipv6Addr::from_bits(self.base)).into(),
        }
    }
}

fn lists(source: &Source) -> (Vec<Block>, Vec<Block>) {
    let sorted = |nets: &[IpNet]| {
        let mut blocks: Vec<_> = nets.iter().map(Block::of).collect();
        blocks.sort_unstable();
        blocks.dedup();
        blocks
    };
    (sorted(&source.ip_blocks), sorted(&source.not_ip_blocks))
}
