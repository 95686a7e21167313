//! Tests of the command as a program.

mod apply;
mod bench;
mod checkpoints;
mod columns;
mod command;
#[path = "../../../../tests/common/mod.rs"]
mod common;
#[path = "../../../../tests/common/damage.rs"]
mod damage;
mod degenerate;
mod fit;
mod formats;
#[path = "../../../../tests/common/golden.rs"]
mod golden;
mod held_out;
mod memory;
mod outputs;
mod predict;
mod scales;
mod shaders;
mod streams;
mod sweep;
mod verify;
