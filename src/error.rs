/// What the library refuses, and why. Every message names the value and the limit, and comes before
/// wgpu would complain.
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
        /// What it was set to.
        value: f64,
        /// What it may be.
        range: &'static str,
    },
    /// An option that the rule does not have.
    #[error("{rule}: {field} is {value}, which is none of: {range}")]
    Option {
        /// The rule's name.
        rule: &'static str,
        /// The field's name.
        field: &'static str,
        /// What it was set to.
        value: &'static str,
        /// What it may be.
        range: &'static str,
    },
    /// A learning-rate table with no entry, or with an entry that is not a finite number ≥ 0.
    #[error(
        "learning-rate table: {}; every entry must be finite and ≥ 0, and there must be at least one",
        .value.map_or("it has no entry".into(), |value| format!("entry {index} of {length} is {value:?}"))
    )]
    LearningRates {
        /// The first bad entry.
        index: usize,
        /// How many entries there are.
        length: usize,
        /// Its value, or `None` where the table is empty.
        value: Option<f32>,
    },
    /// A span's offset is not a multiple of what the device asks for.
    #[error("{what}: offset {offset} is not a multiple of {alignment} bytes")]
    Misaligned {
        /// Which span.
        what: String,
        /// Its offset in bytes.
        offset: u64,
        /// `min_storage_buffer_offset_alignment`, or 16 if that is less.
        alignment: u64,
    },
    /// A span ends past its buffer.
    #[error("{what}: ends at byte {end} of a buffer of {size} bytes")]
    OutOfBounds {
        /// Which span.
        what: String,
        /// Where the span ends, in bytes.
        end: u64,
        /// The buffer's size in bytes.
        size: u64,
    },
    /// A buffer was created without a usage that is needed.
    #[error("{what}: the buffer has usages {has:?} and needs {needs:?}")]
    MissingUsage {
        /// Which span.
        what: String,
        /// The usages it was created with.
        has: wgpu::BufferUsages,
        /// The usages that it needs.
        needs: wgpu::BufferUsages,
    },
    /// Two spans that belong together differ in length.
    #[error("{what}: {actual} elements where there should be {expected}")]
    Length {
        /// Which span.
        what: String,
        /// Its length in elements.
        actual: u64,
        /// The length it should have.
        expected: u64,
    },
    /// Two spans share bytes, of which at least one is written.
    #[error("{first} and {second} overlap in the same buffer")]
    Overlap {
        /// One span.
        first: String,
        /// The other.
        second: String,
    },
    /// The device allows less than is needed.
    #[error("the device's {limit} is {available}, and {needed} is needed{}", .hint)]
    Limit {
        /// The limit's name in wgpu.
        limit: &'static str,
        /// What the device allows.
        available: u64,
        /// What is needed.
        needed: u64,
        /// How the sentence goes on: what it is for, or what to do about it.
        hint: &'static str,
    },
    /// A tensor, or a parameter group, that does not exist.
    #[error("there is no {what} {index}: there are {count}")]
    Index {
        /// Of what kind.
        what: &'static str,
        /// Its number, from 0.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// A name that more than one tensor has.
    #[error("there is more than one tensor named `{name}`")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A regression whose shape cannot be computed with.
    #[error("{what} is {value}, and must be {range}")]
    Shape {
        /// Which extent.
        what: &'static str,
        /// Its value.
        value: u64,
        /// What it may be.
        range: &'static str,
    },
    /// A state that was saved is not one of this optimizer.
    #[error("the state's {field} is {kept}, and this optimizer's is {asked}")]
    Mismatch {
        /// What differs.
        field: String,
        /// What it is in the state.
        kept: String,
        /// What it is in the optimizer.
        asked: String,
    },
    /// The device, or the host, has no room.
    #[error("there is no memory for {what}: {reason}")]
    OutOfMemory {
        /// What was to be allocated.
        what: &'static str,
        /// How much it is, or what the device says.
        reason: String,
    },
    /// The device went away, or failed where nothing of it can be relied on any more.
    #[error("the device was lost: {0}")]
    DeviceLost(String),
    /// Reading a buffer back failed: the device was lost, or the buffer could not be mapped.
    #[error("reading back from the device failed: {0}")]
    ReadBack(String),
}
