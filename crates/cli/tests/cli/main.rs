//! The command as a user runs it.

mod apply;
mod bench;
mod columns;
mod command;
#[path = "../../../../tests/common/mod.rs"]
mod common;
#[path = "../../../../tests/common/damage.rs"]
mod damage;
mod fit;
mod formats;
#[path = "../../../../tests/common/golden.rs"]
mod golden;
mod held_out;
mod keeping;
mod memory;
mod outputs;
mod predict;
mod scales;
mod shaders;
mod streams;
mod sweep;
mod unusual;
mod verify;
