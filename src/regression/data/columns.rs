//! Roles of the columns of a file without names, to find the features in other files of its kind.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Roles of the columns of a file without names in training, by index from 0. Columns without another role are features.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Columns {
    /// Number of columns; for svmlight without the target.
    pub width: usize,
    /// Target columns.
    pub targets: Vec<usize>,
    /// Column of sample weights.
    pub weight: Option<usize>,
    /// Column of offsets.
    pub offset: Option<usize>,
    /// Ignored columns.
    pub unused: Vec<usize>,
    /// Index of the first feature in an svmlight file.
    pub first_index: Option<usize>,
}

/// Kinds of columns that another file may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Feature,
    Target,
    Weight,
    Offset,
    Unused,
}

impl Columns {
    /// Whether the roles are consistent.
    pub fn is_valid(&self, features: usize) -> bool {
        let others: Vec<usize> = self.others().collect();
        let different: BTreeSet<usize> = others.iter().copied().collect();
        different.len() == others.len()
            && different.last().is_none_or(|&last| last < self.width)
            && self.width - others.len() == features
    }

    fn others(&self) -> impl Iterator<Item = usize> {
        let named = self.targets.iter().chain(&self.weight).chain(&self.offset);
        named.chain(&self.unused).copied()
    }

    fn kinds(&self) -> Vec<Kind> {
        let mut kinds = vec![Kind::Feature; self.width];
        self.targets.iter().for_each(|&place| kinds[place] = Kind::Target);
        self.weight.iter().for_each(|&place| kinds[place] = Kind::Weight);
        self.offset.iter().for_each(|&place| kinds[place] = Kind::Offset);
        self.unused.iter().for_each(|&place| kinds[place] = Kind::Unused);
        kinds
    }

    /// The possible indices of the features in a file with `width` columns, which may lack columns of other kinds: one
    /// entry per consistent interpretation. `offset` is the file's column of offsets.
    fn places(&self, width: usize, offset: Option<usize>) -> BTreeSet<Vec<usize>> {
        let kinds = self.kinds();
        let mut answers = BTreeSet::new();
        for lacks in 0..16 {
            let lacking = [Kind::Target, Kind::Weight, Kind::Offset, Kind::Unused];
            let lacks =
                |kind| lacking.iter().enumerate().any(|(i, &k)| k == kind && lacks >> i & 1 == 1);
            let there: Vec<Kind> = kinds.iter().copied().filter(|&kind| !lacks(kind)).collect();
            let of = |kind| (0..there.len()).filter(|&i| there[i] == kind).collect::<Vec<_>>();
            let own_offset = of(Kind::Offset).first().copied();
            if there.len() == width && own_offset == offset {
                answers.insert(of(Kind::Feature));
            }
        }
        answers
    }

    fn described(&self) -> String {
        let columns = |places: &[usize]| {
            let names: Vec<String> =
                places.iter().take(20).map(|place| format!("x{}", place + 1)).collect();
            let more = if places.len() > 20 { ", …" } else { "" };
            format!("{}{more}", names.join(", "))
        };
        let kinds = self.kinds();
        let features: Vec<usize> = (0..self.width).filter(|&i| kinds[i] == Kind::Feature).collect();
        let mut parts = vec![format!("features {}", columns(&features))];
        for (what, places) in [
            ("target", &self.targets[..]),
            ("weight", self.weight.as_slice()),
            ("offset", self.offset.as_slice()),
            ("ignored", &self.unused),
        ] {
            if !places.is_empty() {
                parts.push(format!("{what} {}", columns(places)));
            }
        }
        format!("{} columns ({})", self.width, parts.join("; "))
    }
}

