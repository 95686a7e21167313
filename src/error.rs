/// An error of the library. Every message names the value and the limit; errors are found before wgpu would report
/// them.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A hyper-parameter is outside its range.
    #[error("{rule}: {field} is {value:?}, which is outside its range: {range}")]
    HyperParameter {
        /// The rule's name.
        rule: &'static str,
        /// The field's name.
        field: &'static str,
        /// The given value.
        value: f64,
        /// The permitted range.
        range: &'static str,
    },
    /// An option that the rule does not support.
    #[error("{rule}: {field} is {value}, but must be {range}")]
    Option {
        /// The rule's name.
        rule: &'static str,
        /// The field's name.
        field: &'static str,
        /// The given value.
        value: &'static str,
        /// The permitted values.
        range: &'static str,
    },
    /// A learning-rate table with no entry, or with an entry that is not a finite number ≥ 0.
    #[error(
        "learning-rate table: {}; there must be at least one entry, and every entry must be finite and ≥ 0",
        .value.map_or("it is empty".into(), |value| format!("entry {index} of {length} is {value:?}"))
    )]
    LearningRates {
        /// Index of the first invalid entry.
        index: usize,
        /// Number of entries.
        length: usize,
        /// Value of the entry; `None` if the table is empty.
        value: Option<f32>,
    },
    /// A span's offset is not a multiple of the device's alignment.
    #[error("{what}: offset {offset} is not a multiple of {alignment} bytes")]
    Misaligned {
        /// The span.
        what: String,
        /// Its offset in bytes.
        offset: u64,
        /// The larger of `min_storage_buffer_offset_alignment` and 16.
        alignment: u64,
    },
    /// A span ends past its buffer.
    #[error("{what}: ends at byte {end} of a buffer of {size} bytes")]
    OutOfBounds {
        /// The span.
        what: String,
        /// End of the span, in bytes.
        end: u64,
        /// The buffer's size in bytes.
        size: u64,
    },
    /// A buffer lacks a required usage.
    #[error("{what}: the buffer has the usages {has:?}, but needs {needs:?}")]
    MissingUsage {
        /// The span.
        what: String,
        /// The usages of the buffer.
        has: wgpu::BufferUsages,
        /// The required usages.
        needs: wgpu::BufferUsages,
    },
    /// A span or list has another length than required.
    #[error("{what}: {actual} elements instead of {expected}")]
    Length {
        /// The span.
        what: String,
        /// Its length in elements.
        actual: u64,
        /// The required length.
        expected: u64,
    },
    /// Two spans overlap, and at least one of them is written.
    #[error("{first} and {second} overlap in the same buffer")]
    Overlap {
        /// One span.
        first: String,
        /// The other.
        second: String,
    },
    /// A limit of the device is too small.
    #[error("the device's {limit} is {available}, but {needed} is required{}", .hint)]
    Limit {
        /// The limit's name in wgpu.
        limit: &'static str,
        /// The device's limit.
        available: u64,
        /// The required value.
        needed: u64,
        /// The end of the message: the purpose, or a way out.
        hint: &'static str,
    },
    /// A tensor or parameter group that does not exist.
    #[error("{what} {index} does not exist: there are {count}")]
    Index {
        /// The kind of item.
        what: &'static str,
        /// Its index, from 0.
        index: usize,
        /// Number of items.
        count: usize,
    },
    /// Two tensors with the same name.
    #[error("more than one tensor is named `{name}`")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// An unsupported shape of a regression.
    #[error("{what} is {value}, but must be {range}")]
    Shape {
        /// The extent.
        what: &'static str,
        /// Its value.
        value: u64,
        /// The permitted range.
        range: &'static str,
    },
    /// A saved state belongs to another optimizer.
    #[error("state mismatch: {field} is {saved} in the state and {current} in this optimizer")]
    Mismatch {
        /// The field that differs.
        field: String,
        /// Its value in the state.
        saved: String,
        /// Its value in this optimizer.
        current: String,
    },
    /// The device or the host is out of memory.
    #[error("out of memory for {what}: {reason}")]
    OutOfMemory {
        /// The purpose of the allocation.
        what: &'static str,
        /// The size, or the device's message.
        reason: String,
    },
    /// The device was lost, or failed in a way after which its results cannot be trusted.
    #[error("the device was lost: {0}")]
    DeviceLost(String),
    /// Reading a buffer back failed: the device was lost, or the buffer could not be mapped.
    #[error("reading back from the device failed: {0}")]
    ReadBack(String),
}
