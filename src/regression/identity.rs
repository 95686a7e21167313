//! The identity of a problem, for checkpoints.

use super::{Problem, ProblemError, Source};
use serde_json::{Value, json};

/// Numbers per block of the checksum.
const TOGETHER: usize = 1 << 20;

impl Problem {
    /// Returns the fields that identify the problem: its extents, its origin, and, unless it is synthetic, a checksum of
    /// all rows as training uses them, which takes a pass over them. The location is not part of it.
    ///
    /// # Errors
    /// [`ProblemError`] if the rows cannot be read.
    pub fn identity(&self) -> Result<Value, ProblemError> {
        let mut identity = json!({
            "rows": self.rows,
            "features": self.features,
            "targets": self.targets,
            "weighted": self.weighted,
            "offset": self.offset,
            "names": self.names,
            "target_names": self.target_names,
            "classes": self.classes,
            "standardized": self.scaling.is_some(),
        });
        if let Some(names) = &self.class_names {
            identity["class_names"] = json!(names);
        }
        match &self.source {
            Source::Synthetic(_, _, options) => {
                identity["kind"] = "synthetic".into();
                identity["synthetic"] = json!(options);
            }
            Source::Table { .. } | Source::File(_) => {
                identity["kind"] = "rows".into();
                identity["checksum"] = json!(format!("crc32 {:08x}", self.checksum()?));
            }
        }
        Ok(identity)
    }

    fn checksum(&self) -> Result<u32, ProblemError> {
        let mut hasher = crc32fast::Hasher::new();
        let part = (TOGETHER / (self.features + self.aux_columns())).max(1) as u64;
        let (mut x, mut aux) = (Vec::<f32>::new(), Vec::<f32>::new());
        for first in (0..self.rows).step_by(part as usize) {
            let rows = part.min(self.rows - first) as usize;
            x.resize(rows * self.features, 0.0);
            aux.resize(rows * self.aux_columns(), 0.0);
            self.fill(first, &mut x, &mut aux)?;
            hasher.update(bytemuck::cast_slice(&x));
            hasher.update(bytemuck::cast_slice(&aux));
        }
        Ok(hasher.finalize())
    }
}
