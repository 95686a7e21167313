//! The clock of training. A build for the browser, which has no `std::time::Instant`, replaces it here.

pub use std::time::Instant;
