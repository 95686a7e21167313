//! Random damage to the bytes of a file.

use proptest::prelude::*;

/// A position, as a fraction of the file.
type Place = std::ops::Range<f64>;
const PLACE: Place = 0.0..1.0;

/// One change.
#[derive(Clone, Debug)]
pub enum Damage {
    Flip(f64, u8),
    Replace(f64, u8),
    Insert(f64, Vec<u8>),
    Remove(f64, usize),
    Truncate(f64),
    /// Overwrites bytes by the largest number, or by 0.
    Extreme(f64, usize, bool),
    /// Copies a part over another part, or inserts it.
    Splice {
        from: f64,
        length: usize,
        to: f64,
        over: bool,
    },
}

/// A few changes, one after another.
pub fn damage() -> impl Strategy<Value = Vec<Damage>> {
    use Damage::*;
    let one = prop_oneof![
        (PLACE, 0..8u8).prop_map(|(at, bit)| Flip(at, bit)),
        (PLACE, any::<u8>()).prop_map(|(at, byte)| Replace(at, byte)),
        (PLACE, prop::collection::vec(any::<u8>(), 1..10)).prop_map(|(at, bytes)| Insert(at, bytes)),
        (PLACE, 1..40usize).prop_map(|(at, length)| Remove(at, length)),
        PLACE.prop_map(Truncate),
        (PLACE, prop::sample::select(vec![1usize, 2, 4, 8]), any::<bool>())
            .prop_map(|(at, length, most)| Extreme(at, length, most)),
        (PLACE, 1..60usize, PLACE, any::<bool>()).prop_map(|(from, length, to, over)| Splice {
            from,
            length,
            to,
            over
        }),
    ];
    prop::collection::vec(one, 1..6)
}

/// Applies the damage to a file.
pub fn damaged(mut bytes: Vec<u8>, damage: &[Damage]) -> Vec<u8> {
    for change in damage {
        let place = |at: &f64| (at * bytes.len() as f64) as usize;
        let part = |at: &f64, length: usize| place(at)..(place(at) + length).min(bytes.len());
        match change {
            Damage::Flip(at, bit) => {
                let at = place(at);
                bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= 1 << bit);
            }
            Damage::Replace(at, by) => {
                let at = place(at);
                bytes.get_mut(at).into_iter().for_each(|byte| *byte = *by);
            }
            Damage::Insert(at, more) => {
                let at = place(at);
                bytes.splice(at..at, more.iter().copied());
            }
            Damage::Remove(at, length) => drop(bytes.drain(part(at, *length))),
            Damage::Truncate(at) => bytes.truncate(place(at)),
            Damage::Extreme(at, length, most) => {
                let part = part(at, *length);
                bytes[part].fill(if *most { 0xFF } else { 0 });
            }
            Damage::Splice { from, length, to, over } => {
                let copy = bytes[part(from, *length)].to_vec();
                let to = part(to, if *over { copy.len() } else { 0 });
                bytes.splice(to, copy);
            }
        }
    }
    bytes
}
