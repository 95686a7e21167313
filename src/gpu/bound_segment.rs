//! Segments that one dispatch binds: a piece of a tensor, or neighbours in an arena.

use super::arena::BLOCK;
use super::shader::Layout;
use super::span::{Limits, Piece, Span, pieces};
use crate::Rule;

/// Elements within one binding, with a state of their own.
#[derive(Debug)]
pub struct BoundSegment {
    pub params: Span,
    pub grads: Span,
    /// The owners: for each tensor its first element in this segment, and the number of its elements here.
    pub tensors: Vec<(usize, u64, u64)>,
    pub rule: Rule,
    /// Whether they lie in an arena, where a block has one owner.
    pub packed: bool,
}

impl BoundSegment {
    /// A tensor of an arena, with the padding after it.
    pub fn packed(params: &Span, grads: &Span, tensor: usize, rule: Rule) -> Self {
        let len = params.len.next_multiple_of(BLOCK);
        BoundSegment {
            params: Span { len, ..params.clone() },
            grads: Span { len, ..grads.clone() },
            tensors: vec![(tensor, 0, params.len)],
            rule,
            packed: true,
        }
    }

    /// Whether `next` starts at the end of this segment.
    pub fn is_followed_by(&self, next: &BoundSegment) -> bool {
        self.params.buffer == next.params.buffer
            && self.params.offset + self.params.len * 4 == next.params.offset
    }

    /// Appends a segment that starts at the end of this one.
    pub fn join(&mut self, next: BoundSegment) {
        let at = self.params.len;
        self.tensors.extend(next.tensors.iter().map(|&(tensor, first, len)| (tensor, at + first, len)));
        self.params.len += next.params.len;
        self.grads.len += next.grads.len;
    }

    /// The length of each plane of its state.
    pub fn plane_len(&self, limits: &Limits) -> u64 {
        self.params.len.next_multiple_of(limits.quantum_len())
    }

    /// The dispatches: whole vectors, and the rest.
    pub fn dispatches(&self, limits: &Limits) -> Vec<(Layout, Piece)> {
        let all = Piece { first: 0, len: self.params.len };
        let layout = if self.packed { Layout::Arena } else { Layout::Span };
        let vectors = all.vectors().map(|piece| (layout, piece));
        let tail = all.tail(limits).map(|piece| (Layout::Tail, piece));
        vectors.into_iter().chain(tail).collect()
    }

    /// Cuts a segment of an arena where a binding ends.
    pub fn cut(&self, planes: u64, limits: &Limits) -> Vec<BoundSegment> {
        let blocks = Limits { alignment: limits.alignment.max(BLOCK * 4), ..*limits };
        let mut tensors = self.tensors.iter().copied().peekable();
        let cut = |piece: Piece| {
            let end = piece.first + piece.len;
            let mut within = Vec::new();
            while let Some(&(tensor, at, len)) = tensors.peek().filter(|(_, at, _)| *at < end) {
                let (from, to) = (at.max(piece.first), (at + len).min(end));
                if from < to {
                    within.push((tensor, from - piece.first, to - from));
                }
                if at + len > end {
                    break;
                }
                tensors.next();
            }
            let (params, grads) = (self.params.part(piece), self.grads.part(piece));
            BoundSegment { params, grads, tensors: within, rule: self.rule, packed: true }
        };
        pieces(self.params.len, planes, &blocks).map(cut).collect()
    }

    /// For every block its tensor, and how many of its elements are the tensor's.
    pub fn owners(&self) -> Vec<u32> {
        let mut owners = vec![0; (self.params.len / BLOCK) as usize];
        for &(tensor, at, len) in &self.tensors {
            for block in at / BLOCK..(at + len).div_ceil(BLOCK) {
                let used = (at + len - block * BLOCK).min(BLOCK);
                owners[block as usize] = (tensor as u32) << 7 | used as u32;
            }
        }
        owners
    }
}
