//! The shape of a sum over a batch: a binary tree over units, which are runs of consecutive rows.
//!
//! A unit is [`BLOCK`](super::reference::gradient::BLOCK) rows on the processor and
//! [`segment_rows`](super::kernels::GradientLayout::segment_rows) on a device, counted from the first row of the batch.
//! A node is the sum of its left half and its right half, in this order, or its left half alone where the batch ends
//! before the right one begins. So the number of units determines every addition, and the bits of the sum do not depend
//! on who adds: any run of consecutive units consists of a few nodes, and nodes of several processes merge to the same
//! root.
//!
//! Units that come in order are added like the carries of a binary counter: unit i completes a node for every trailing
//! one of i.

use super::Batch;
use std::ops::Range;

/// A node of the tree over the units of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// The level, from 0: that of the units.
    pub level: u32,
    /// The place in the level, from 0.
    pub index: u64,
}

impl Node {
    /// The units of the node in a batch of `units` units; none past the end of the batch.
    pub fn units(&self, units: u64) -> Range<u64> {
        let start = |index: u128| (index << self.level.min(64)).min(units.into()) as u64;
        start(self.index.into())..start(u128::from(self.index) + 1)
    }

    /// The rows of the node in a batch of units of `unit_rows` rows; none past the end of the batch.
    pub fn rows(&self, batch: &Batch, unit_rows: u64) -> Batch {
        let units = self.units(batch.rows.div_ceil(unit_rows));
        let [start, end] =
            [units.start, units.end].map(|unit| unit.saturating_mul(unit_rows).min(batch.rows));
        Batch { first: batch.first + start, rows: end - start, ..*batch }
    }

    /// The node of which this one is a half.
    fn parent(&self) -> Node {
        Node { level: self.level + 1, index: self.index / 2 }
    }

    fn is_right(&self) -> bool {
        self.index % 2 == 1
    }
}

/// The level of the root over `units` units: the longest chain of additions between a unit and the sum of all.
pub fn root_level(units: u64) -> u32 {
    u64::BITS - units.saturating_sub(1).leading_zeros()
}

/// The level of the largest node whose last unit is `unit`, counted from 0. No node of this level waits for its right half
/// then, so at the end of a batch its place is free for the root.
pub fn completed_level(unit: u64) -> u32 {
    unit.trailing_ones()
}

/// The places that the sums of `units` units need while they are added in order: one for every level of which a node waits
/// for its right half, and one for the root.
pub fn levels(units: u64) -> u32 {
    units.max(1).ilog2() + 1
}

/// The fewest nodes that consist of the units `range` of a batch of `units` units, from left to right.
pub fn cover(units: u64, range: Range<u64>) -> Vec<Node> {
    let end = range.end.min(units);
    let (mut at, mut nodes) = (range.start, Vec::new());
    while at < end {
        let mut node = Node { level: 0, index: at };
        while node.level < root_level(units) && !node.is_right() && node.parent().units(units).end <= end
        {
            node = node.parent();
        }
        at = node.units(units).end;
        nodes.push(node);
    }
    nodes
}

