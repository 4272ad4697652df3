//! All combinations of classes, and the merging of classes that make no difference.

use std::collections::HashMap;

use wabe_abi::PolicyVerdict;

use super::{addresses::Prefixes, callers::Callers, intern, ports::Ports, verdict::Judge};

/// A verdict for each combination of classes before merging.
pub(super) struct Product {
    /// Callers, ports, addresses.
    sizes: [usize; 3],
    /// Numbers of verdicts; the last axis runs fastest.
    cells: Vec<u32>,
    verdicts: Vec<PolicyVerdict>,
}

/// What is left after merging.
pub(super) struct Merged<'a> {
    product: &'a Product,
    /// Callers, ports, addresses.
    pub(super) axes: [Axis; 3],
}

/// The classes of an axis after merging.
pub(super) struct Axis {
    /// Class before merging -> class. 0 stays 0.
    pub(super) map: Vec<usize>,
    /// Class -> a class before merging.
    kept: Vec<usize>,
}

impl Product {
    pub(super) fn new(callers: &Callers, ports: &Ports, prefixes: &Prefixes, judge: &Judge) -> Self {
        let sizes = [callers.classes.len(), ports.classes.len(), prefixes.classes.len()];
        let mut cells = vec![0; sizes.iter().product()];
        let (mut verdicts, mut numbers) = (Vec::new(), HashMap::new());
        for (caller, class) in callers.classes.iter().enumerate() {
            for (address, met) in prefixes.classes.iter().enumerate() {
                let sources = class.matching(met);
                for (port, met) in ports.classes.iter().enumerate() {
                    let verdict = judge.verdict(class.stranger, &sources, met);
                    let number = intern(&mut verdicts, &mut numbers, verdict);
                    cells[index(sizes, [caller, port, address])] = number as u32;
                }
            }
        }
        Self { sizes, cells, verdicts }
    }

    /// Merges classes of an axis that get the same verdicts whatever the other two are. One pass is enough: merging
    /// on one axis only drops repetitions, which tell nothing apart on another.
    pub(super) fn merge(&self) -> Merged<'_> {
        Merged { product: self, axes: [0, 1, 2].map(|axis| self.merge_axis(axis)) }
    }

    fn merge_axis(&self, axis: usize) -> Axis {
        let (mut numbers, mut kept) = (HashMap::new(), Vec::new());
        let map = (0..self.sizes[axis]).map(|class| {
            *numbers.entry(self.slice(axis, class)).or_insert_with(|| {
                kept.push(class);
                kept.len() - 1
            })
        });
        Axis { map: map.collect(), kept }
    }

    /// The verdicts of all combinations with this class.
    fn slice(&self, axis: usize, class: usize) -> Vec<u32> {
        let [second, third] = [(axis + 1) % 3, (axis + 2) % 3];
        let mut place = [0; 3];
        place[axis] = class;
        let mut slice = Vec::with_capacity(self.sizes[second] * self.sizes[third]);
        for other in 0..self.sizes[second] {
            for another in 0..self.sizes[third] {
                (place[second], place[third]) = (other, another);
                slice.push(self.cells[index(self.sizes, place)]);
            }
        }
        slice
    }
}

impl Merged<'_> {
    /// Classes of each axis.
    pub(super) fn sizes(&self) -> [usize; 3] {
        self.axes.each_ref().map(|axis| axis.kept.len())
    }

    /// The verdicts on all combinations of classes.
    pub(super) fn verdicts(&self) -> impl Iterator<Item = ([usize; 3], PolicyVerdict)> {
        let [callers, ports, addresses] = self.sizes();
        let all = (0..callers).flat_map(move |caller| {
            (0..ports).flat_map(move |port| (0..addresses).map(move |address| [caller, port, address]))
        });
        all.map(|classes| {
            let mut place = [0; 3];
            for axis in 0..3 {
                place[axis] = self.axes[axis].kept[classes[axis]];
            }
            let cell = self.product.cells[index(self.product.sizes, place)];
            (classes, self.product.verdicts[cell as usize])
        })
    }
}

fn index([_, ports, addresses]: [usize; 3], [caller, port, address]: [usize; 3]) -> usize {
    (caller * ports + port) * addresses + address
}