/// Finds the indices of a model's features in a file of `width` columns without names. `separate`: the targets are not
/// columns (svmlight); `offset` is the file's column of offsets.
pub fn features_of(
    width: usize,
    separate: bool,
    features: &[String],
    trained: Option<&Columns>,
    offset: Option<usize>,
) -> Result<Vec<usize>, String> {
    let count = features.len();
    let alone: Vec<usize> = (0..width).filter(|&place| Some(place) != offset).collect();
    let same_kind = trained.filter(|trained| trained.first_index.is_some() == separate);
    let mut answers = same_kind.map_or_else(BTreeSet::new, |trained| trained.places(width, offset));
    if alone.len() == count && answers.is_empty() {
        answers.insert(alone);
    }
    if trained.is_none() && answers.is_empty() {
        answers.extend(places_by_name(features, width, offset));
    }
    let mut answers = answers.into_iter();
    match (answers.next(), answers.next()) {
        (Some(places), None) => Ok(places),
        (found, _) => {
            let trained = match trained {
                Some(trained) => format!("the model was trained on {}", trained.described()),
                None => format!("the model identifies its {count} features by name"),
            };
            let why = if found.is_some() {
                "it is ambiguous which columns are the features"
            } else {
                "these do not match"
            };
            Err(format!("has {width} columns without names, but {trained}: {why}"))
        }
    }
}

/// The indices of features named x1, x2, …, as the columns of a file without names.
fn places_by_name(features: &[String], width: usize, offset: Option<usize>) -> Option<Vec<usize>> {
    let place = |name: &String| {
        let number: usize = name.strip_prefix('x')?.parse().ok()?;
        let place = number.checked_sub(1)?;
        (place < width && Some(place) != offset).then_some(place)
    };
    let places: Vec<usize> = features.iter().map(place).collect::<Option<_>>()?;
    (places.iter().collect::<BTreeSet<_>>().len() == places.len()).then_some(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|i| format!("f{i}")).collect()
    }

    fn trained(
        width: usize,
        targets: &[usize],
        weight: Option<usize>,
        offset: Option<usize>,
    ) -> Columns {
        Columns { width, targets: targets.into(), weight, offset, ..Columns::default() }
    }

    #[test]
    fn features_keep_their_places_and_may_be_alone() {
        let target_first = trained(3, &[0], None, None);
        let places = |width| features_of(width, false, &names(2), Some(&target_first), None);
        assert_eq!((places(3), places(2)), (Ok(vec![1, 2]), Ok(vec![0, 1])));
        for width in [1, 4, 5] {
            let error = places(width).unwrap_err();
            assert!(error.starts_with(&format!("has {width} columns")), "{error}");
            assert!(error.contains("3 columns (features x2, x3; target x1)"), "{error}");
        }
    }

    #[test]
    fn places_that_are_not_certain_are_refused() {
        let both_ends = trained(4, &[0], Some(3), None);
        let places = |width| features_of(width, false, &names(2), Some(&both_ends), None);
        assert_eq!((places(4), places(2)), (Ok(vec![1, 2]), Ok(vec![0, 1])));
        assert!(places(3).unwrap_err().contains("ambiguous"));
        // The features have the same indices, whichever of the two is missing.
        let behind = trained(4, &[2], Some(3), None);
        assert_eq!(features_of(3, false, &names(2), Some(&behind), None), Ok(vec![0, 1]));
    }

    #[test]
    fn an_offset_is_where_it_is_said_to_be() {
        let trained = trained(4, &[0], None, Some(2));
        let places = |width, offset| features_of(width, false, &names(2), Some(&trained), Some(offset));
        assert_eq!(places(4, 2), Ok(vec![1, 3]));
        assert_eq!(places(3, 1), Ok(vec![0, 2]));
        assert_eq!(places(3, 0), Ok(vec![1, 2]));
        assert!(places(4, 0).is_err());
    }

    #[test]
    fn a_model_that_knows_names_takes_a_file_of_its_features_alone() {
        assert_eq!(features_of(2, false, &names(2), None, None), Ok(vec![0, 1]));
        assert!(features_of(3, false, &names(2), None, None).is_err());
        let numbered = ["x2", "x3"].map(String::from);
        assert_eq!(features_of(3, false, &numbered, None, None), Ok(vec![1, 2]));
        assert_eq!(features_of(2, false, &numbered, None, None), Ok(vec![0, 1]));
    }
}