/// The sum over a batch of `units` units from the sums of nodes, which must come from left to right and cover every
/// unit once; `None` if they do not. `add` adds the right half to the left one.
pub fn merge<T>(
    units: u64,
    nodes: impl IntoIterator<Item = (Node, T)>,
    mut add: impl FnMut(T, T) -> T,
) -> Option<T> {
    // Left halves, whose levels descend.
    let mut left_halves: Vec<T> = Vec::new();
    let mut next = 0;
    for (mut node, mut sum) in nodes {
        let covered = node.units(units);
        if covered.is_empty() || covered.start != next {
            return None;
        }
        next = covered.end;
        while node.is_right() {
            sum = add(left_halves.pop()?, sum);
            node = node.parent();
        }
        left_halves.push(sum);
    }
    let complete = next == units;
    let root = left_halves.into_iter().rev().reduce(|right, left| add(left, right));
    root.filter(|_| complete)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Values whose sums round, so that another order has other bits.
    fn unit(i: u64) -> f32 {
        ((i * 2_654_435_761 % 1009) as f32 / 1009.0 - 0.4) * (i % 13 + 1) as f32
    }

    /// The sum of a node by its definition.
    fn sum(units: u64, node: Node) -> f32 {
        let covered = node.units(units);
        if node.level == 0 || covered.end - covered.start == 1 {
            return unit(covered.start);
        }
        let half = |index| Node { level: node.level - 1, index };
        let (left, right) = (half(2 * node.index), half(2 * node.index + 1));
        match right.units(units).is_empty() {
            true => sum(units, left),
            false => sum(units, left) + sum(units, right),
        }
    }

    fn root(units: u64) -> f32 {
        sum(units, Node { level: root_level(units), index: 0 })
    }

    /// The sum by a binary counter with a plane for every level, as `shaders/gradient/reduce.wgsl` keeps them.
    fn counted(units: u64) -> f32 {
        let mut planes = vec![f32::NAN; levels(units) as usize];
        for i in 0..units {
            let last = i + 1 == units;
            let lefts = if last { i } else { i & !(i + 1) };
            let total = (0..u64::BITS)
                .filter(|level| lefts >> level & 1 == 1)
                .fold(unit(i), |total, level| planes[level as usize] + total);
            planes[completed_level(i) as usize] = total;
        }
        planes[completed_level(units - 1) as usize]
    }

    /// Covers of the runs between `cuts`, in order.
    fn covers(units: u64, cuts: &[u64]) -> Vec<Node> {
        let ends = cuts.iter().copied().chain([units]);
        let starts = [0].into_iter().chain(cuts.iter().copied());
        starts.zip(ends).flat_map(|(start, end)| cover(units, start..end)).collect()
    }

    fn merged(units: u64, nodes: &[Node]) -> Option<f32> {
        let sums = nodes.iter().map(|&node| (node, sum(units, node)));
        merge(units, sums, |left, right| left + right)
    }

    #[track_caller]
    fn check(units: u64, cuts: &[u64]) {
        let nodes = covers(units, cuts);
        let mut next = 0;
        for node in &nodes {
            let covered = node.units(units);
            assert_eq!(covered.start, next, "{units} units, {cuts:?}: {nodes:?}");
            assert!(covered.end > next);
            next = covered.end;
        }
        assert_eq!(next, units);
        let merged = merged(units, &nodes).map(f32::to_bits);
        assert_eq!(merged, Some(root(units).to_bits()), "{units} units, {cuts:?}");
    }

    proptest! {
        #[test]
        fn runs_of_units_merge_to_the_root(units in 1..3000u64, cuts in prop::collection::vec(0.0..=1.0, 0..12)) {
            let mut cuts: Vec<u64> = cuts.into_iter().map(|cut: f64| (cut * units as f64) as u64).collect();
            cuts.sort_unstable();
            check(units, &cuts);
        }

        /// No two neighbours of a cover are halves of one node, and no node could be larger.
        #[test]
        fn covers_are_the_fewest_nodes(units in 1..2000u64, a in 0..2000u64, b in 0..2000u64) {
            let range = a.min(b).min(units)..a.max(b).min(units);
            let nodes = cover(units, range.clone());
            for node in &nodes {
                let parent = node.parent().units(units);
                let within = range.start <= parent.start && parent.end <= range.end;
                prop_assert!(node.level == root_level(units) || !within, "{:?} of {:?}", node, nodes);
            }
            prop_assert!(nodes.len() <= 2 * root_level(units).max(1) as usize);
        }
    }

    #[test]
    fn shares_of_any_number_of_processes_merge_to_the_root() {
        let powers = (0..11).map(|k| 1u64 << k);
        let counts = powers.flat_map(|n| [n.saturating_sub(1).max(1), n, n + 1]).chain([97, 1000]);
        for units in counts {
            for processes in [1, 2, 3, 4, 7, 8, 16, 61] {
                let cuts: Vec<u64> = (1..processes).map(|r| units * r / processes).collect();
                check(units, &cuts);
            }
        }
    }

    #[test]
    fn a_counter_has_the_bits_of_the_definition() {
        for units in 1..=300 {
            assert_eq!(counted(units).to_bits(), root(units).to_bits(), "{units} units");
        }
        let chain = |units| (1..units).fold(unit(0), |sum, i| sum + unit(i));
        let others = (1..=300).filter(|&units| chain(units).to_bits() != root(units).to_bits());
        assert!(others.count() > 200, "another order would not be seen");
    }

    #[test]
    fn a_batch_that_ends_within_a_node_is_its_left_half() {
        let node = |level, index| Node { level, index };
        assert_eq!(cover(5, 0..5), [node(3, 0)]);
        assert_eq!(cover(5, 3..5), [node(0, 3), node(2, 1)]);
        assert_eq!(cover(8, 1..7), [node(0, 1), node(1, 1), node(1, 2), node(0, 6)]);
        assert_eq!(cover(1, 0..1), [node(0, 0)]);
        assert_eq!([cover(4, 2..2), cover(0, 0..9), cover(4, 4..9)], [[], [], []]);
        assert_eq!([1, 2, 3, 4, 5, 8, 9].map(root_level), [0, 1, 2, 2, 3, 3, 4]);
        assert_eq!([1, 2, 3, 4, 5, 8, 9].map(levels), [1, 2, 2, 3, 3, 4, 4]);
    }

    #[test]
    fn nodes_that_leave_out_or_repeat_a_unit_have_no_sum() {
        let node = |level, index| Node { level, index };
        assert!(merged(4, &[node(1, 0), node(1, 1)]).is_some());
        for nodes in [
            &[][..],
            &[node(1, 0)],
            &[node(1, 1)],
            &[node(0, 0), node(1, 1)],
            &[node(1, 0), node(1, 0), node(1, 1)],
            &[node(1, 1), node(1, 0)],
            &[node(2, 0), node(0, 4)],
        ] {
            assert_eq!(merge(4, nodes.iter().map(|&node| (node, 1)), |a, b| a + b), None, "{nodes:?}");
        }
    }

    #[test]
    fn the_largest_batches_have_nodes() {
        let whole = cover(u64::MAX, 0..u64::MAX);
        assert_eq!(whole, [Node { level: 64, index: 0 }]);
        assert_eq!(whole[0].units(u64::MAX), 0..u64::MAX);
        let ends = cover(u64::MAX, 1..u64::MAX);
        assert_eq!(ends.last().map(|node| node.units(u64::MAX).end), Some(u64::MAX));
    }
}
